"""The pictures show the squares that the Dice says, and nothing but them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pictures
from eseg_zoo.metrics import Confusion
from pictures import dice_of_squares, draw, first_places
from vnc import Volume


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


def test_a_picture_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 255, (14, 32, 32)).astype(np.uint8)
    maps = {"truth": rng.integers(0, 5, (2, 32, 32)), "ε-Seg": rng.integers(0, 5, (2, 32, 32))}
    dice = {"ε-Seg": dice_of_squares(maps["truth"], maps["ε-Seg"])}
    draw(Volume(Path("."), raw, {}), maps, dice, first_places(dice["ε-Seg"]), tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
