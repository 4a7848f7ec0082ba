"""Where to label next, as a report shows it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from labelled_pair import pair_of, with_slices

from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import InputError
from eseg_zoo.report.suggestions import COUNT, SIDE, suggest
from eseg_zoo.suggest.candidates import REACH


def test_places_are_those_of_the_command_with_what_is_around_them(checkpoint: Checkpoint) -> None:
    checkpoint = with_slices(checkpoint)
    pair = pair_of((3, 150, 160), {(1, 60, 72): 2, (0, 20, 20): 1})
    found = suggest(checkpoint, [pair])
    image, labels = pair[0].read()[0, 0], np.zeros((3, 150, 160), np.uint8)
    labels[1, 60, 72], labels[0, 20, 20] = 2, 1
    expected = Model(checkpoint).suggest(image, labels, count=COUNT, axes="zyx")
    assert [(one.place.z, one.place.y, one.place.x) for one in found] == [(one.z, one.y, one.x) for one in expected]
    for one in found:
        y, x = one.centre
        assert one.scene.place == f"image.tif, slice {one.place.z}"
        assert max(one.scene.labels.shape) <= SIDE
        assert one.scene.image[0, y, x] == image[one.place.z, one.place.y, one.place.x]


def test_places_lie_in_the_slices_that_the_training_was_given(checkpoint: Checkpoint) -> None:
    pair = pair_of((6, 64, 64), {(z, 5, 5): 1 for z in range(6)})
    found = suggest(with_slices(checkpoint, training="1-2", validation="4-4"), [pair])
    assert {one.place.z for one in found} == {1, 2}


def test_places_of_two_images_are_shown_in_their_own(checkpoint: Checkpoint) -> None:
    pairs = [pair_of((1, 96, 96), {(0, 5, 5): 1}, image=np.full((1, 96, 96), fill, np.uint8)) for fill in (3, 9)]
    noise = pair_of((2, 96, 96), {(0, 5, 5): 1})
    assert {one.place.number for one in suggest(with_slices(checkpoint), [*pairs, noise])} == {2}, "padding has none"


def test_a_volume_is_shown_by_the_plane_of_the_place(make_checkpoint: Callable[..., Checkpoint]) -> None:
    pair = pair_of((9, 64, 64), {(7, 4, 5): 1}, dims=3)
    found = suggest(with_slices(make_checkpoint(3)), [pair])
    assert found
    for one in found:
        y, x = one.centre
        assert REACH <= one.place.y < 64 - REACH
        assert one.scene.image[0, y, x] == pair[0].read()[0, 0, one.place.z, one.place.y, one.place.x]


def test_where_no_place_is_left_it_says_so(checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match="there is no place to suggest"):
        suggest(
            with_slices(checkpoint), [pair_of((1, 64, 64), {(0, 5, 5): 1}, image=np.full((1, 64, 64), 7, np.uint8))]
        )
