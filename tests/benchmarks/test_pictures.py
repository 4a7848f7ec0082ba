"""The pictures show the squares that the Dice says, and nothing but them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import pictures
from eseg_zoo.colours import class_colours
from eseg_zoo.metrics import Confusion
from pictures import coloured, dice_of_squares, draw, first_places


@pytest.fixture(autouse=True)
def small_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SIDE", 16)


def test_each_square_has_the_dice_of_its_own_pixels() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 5, (2, 2, 40, 50))
    dice = dice_of_squares(truth, found)
    assert dice.shape == (2, 2, 3)  # what is left at the far ends is no whole square
    expected = Confusion.of(truth[1, 16:32, 32:48], found[1, 16:32, 32:48], classes=5).mean_dice
    assert dice[1, 1, 2] == expected
    assert dice_of_squares(truth, truth).min() == 1


def test_the_first_places_are_the_largest_scores_in_their_order() -> None:
    score = np.arange(24.0).reshape(2, 3, 4)
    assert first_places(score) == [(1, 2, 3), (1, 2, 2), (1, 2, 1)]
    assert first_places(-score) == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]


def test_wrong_pixels_have_the_full_colour_of_what_they_were_taken_for_and_right_ones_a_pale_one() -> None:
    found, truth = np.array([[0, 1], [4, 2]]), np.array([[0, 0], [4, 1]])
    shown, full = coloured(found, truth), np.array([to_rgb(colour) for colour in class_colours(5)])
    np.testing.assert_allclose(shown[0, 1], full[1])
    np.testing.assert_allclose(shown[1, 1], full[2])
    np.testing.assert_allclose(shown[0, 0], 0.35 * full[0] + 0.65)
    np.testing.assert_allclose(shown[1, 0], 0.35 * full[4] + 0.65)


@pytest.mark.parametrize("with_data", [False, True])
def test_a_picture_is_written(tmp_path: Path, with_data: bool) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 32, 32)).astype(np.uint8)
    truth, found = rng.integers(0, 5, (2, 2, 32, 32))
    places = first_places(dice_of_squares(truth, found))
    draw(truth, {"ε-Seg": found}, places, tmp_path / "found.png", images=images if with_data else None)
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
