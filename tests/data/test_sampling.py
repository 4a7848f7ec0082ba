"""Anchors, their split by strokes, their balance, and the batches cut around them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eseg_zoo.data.patches import PatchGeometry, Symmetry
from eseg_zoo.data.sampling import AnchorSet, Batch, PatchSource, draw_anywhere, draw_balanced
from eseg_zoo.data.statistics import Statistics

# Class 0: a diagonal stroke and a point; class 1: a stroke beside the first one; -1: not labelled.
FIRST = np.array([[0, -1, -1, -1], [-1, 0, 1, -1], [-1, -1, 1, -1], [0, -1, -1, -1]], np.int16)
SECOND = np.array([[-1, -1, 2, 2], [-1, -1, -1, -1], [2, -1, -1, -1], [-1, -1, -1, -1]], np.int16)
GEOMETRY = PatchGeometry((4, 4), (3, 3))


def anchor_set(labels: list[int], strokes: list[int] | None = None) -> AnchorSet:
    count = len(labels)
    places = np.column_stack([np.zeros(count, int), np.arange(count), np.arange(count)])
    return AnchorSet(places, np.array(labels, np.int64), np.array(strokes or range(count), np.int64))


def balanced_labels(anchors: AnchorSet, count: int, seed: int = 0) -> list[int]:
    return draw_balanced(anchors, count, np.random.default_rng(seed)).labels.tolist()


# --------------------------------------------------------------------------------------------- anchors and strokes


def test_every_labelled_pixel_is_an_anchor_with_its_class_and_place() -> None:
    anchors = AnchorSet.of([FIRST, SECOND], [0, 1])
    found = {tuple(place): label for place, label in zip(anchors.places.tolist(), anchors.labels.tolist(), strict=True)}
    expected = {
        (i, y, x): int(section[y, x])
        for i, section in enumerate([FIRST, SECOND])
        for y, x in np.ndindex(4, 4)
        if section[y, x] >= 0
    }
    assert found == expected
    assert len(anchors) == len(expected) == 8


def test_pixels_of_a_class_that_touch_are_one_stroke_corners_included() -> None:
    anchors = AnchorSet.of([FIRST, SECOND], [0, 1])
    strokes: dict[int, set[tuple[int, ...]]] = {}
    for place, stroke in zip(anchors.places.tolist(), anchors.strokes.tolist(), strict=True):
        strokes.setdefault(stroke, set()).add(tuple(place))
    assert sorted(map(sorted, strokes.values())) == [
        [(0, 0, 0), (0, 1, 1)],
        [(0, 1, 2), (0, 2, 2)],
        [(0, 3, 0)],
        [(1, 0, 2), (1, 0, 3)],
        [(1, 2, 0)],
    ]


def test_only_the_chosen_sections_give_anchors() -> None:
    assert set(AnchorSet.of([FIRST, SECOND], [1]).places[:, 0].tolist()) == {1}


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_labelled_gives_no_anchor(dims: int) -> None:
    anchors = AnchorSet.of([np.full((4,) * dims, -1, np.int16)], [0])
    assert len(anchors) == 0
    assert anchors.places.shape == (0, 1 + dims)
    training, validation = anchors.split_by_strokes(0.5, np.random.default_rng(0))
    assert len(training) == len(validation) == 0
    assert len(anchors.at_most(3, np.random.default_rng(0))) == 0


def test_strokes_of_a_volume_touch_across_slices() -> None:
    labels = np.full((3, 3, 3), -1, np.int16)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 0] = 0
    anchors = AnchorSet.of([labels], [0])
    assert anchors.places.tolist() == [[0, 0, 0, 0], [0, 1, 1, 1], [0, 2, 2, 0]]
    assert len(set(anchors.strokes.tolist())) == 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=60),
    st.floats(0, 0.99),
    st.integers(0, 99),
)
def test_a_split_keeps_strokes_whole_and_every_class_in_training(
    pixels: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    labels, strokes = [label for label, _ in pixels], [10 * label + stroke for label, stroke in pixels]
    anchors = anchor_set(labels, strokes)
    training, validation = anchors.split_by_strokes(fraction, np.random.default_rng(seed))
    assert not set(training.strokes.tolist()) & set(validation.strokes.tolist())
    together = np.concatenate([training.places, validation.places])
    assert sorted(together.tolist()) == sorted(anchors.places.tolist())
    counts = {label: len({s for s, one in zip(strokes, labels, strict=True) if one == label}) for label in set(labels)}
    divisible = sum(count > 1 for count in counts.values())
    for label, count in counts.items():
        held_out = len(set(validation.strokes[validation.labels == label].tolist()))
        if fraction == 0 or count == 1 or divisible < 2:
            assert held_out == 0
        else:
            assert 1 <= held_out < count
            assert abs(held_out - fraction * count) <= 1


def test_a_split_is_drawn_from_the_generator() -> None:
    anchors = anchor_set([0] * 20 + [1] * 20)
    first, again, other = (
        anchors.split_by_strokes(0.3, np.random.default_rng(seed))[1].strokes.tolist() for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(first) == 12


def test_at_most_keeps_small_classes_whole_and_draws_from_large_ones() -> None:
    anchors = anchor_set([0] * 10 + [1] * 2)
    chosen = anchors.at_most(4, np.random.default_rng(0))
    assert np.bincount(chosen.labels).tolist() == [4, 2]
    assert len(set(map(tuple, chosen.places.tolist()))) == 6
    other = anchors.at_most(4, np.random.default_rng(1))
    assert chosen.places.tolist() != other.places.tolist()


# ------------------------------------------------------------------------------------------------- class balance


def test_classes_are_drawn_equally_often_whatever_their_size() -> None:
    anchors = anchor_set([0] * 100 + [2] * 3 + [5])
    assert np.bincount(balanced_labels(anchors, 30)).tolist() == [10, 0, 10, 0, 0, 10]


@given(st.integers(1, 40), st.integers(0, 99))
def test_the_counts_of_two_classes_differ_by_at_most_one(count: int, seed: int) -> None:
    labels = balanced_labels(anchor_set([0] * 9 + [1] * 3 + [2]), count, seed)
    counts = np.bincount(labels, minlength=3)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


def test_rounding_favours_no_class_over_many_batches() -> None:
    rng, anchors = np.random.default_rng(0), anchor_set([0, 0, 0, 1, 2])
    counts = sum(np.bincount(draw_balanced(anchors, 4, rng).labels, minlength=3) for _ in range(900))
    np.testing.assert_allclose(counts, 1200, atol=100)


def test_anchors_of_a_class_are_equally_likely_and_keep_their_place() -> None:
    anchors = anchor_set([0, 0, 0, 0, 1])
    drawn = draw_balanced(anchors, 8000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn.places[:, 1]), [1000] * 4 + [4000], atol=120)
    np.testing.assert_array_equal(drawn.labels, drawn.places[:, 1] == 4)


def test_a_draw_follows_its_generator() -> None:
    anchors = anchor_set([0] * 50 + [1] * 50)
    first, again, other = (draw_balanced(anchors, 20, np.random.default_rng(s)).places.tolist() for s in (0, 0, 1))
    assert first == again != other


# -------------------------------------------------------------------------------------------------------- anywhere


def source_of(*shapes: tuple[int, ...]) -> PatchSource:
    geometry = PatchGeometry((2,) * len(shapes[0]), (1,) * len(shapes[0]))
    return PatchSource.of([np.zeros((1, *shape)) for shape in shapes], geometry, Statistics(np.zeros(1), np.ones(1)))


@pytest.mark.parametrize("shapes", [((2, 5), (4, 4), (3, 3)), ((1, 2, 3), (2, 2, 5), (3, 1, 1))], ids=["2D", "3D"])
def test_every_pixel_of_the_chosen_sections_is_equally_likely(shapes: tuple[tuple[int, ...], ...]) -> None:
    drawn = draw_anywhere(source_of(*shapes), [0, 1], 26_000, np.random.default_rng(0))
    places, counts = np.unique(drawn.places, axis=0, return_counts=True)
    assert places.tolist() == [[i, *place] for i in (0, 1) for place in np.ndindex(shapes[i])]
    np.testing.assert_allclose(counts, 1000, atol=150)  # five standard deviations
    assert set(drawn.labels.tolist()) == {-1}


def test_pixels_from_anywhere_follow_the_generator() -> None:
    first, again, other = (
        draw_anywhere(source_of((9, 9)), [0], 20, np.random.default_rng(seed)).places.tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_wider_region_is_cut_from_the_same_padded_sections() -> None:
    statistics = Statistics(np.zeros(2), np.ones(2))
    source = PatchSource.of(images(), GEOMETRY, statistics, widest=(8, 12))
    wide = source.with_region((8, 12))
    assert wide.padded is source.padded
    anchors = AnchorSet(np.array([[0, 0, 0], [1, 8, 7]]), np.array([0, 1]), np.arange(2))
    phases = np.array([[7, 11], [0, 0]])
    batch = wide.batch(anchors, phases, mask_sides=np.zeros(2, int))
    assert batch.patches.shape == (2, 2, 14, 18)
    assert batch.target.shape == (2, 2, 8, 12)
    assert batch.patches[0, 0, 3 + 7, 3 + 11] == images()[0][0, 0, 0]
    assert batch.patches[1, 0, 3, 3] == images()[1][0, 8, 7]
    narrow = source.batch(anchors, np.zeros((2, 2), int), mask_sides=np.zeros(2, int))
    assert narrow.patches.shape == (2, 2, 10, 10)


# -------------------------------------------------------------------------------------------------------- batches


def images() -> list[NDArray[np.generic]]:
    return [np.random.default_rng(i).integers(0, 255, (2, 9, 7 + i)).astype(np.uint8) for i in range(2)]


def cut(symmetries: list[Symmetry] | None = None) -> tuple[Batch, AnchorSet]:
    places = np.array([[0, 0, 0], [1, 8, 7], [0, 4, 3], [1, 2, 5]])
    anchors = AnchorSet(places, np.array([2, 0, 1, 1]), np.arange(4))
    source = PatchSource.of(images(), GEOMETRY, Statistics(np.array([100.0, 50.0]), np.array([20.0, 5.0])))
    phases = np.array([[0, 0], [3, 1], [2, 3], [1, 2]])
    return source.batch(anchors, phases, mask_sides=np.array([3, 0, 1, 3]), symmetries=symmetries), anchors


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
    source = PatchSource.of([volume], geometry, Statistics(np.zeros(1), np.ones(1)))
    anchors = AnchorSet(np.array([[0, 4, 0, 8]] * 16), np.zeros(16, int), np.zeros(16, int))
    symmetries = [Symmetry(bits[:3], bits[3]) for bits in product([False, True], repeat=4)]
    phases = np.random.default_rng(0).integers(geometry.region, size=(16, 3))
    batch = source.batch(anchors, phases, mask_sides=np.full(16, 3), symmetries=symmetries)
    assert batch.patches.shape == (16, 1, 4, 10, 10)
    for patch, mask, (z, y, x) in zip(batch.patches, batch.hidden, batch.position.tolist(), strict=True):
        assert patch[0, 1 + z, 3 + y, 3 + x] == np.float32(volume[0, 4, 0, 8])
        assert mask[0, 1 + z, 3 + y, 3 + x] == 1


def test_large_intensities_keep_their_differences() -> None:
    image = np.array([[[65_534, 65_535], [65_535, 65_534]]], np.uint16)
    source = PatchSource.of([image], GEOMETRY, Statistics(np.array([65_534.5]), np.array([0.5])))
    anchors = AnchorSet(np.array([[0, 0, 0]]), np.array([0]), np.array([0]))
    batch = source.batch(anchors, np.array([[0, 0]]), mask_sides=np.array([0]))
    assert set(batch.patches.unique().tolist()) == {-1.0, 1.0}
