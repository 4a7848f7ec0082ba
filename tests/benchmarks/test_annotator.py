from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from annotator import class_spots, error_spots, first_spots, paint, random_spots


def planes() -> list[NDArray[np.uint8]]:
    """Two slices of different size: 1 on the left, 2 on the right, 3 in a square."""
    found = []
    for height in (60, 120):
        plane = np.ones((height, 100), np.uint8)
        plane[:, 50:] = 2
        plane[20:40, 40:60] = 3
        found.append(plane)
    return found


def test_a_stroke_is_short_thin_and_of_one_class() -> None:
    truth, labels = planes(), [np.zeros_like(plane) for plane in planes()]
    for spot in random_spots(truth, 50, np.random.default_rng(0)):
        painted = [np.zeros_like(plane) for plane in truth]
        paint(painted, truth, [spot], np.random.default_rng(1))
        number, y, x = spot
        pixels = np.argwhere(painted[number])
        assert painted[number][y, x] == truth[number][y, x], "it begins where it should"
        assert np.unique(painted[number]).tolist() == [0, truth[number][y, x]]
        assert 1 <= len(pixels) <= 25
        assert not painted[1 - number].any()
    assert not any(plane.any() for plane in labels)


def test_everything_starts_with_two_strokes_of_each_class_on_one_slice() -> None:
    spots = first_spots(planes(), [1, 2, 3], np.random.default_rng(0))
    assert len({number for number, _, _ in spots}) == 1
    assert sorted(int(planes()[n][y, x]) for n, y, x in spots) == [1, 1, 2, 2, 3, 3]
    with pytest.raises(ValueError, match="no slice has room"):
        first_spots(planes(), [1, 2, 3, 4], np.random.default_rng(0))


def test_random_spots_are_anywhere_in_all_slices() -> None:
    spots = np.array(random_spots(planes(), 3000, np.random.default_rng(0)))
    assert abs((spots[:, 0] == 1).mean() - 2 / 3) < 0.03, "the second slice is twice as large"
    assert spots[:, 1:].max(0).tolist() == [119, 99]
    for number, plane in enumerate(planes()):
        inside = spots[spots[:, 0] == number]
        assert (inside[:, 1] < len(plane)).all()


def test_the_largest_error_of_each_slice_is_found_and_borders_are_not() -> None:
    truth, labels = planes(), [np.zeros_like(plane) for plane in planes()]
    maps = [plane.copy() for plane in truth]
    for plane in maps:
        plane[:, 50:52] = 1  # a border that is two pixels off, the longest error
        plane[5:16, 5:16] = 2  # the largest region, 11 pixels a side
        plane[45:52, 80:87] = 3
    spots = error_spots(truth, labels, lambda number: maps[number], 2, np.random.default_rng(0))
    assert sorted(spots) == [(0, 10, 10), (1, 10, 10)]
    more = error_spots(truth, labels, lambda number: maps[number], 4, np.random.default_rng(0))
    assert sorted(more) == [(0, 10, 10), (0, 48, 83), (1, 10, 10), (1, 48, 83)]
    labels[0][8:12, 9] = 1
    again = error_spots(truth, labels, lambda number: maps[number], 2, np.random.default_rng(0))
    assert sorted(again) == [(0, 48, 83), (1, 10, 10)], "an error with a stroke in it was corrected"


def test_a_right_map_has_no_errors_to_correct() -> None:
    truth = planes()
    assert error_spots(truth, truth, lambda number: truth[number], 4, np.random.default_rng(0)) == []


def test_spots_of_classes_are_as_many_of_each_however_rare_it_is() -> None:
    truth = [np.ones((20, 30), np.uint8), np.ones((20, 30), np.uint8)]
    truth[1][4, 5:7] = 2
    spots = class_spots(truth, [1, 2], 6, np.random.default_rng(0))
    assert [int(truth[number][y, x]) for number, y, x in spots] == [1, 2] * 3
    assert {(number, y) for number, y, _ in spots[1::2]} == {(1, 4)}
