"""Batches cut from sections: what is in them, what is hidden, and where patches from anywhere come from."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from in_memory import source_of_arrays
from numpy.typing import NDArray

from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import PatchGeometry, Symmetry
from eseg_zoo.patches.source import Batch, PatchSource
from eseg_zoo.patches.survey import Statistics

GEOMETRY = PatchGeometry((4, 4), (3, 3))


# -------------------------------------------------------------------------------------------------------- anywhere


def source_of(*shapes: tuple[int, ...]) -> PatchSource:
    geometry = PatchGeometry((2,) * len(shapes[0]), (1,) * len(shapes[0]))
    return source_of_arrays([np.zeros((1, *shape)) for shape in shapes], geometry, Statistics(np.zeros(1), np.ones(1)))


@pytest.mark.parametrize("shapes", [((2, 5), (4, 4), (3, 3)), ((1, 2, 3), (2, 2, 5), (3, 1, 1))], ids=["2D", "3D"])
def test_every_pixel_of_the_chosen_sections_is_equally_likely(shapes: tuple[tuple[int, ...], ...]) -> None:
    drawn = source_of(*shapes).draw_anywhere([0, 1], 26_000, np.random.default_rng(0))
    places, counts = np.unique(drawn.places, axis=0, return_counts=True)
    assert places.tolist() == [[i, *place] for i in (0, 1) for place in np.ndindex(shapes[i])]
    np.testing.assert_allclose(counts, 1000, atol=150)  # five standard deviations
    assert set(drawn.labels.tolist()) == {-1}


def test_pixels_from_anywhere_follow_the_generator() -> None:
    first, again, other = (
        source_of((9, 9)).draw_anywhere([0], 20, np.random.default_rng(seed)).places.tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_padding_gives_no_unlabelled_patch() -> None:
    plain = source_of((9, 9), (4, 4))
    padded = replace(plain, contents=[(slice(2, 5), slice(1, 3)), (slice(0, 0), slice(0, 0))])
    places = padded.draw_anywhere([0, 1], 500, np.random.default_rng(0)).places
    assert set(map(tuple, places.tolist())) == {(0, y, x) for y in (2, 3, 4) for x in (1, 2)}


def test_a_wider_region_is_cut_from_the_same_sections() -> None:
    statistics = Statistics(np.zeros(2), np.ones(2))
    narrow_source = source_of_arrays(images(), GEOMETRY, statistics)
    wide = narrow_source.with_region((8, 12))
    anchors = AnchorSet(np.array([[0, 0, 0], [1, 8, 7]]), np.array([0, 1]), np.arange(2))
    phases = np.array([[7, 11], [0, 0]])
    batch = wide.batch(anchors, phases, mask_sides=np.zeros(2, int))
    assert batch.patches.shape == (2, 2, 14, 18)
    assert batch.target.shape == (2, 2, 8, 12)
    assert batch.patches[0, 0, 3 + 7, 3 + 11] == images()[0][0, 0, 0]
    assert batch.patches[1, 0, 3, 3] == images()[1][0, 8, 7]
    narrow = narrow_source.batch(anchors, np.zeros((2, 2), int), mask_sides=np.zeros(2, int))
    assert narrow.patches.shape == (2, 2, 10, 10)


# -------------------------------------------------------------------------------------------------------- batches


def images() -> list[NDArray[np.generic]]:
    return [np.random.default_rng(i).integers(0, 255, (2, 9, 7 + i)).astype(np.uint8) for i in range(2)]


def cut(symmetries: list[Symmetry] | None = None) -> tuple[Batch, AnchorSet]:
    places = np.array([[0, 0, 0], [1, 8, 7], [0, 4, 3], [1, 2, 5]])
    anchors = AnchorSet(places, np.array([2, 0, 1, 1]), np.arange(4))
    patches = source_of_arrays(images(), GEOMETRY, Statistics(np.array([100.0, 50.0]), np.array([20.0, 5.0])))
    phases = np.array([[0, 0], [3, 1], [2, 3], [1, 2]])
    return patches.batch(anchors, phases, mask_sides=np.array([3, 0, 1, 3]), symmetries=symmetries), anchors


def at(x: torch.Tensor, batch: Batch) -> torch.Tensor:
    return torch.stack([x[i, :, 3 + y, 3 + x_] for i, (y, x_) in enumerate(batch.position.tolist())])


def normalised_anchors(anchors: AnchorSet) -> torch.Tensor:
    values = [images()[i][:, y, x].astype(float) for i, y, x in anchors.places.tolist()]
    return torch.tensor((np.array(values) - [100, 50]) / [20, 5], dtype=torch.float32)


def test_a_batch_holds_normalised_patches_with_the_anchor_at_its_phase() -> None:
    batch, anchors = cut()
    assert batch.patches.shape == (4, 2, 10, 10)
    assert batch.patches.dtype == torch.float32
    assert batch.position.tolist() == [[0, 0], [3, 1], [2, 3], [1, 2]]
    assert batch.labels.tolist() == [2, 0, 1, 1]
    torch.testing.assert_close(at(batch.patches, batch), normalised_anchors(anchors))


def test_the_hidden_pixels_are_centred_on_the_anchor() -> None:
    batch, _ = cut()
    assert batch.hidden.shape == (4, 1, 10, 10)
    # The first anchor is a corner: its 2 x 2 pixels and their mirror images are a square of 4 x 4. The last one lies
    # near a corner: of its 3 x 3 pixels and their mirror images, 4 x 4 lie in the patch.
    assert batch.hidden.sum((1, 2, 3)).tolist() == [16, 0, 1, 16]
    assert torch.equal(batch.hidden[2, 0].nonzero()[0], batch.position[2] + 3)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=4, max_size=4))
def test_turned_patches_keep_anchor_and_mask_together(bits: list[tuple[bool, bool, bool]]) -> None:
    symmetries = [Symmetry((a, b), c) for a, b, c in bits]
    batch, anchors = cut(symmetries)
    plain, _ = cut()
    torch.testing.assert_close(at(batch.patches, batch), normalised_anchors(anchors))
    for i, symmetry in enumerate(symmetries):
        np.testing.assert_array_equal(batch.patches[i], symmetry.turn(plain.patches[i].numpy()))
        np.testing.assert_array_equal(batch.hidden[i], symmetry.turn(plain.hidden[i].numpy()))


def test_a_batch_of_volumes_turns_within_its_planes() -> None:
    geometry = PatchGeometry((2, 4, 4), (1, 3, 3))
    volume = np.random.default_rng(0).normal(size=(1, 5, 9, 9))
    patches = source_of_arrays([volume], geometry, Statistics(np.zeros(1), np.ones(1)))
    anchors = AnchorSet(np.array([[0, 4, 0, 8]] * 16), np.zeros(16, int), np.zeros(16, int))
    symmetries = [Symmetry(bits[:3], bits[3]) for bits in product([False, True], repeat=4)]
    phases = np.random.default_rng(0).integers(geometry.region, size=(16, 3))
    batch = patches.batch(anchors, phases, mask_sides=np.full(16, 3), symmetries=symmetries)
    assert batch.patches.shape == (16, 1, 4, 10, 10)
    for patch, mask, (z, y, x) in zip(batch.patches, batch.hidden, batch.position.tolist(), strict=True):
        assert patch[0, 1 + z, 3 + y, 3 + x] == np.float32(volume[0, 4, 0, 8])
        assert mask[0, 1 + z, 3 + y, 3 + x] == 1


def test_large_intensities_keep_their_differences() -> None:
    image = np.array([[[65_534, 65_535], [65_535, 65_534]]], np.uint16)
    patches = source_of_arrays([image], GEOMETRY, Statistics(np.array([65_534.5]), np.array([0.5])))
    anchors = AnchorSet(np.array([[0, 0, 0]]), np.array([0]), np.array([0]))
    batch = patches.batch(anchors, np.array([[0, 0]]), mask_sides=np.array([0]))
    assert set(batch.patches.unique().tolist()) == {-1.0, 1.0}
