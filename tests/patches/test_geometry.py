"""Where a patch lies around its anchor, through cutting, turning and masking."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_memory import cut

from eseg_zoo.patches.geometry import PatchGeometry, Symmetry, random_box, reflected_index, scattered_squares

PLANE = PatchGeometry((4, 4), (3, 3))
VOLUME = PatchGeometry((2, 4, 4), (1, 3, 3))


def pixels(*shape: int) -> np.ndarray:
    """A section of two channels in which every value is unique."""
    return np.arange(2 * np.prod(shape)).reshape(2, *shape)


def test_a_patch_is_its_region_with_the_margin_on_both_sides() -> None:
    assert PLANE.size == (10, 10)
    assert VOLUME.size == (4, 10, 10)


@pytest.mark.parametrize("space", [(1, 1), (2, 5), (9, 6)], ids=str)
def test_the_anchor_lies_at_margin_plus_phase_for_every_pixel_and_phase(space: tuple[int, int]) -> None:
    section = pixels(*space)
    for anchor, phase in product(np.ndindex(space), np.ndindex(PLANE.region)):
        patch = cut(PLANE, section, anchor, phase)
        assert patch.shape == (2, 10, 10)
        np.testing.assert_array_equal(patch[:, 3 + phase[0], 3 + phase[1]], section[:, *anchor])


def test_a_patch_holds_the_pixels_around_its_anchor_and_their_reflections() -> None:
    section = pixels(6, 7)
    patch = cut(PLANE, section, (1, 6), (2, 0))
    for y, x in np.ndindex(10, 10):
        source_y, source_x = 1 + y - 5, 6 + x - 3  # the anchor is at (5, 3) of the patch
        source_y = -1 - source_y if source_y < 0 else source_y  # the border pixel is repeated
        source_x = 13 - source_x if source_x > 6 else source_x
        assert patch[0, y, x] == section[0, source_y, source_x]


def test_a_patch_of_a_volume_has_the_phase_of_each_axis() -> None:
    section = pixels(3, 5, 6)
    for anchor, phase in product(np.ndindex(3, 5, 6), [(0, 0, 0), (1, 3, 2), (0, 3, 3)]):
        patch = cut(VOLUME, section, anchor, phase)
        assert patch.shape == (2, 4, 10, 10)
        assert patch[1, 1 + phase[0], 3 + phase[1], 3 + phase[2]] == section[1, *anchor]


def test_a_patch_inside_an_array_is_a_view_of_it() -> None:
    array = pixels(20, 20)
    assert np.shares_memory(cut(PLANE, array, (10, 10), (0, 0)), array)


@given(st.integers(1, 6), st.integers(-20, 20), st.integers(1, 20))
def test_what_lies_beyond_an_axis_is_its_mirror_image_as_often_as_need_be(length: int, start: int, count: int) -> None:
    for found, place in zip(reflected_index(start, start + count, length), range(start, start + count), strict=True):
        there = place
        while not 0 <= there < length:  # mirrored at the edge, whose pixel is repeated
            there = -1 - there if there < 0 else 2 * length - 1 - there
        assert found == there


# ---------------------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("side", [1, 3, 5])
def test_the_mask_is_a_square_centred_on_the_anchor(side: int) -> None:
    for phase in np.ndindex(PLANE.region):
        mask = PLANE.centre_mask((99, 99), (50, 50), phase, side)
        assert mask.shape == PLANE.size
        hidden = np.argwhere(mask)
        assert len(hidden) == side**2
        np.testing.assert_array_equal(hidden.mean(0), [3 + phase[0], 3 + phase[1]])
        assert np.abs(hidden - hidden.mean(0)).max() == side // 2


def test_the_mask_of_a_volume_is_a_cube() -> None:
    hidden = np.argwhere(VOLUME.centre_mask((99, 99, 99), (50, 50, 50), (1, 0, 3), 3))
    assert hidden.min(0).tolist() == [1, 2, 5]
    assert hidden.max(0).tolist() == [3, 4, 7]
    assert len(hidden) == 27


def test_a_side_of_zero_hides_nothing() -> None:
    assert not PLANE.centre_mask((99, 99), (50, 50), (2, 1), 0).any()


def test_a_mask_larger_than_the_margin_ends_at_the_patch() -> None:
    mask = PLANE.centre_mask((99, 99), (50, 50), (0, 3), 9)
    assert mask[:8, 2:].all()
    assert mask.sum() == 8 * 8


@pytest.mark.parametrize("side", [1, 3, 5])
def test_the_mask_hides_every_mirror_image_of_what_it_hides(side: int) -> None:
    section = np.arange(11 * 9).reshape(1, 11, 9)
    for anchor in np.ndindex(11, 9):
        for phase in np.ndindex(PLANE.region):
            patch = cut(PLANE, section, anchor, phase)[0]
            mask = PLANE.centre_mask((11, 9), anchor, phase, side)
            (y, x), reach = anchor, side // 2
            secret = section[0, max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
            np.testing.assert_array_equal(mask, np.isin(patch, secret))


@pytest.mark.parametrize(("size", "side"), [((13, 9), 3), ((4, 7), 5), ((3, 3), 9), ((5, 6, 7), 2), ((8,), 1)], ids=str)
def test_scattered_squares_are_whole_cells_of_a_shifted_grid(size: tuple[int, ...], side: int) -> None:
    for seed in range(20):
        mask = scattered_squares(size, 0.4, side, np.random.default_rng(seed))
        assert mask.shape == size
        assert mask.dtype == bool
        shifts = product(range(side), repeat=len(size))
        assert any(constant_on_cells(mask, side, shift) for shift in shifts)


def constant_on_cells(mask: np.ndarray, side: int, shift: tuple[int, ...]) -> bool:
    """Whether all pixels of each cell of the grid with this origin are alike."""
    seen: dict[tuple[int, ...], bool] = {}
    return all(
        seen.setdefault(tuple((p + s) // side for p, s in zip(place, shift, strict=True)), bool(value)) == value
        for place, value in np.ndenumerate(mask)
    )


@pytest.mark.parametrize("side", [1, 3, 15])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_scattered_squares_cover_the_share_at_every_pixel(share: float, side: int) -> None:
    rng = np.random.default_rng(0)
    covered = np.mean([scattered_squares((7, 10), share, side, rng) for _ in range(1500)], axis=0)
    np.testing.assert_allclose(covered, share, atol=5 * (share * (1 - share) / 1500) ** 0.5)


@pytest.mark.parametrize("size", [(64, 64), (9, 40), (16, 24, 24)])
def test_a_random_box_has_no_gap_and_a_fifth_to_three_fifths_of_the_whole(size: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    boxes = [random_box(size, rng) for _ in range(300)]
    for box in boxes:
        sides = [np.flatnonzero(box.any(tuple(other for other in range(box.ndim) if other != axis)))
                 for axis in range(box.ndim)]  # fmt: skip
        assert box[np.ix_(*sides)].all()
        assert box.sum() == np.prod([side[-1] - side[0] + 1 for side in sides])
    shares = [box.mean() for box in boxes]
    assert 0.15 < min(shares) < 0.25
    assert 0.5 < max(shares) < 0.65
    for axis in range(len(size)):
        rest = tuple(other for other in range(len(size)) if other != axis)
        assert np.any(boxes, axis=0).any(rest).all()  # from one edge to the other


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2, 2)])
def test_a_box_of_a_tiny_region_has_a_pixel_at_least(size: tuple[int, ...]) -> None:
    assert all(random_box(size, np.random.default_rng(seed)).any() for seed in range(20))


def test_the_grid_of_scattered_squares_begins_anywhere() -> None:
    rng, counts = np.random.default_rng(0), np.zeros(4)
    for _ in range(800):
        mask = scattered_squares((1, 40), 0.5, 4, rng)[0]
        changes = np.flatnonzero(np.diff(mask)) + 1
        counts[changes[0] % 4] += len(changes) > 0
    assert counts.min() > 140


# ----------------------------------------------------------------------------------------------------- symmetries


@pytest.mark.parametrize("geometry", [PLANE, VOLUME], ids=["2D", "3D"])
def test_every_symmetry_takes_the_anchor_along(geometry: PatchGeometry) -> None:
    dims = len(geometry.region)
    patch = pixels(*geometry.size)
    for bits, phase in product(product([False, True], repeat=dims + 1), np.ndindex(geometry.region)):
        symmetry = Symmetry(bits[:dims], bits[dims])
        turned, moved = symmetry.turn(patch), symmetry.turn_phase(phase, geometry.region)
        before = [p + m for p, m in zip(phase, geometry.margin, strict=True)]
        after = [p + m for p, m in zip(moved, geometry.margin, strict=True)]
        for channel, as_before in zip(turned, patch, strict=True):
            assert channel[*after] == as_before[*before]


@given(st.tuples(st.booleans(), st.booleans()), st.booleans(), st.tuples(st.integers(0, 7), st.integers(0, 7)))
def test_a_symmetry_is_its_flips_then_its_transposition(
    flips: tuple[bool, bool], swap: bool, phase: tuple[int, int]
) -> None:
    region = np.arange(64).reshape(1, 8, 8)
    expected = region[:, :: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    expected = expected.transpose(0, 2, 1) if swap else expected
    symmetry = Symmetry(flips, swap)
    np.testing.assert_array_equal(symmetry.turn(region), expected)
    np.testing.assert_array_equal(symmetry.turn_back(expected), region)
    assert symmetry.turn(region)[0, *symmetry.turn_phase(phase, (8, 8))] == region[0, *phase]


def test_the_eight_symmetries_of_a_plane_are_all_different_and_equally_likely() -> None:
    rng, patch = np.random.default_rng(0), np.arange(9).reshape(1, 3, 3)
    counts: dict[bytes, int] = {}
    for symmetry in Symmetry.draw(2, 4000, rng):
        turned = symmetry.turn(patch).tobytes()
        counts[turned] = counts.get(turned, 0) + 1
    rotations = [np.rot90(flipped, k, (1, 2)).tobytes() for flipped in (patch, patch[:, ::-1]) for k in range(4)]
    assert counts.keys() == set(rotations)
    assert min(counts.values()) > 400
    assert max(counts.values()) < 600


def test_depth_is_flipped_but_never_exchanged() -> None:
    rng, volume = np.random.default_rng(0), np.arange(3).reshape(1, 3, 1, 1) * np.ones((1, 3, 2, 2), int)
    found = {tuple(symmetry.turn(volume)[0, :, 0, 0].tolist()) for symmetry in Symmetry.draw(3, 100, rng)}
    assert found == {(0, 1, 2), (2, 1, 0)}


def test_turning_twice_by_a_flip_returns_the_patch() -> None:
    patch = pixels(*VOLUME.size)
    for flips in product([False, True], repeat=3):
        symmetry = Symmetry(flips, swap=False)
        np.testing.assert_array_equal(symmetry.turn(symmetry.turn(patch)), patch)
