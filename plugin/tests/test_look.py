"""Which part of an image is seen, and what of a map is shown."""

from __future__ import annotations

import numpy as np
import pytest

from eseg_napari.look import MARGIN, Maps, View, seen
from eseg_zoo.errors import InputError


def view(corners: list[list[int]], point: tuple[float, ...], shown: tuple[int, ...] = (1, 2)) -> View:
    return View(shown, np.array(corners), point)


def test_what_is_seen_is_the_slice_of_the_slider_with_a_margin() -> None:
    part = seen(view([[0, 100, 200], [4, 149, 259]], (3.4, 0, 0)), (5, 500, 500), "zyx")
    assert part.region == {"z": 3, "y": slice(100 - MARGIN, 150 + MARGIN), "x": slice(200 - MARGIN, 260 + MARGIN)}
    assert not part.is_cut


def test_the_margin_ends_with_the_image() -> None:
    part = seen(view([[0, 0], [9, 9]], (0, 0), (0, 1)), (10, 12), "yx")
    assert part.region == {"y": slice(0, 10), "x": slice(0, 12)}


def test_of_a_very_large_view_the_middle_is_mapped() -> None:
    part = seen(view([[0, 0, 0], [0, 9999, 9999]], (0, 0, 0)), (2, 10_000, 10_000), "tyx", most=10_000)
    assert part.region == {"t": 0, "y": slice(4950, 5050), "x": slice(4950, 5050)}
    assert part.is_cut


def test_a_view_across_slices_has_one_row() -> None:
    part = seen(view([[0, 0, 20], [4, 0, 60]], (0, 17, 0), (0, 2)), (5, 40, 80), "zyx")
    assert (part.region["z"], part.region["y"]) == (slice(0, 5), 17)


def test_a_view_in_3d_says_what_to_press() -> None:
    with pytest.raises(InputError, match="switch the viewer to 2D"):
        seen(view([[0, 0, 0], [1, 1, 1]], (0, 0, 0), (0, 1, 2)), (5, 5, 5), "zyx")


def test_an_image_out_of_sight_says_so() -> None:
    with pytest.raises(InputError, match="not in view"):
        seen(view([[0, -80, 0], [0, -20, 9]], (0, 0, 0)), (5, 50, 50), "zyx")


def test_unsure_pixels_are_hidden() -> None:
    maps = Maps(np.array([[1, 2]], np.uint8), np.array([[0.2, 0.6]]), (0, 0))
    assert maps.sure(0.3).tolist() == [[1, 0]]
    assert maps.sure(1.0).tolist() == [[1, 2]]
