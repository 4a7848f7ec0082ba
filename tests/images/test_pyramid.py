"""Levels of a result: their shapes, chunks, places, and values."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from eseg_zoo.images.image import Spacing
from eseg_zoo.images.pyramid import Pyramid, mean, most_frequent

ISOTROPIC = [Spacing(0.01, 5.0, "micrometer")] * 3
THICK = [Spacing(0.04), Spacing(0.01), Spacing(0.01)]


def test_levels_halve_until_a_plane_fits_into_a_chunk() -> None:
    pyramid = Pyramid.of("zyx", (40, 130, 61), (16, 32, 32), ISOTROPIC)
    assert pyramid.shapes == ((40, 130, 61), (20, 65, 31), (10, 33, 16), (5, 17, 8))
    assert pyramid.factors == ((1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8))


def test_thick_slices_are_halved_only_when_pixels_are_as_large() -> None:
    pyramid = Pyramid.of("zyx", (40, 130, 61), (1, 16, 16), THICK)
    assert [factor[0] for factor in pyramid.factors] == [1, 1, 1, 2, 4][: len(pyramid.factors)]


def test_a_thin_axis_that_is_used_up_does_not_stop_the_others() -> None:
    single = Pyramid.of("zyx", (1, 130, 61), (1, 32, 32), [Spacing(1), Spacing(2), Spacing(2)])
    assert single.shapes == ((1, 130, 61), (1, 65, 31), (1, 33, 16), (1, 17, 8))
    few = Pyramid.of("zyx", (5, 130, 61), (1, 64, 64), [Spacing(1), Spacing(20), Spacing(20)])
    assert few.shapes == ((5, 130, 61), (3, 130, 61), (2, 130, 61), (1, 130, 61), (1, 65, 31), (1, 33, 16))


@pytest.mark.parametrize("scale", [0, -1, nan])
def test_scales_that_are_no_lengths_give_one_level(scale: float) -> None:
    assert len(Pyramid.of("yx", (130, 61), (32, 32), [Spacing(scale), Spacing(scale)]).shapes) == 1


def test_time_is_never_halved() -> None:
    pyramid = Pyramid.of("tyx", (9, 130, 61), (1, 32, 32), [Spacing()] * 3)
    assert all(shape[0] == 9 for shape in pyramid.shapes)


def test_a_coarse_pixel_is_at_the_centre_of_those_it_covers() -> None:
    spacing = Pyramid.of("zyx", (8, 130, 61), (8, 64, 64), ISOTROPIC).spacing_of(2)
    assert spacing[1] == Spacing(0.04, 5.0 + 0.01 * 1.5, "micrometer")


def test_the_chunks_of_a_level_cover_it_once() -> None:
    pyramid = Pyramid.of("zyx", (5, 130, 61), (2, 32, 32), ISOTROPIC)
    for level, shape in enumerate(pyramid.shapes):
        seen = np.zeros(shape, int)
        for index in pyramid.indices(level):
            seen[pyramid.region(level, index)] += 1
        assert (seen == 1).all()
        assert pyramid.count(level) == len(list(pyramid.indices(level)))


def test_the_most_frequent_label_stays_and_the_smallest_of_equals() -> None:
    labels = np.array([[1, 1, 3, 2, 5], [2, 1, 2, 3, 4]])
    np.testing.assert_array_equal(most_frequent(labels, (2, 2)), [[1, 2, 4]])


def test_a_thin_block_at_the_end_repeats_its_last_pixels() -> None:
    np.testing.assert_array_equal(mean(np.array([[1.0, 3.0, 7.0]]), (2, 2)), [[2.0, 7.0]])
    assert most_frequent(np.full((3, 5, 7), 4), (2, 2, 2)).shape == (2, 3, 4)
