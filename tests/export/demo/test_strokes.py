"""Strokes look as if a person had painted them, and label what they should."""

from itertools import pairwise

import numpy as np
import pytest
from eseg_export.demo.em import em_phantom
from eseg_export.demo.phantom import Phantom
from eseg_export.demo.strokes import sparse_strokes, stroke_at
from scipy import ndimage

EIGHT_NEIGHBOURS = np.zeros((3, 3, 3), bool)
EIGHT_NEIGHBOURS[1] = True  # within a slice


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return em_phantom((8, 256, 256), rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def strokes(phantom: Phantom) -> np.ndarray:
    return sparse_strokes(phantom.truth, fraction=0.01, rng=np.random.default_rng(1))


def test_the_seed_decides_the_strokes(phantom: Phantom) -> None:
    once, again, other = (
        sparse_strokes(phantom.truth[:2], fraction=0.02, rng=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_strokes_never_cross_into_another_class(phantom: Phantom, strokes: np.ndarray) -> None:
    assert strokes.dtype == np.uint8
    assert strokes.shape == phantom.truth.shape
    np.testing.assert_array_equal(strokes[strokes > 0], phantom.truth[strokes > 0])


def test_strokes_are_short_thin_lines_in_one_slice(strokes: np.ndarray) -> None:
    for label in (1, 2, 3, 4):
        lines, count = ndimage.label(strokes == label, EIGHT_NEIGHBOURS)
        lengths = np.bincount(lines.ravel())[1:]
        assert count > 10
        assert lengths.min() >= 8
        assert lengths.max() <= 25
        painted = (strokes == label).astype(int)
        blocks = painted[:, 1:, 1:] + painted[:, :-1, 1:] + painted[:, 1:, :-1] + painted[:, :-1, :-1]
        assert blocks.max() < 4


def test_strokes_are_spread_over_slices_and_classes(strokes: np.ndarray) -> None:
    pixels = np.bincount(strokes.ravel(), minlength=5)[1:]
    assert pixels.max() < 1.1 * pixels.min()
    per_slice = np.array([[np.sum(section == k) for k in (1, 2, 3, 4)] for section in strokes])
    assert (per_slice > 0).all()


@pytest.mark.parametrize("fraction", [0.002, 0.01, 0.05, 0.1])
def test_strokes_label_about_the_fraction_asked_for(phantom: Phantom, fraction: float) -> None:
    drawn = sparse_strokes(phantom.truth[:4], fraction=fraction, rng=np.random.default_rng(2))
    assert 0.7 * fraction < np.mean(drawn > 0) < 1.3 * fraction


def test_a_class_of_three_pixels_gets_a_stroke_and_unlabelled_truth_gets_none() -> None:
    truth = np.full((1, 64, 64), 2, np.uint8)
    truth[0, 10, 10:13] = 7
    truth[0, 32:] = 0
    drawn = sparse_strokes(truth, fraction=0.01, rng=np.random.default_rng(0))
    assert set(np.unique(drawn)) == {0, 2, 7}
    np.testing.assert_array_equal(drawn[drawn > 0], truth[drawn > 0])


@pytest.mark.parametrize("fraction", [0.0, -0.1, 0.11, float("nan")])
def test_a_fraction_outside_its_range_is_refused_with_its_value(phantom: Phantom, fraction: float) -> None:
    with pytest.raises(ValueError, match=f"fraction is {fraction}; it must be above 0 and at most 0.1"):
        sparse_strokes(phantom.truth, fraction=fraction, rng=np.random.default_rng(0))


def test_a_truth_without_a_z_axis_is_refused_with_its_shape(phantom: Phantom) -> None:
    with pytest.raises(ValueError, match=r"truth has the shape \(256, 256\); it must be \(z, y, x\)"):
        sparse_strokes(phantom.truth[0], fraction=0.01, rng=np.random.default_rng(0))


def test_a_stroke_from_a_place_keeps_inside_its_class(phantom: Phantom) -> None:
    rng, section = np.random.default_rng(2), phantom.truth[3]
    for y, x in rng.integers(0, 256, (60, 2)).tolist():
        path = stroke_at(section, (y, x), rng)
        assert path[0] == (y, x)
        assert {int(section[place]) for place in path} == {int(section[y, x])}
        assert len(path) == len(set(path)) <= 25
        assert all(max(abs(a - c), abs(b - d)) == 1 for (a, b), (c, d) in pairwise(path))


def test_a_stroke_from_the_corner_of_an_image_stays_in_it() -> None:
    path = stroke_at(np.ones((30, 30), np.uint8), (0, 0), np.random.default_rng(0))
    assert len(path) >= 8
    assert min(min(place) for place in path) == 0


def test_where_there_is_no_room_a_stroke_is_as_long_as_it_can_be() -> None:
    section = np.ones((20, 20), np.uint8)
    section[10, 8:11] = 2
    assert 1 <= len(stroke_at(section, (10, 9), np.random.default_rng(0))) <= 3
