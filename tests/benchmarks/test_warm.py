from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eseg_zoo
import warm
from conftest import random_checkpoint, texture
from materials import Labelled, Material
from rows import Row
from warm import Trained, learn_three_times, make_table, read_trained

CLASSES = {1: "dark", 2: "middle", 3: "bright"}
ROW = Row("warm", "toy", None, 0, 0, {"strokes": 12, "steps": 100})


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings of each training that was asked for; each gives a network with random weights."""
    seen: list[dict[str, Any]] = []
    images = [texture((1, 2, 64, 72), 0).numpy()[0]]
    truth = [np.digitize(image, [100, 150]).astype(np.uint8) + 1 for image in images]
    toy = Material("toy", CLASSES, Labelled(images, truth), Labelled(images, truth))

    def train(images: Any, labels: Any, **settings: Any) -> eseg_zoo.Model:
        seen.append(settings | {"painted": sum(int((one > 0).sum()) for one in labels)})
        return eseg_zoo.Model(random_checkpoint(seed=len(seen)))

    monkeypatch.setattr("eseg_zoo.train", train)
    monkeypatch.setattr(warm, "read_material", lambda folder: toy)
    return seen


def test_the_warm_training_goes_on_from_half_of_the_strokes_in_fewer_steps(
    tmp_path: Path, trainings: list[dict[str, Any]]
) -> None:
    outcome = learn_three_times(tmp_path, ROW, tmp_path / ROW.key)
    half, going_on, fresh = trainings
    assert half["start_from"] is None
    assert fresh["start_from"] is None
    assert going_on["start_from"] is not None
    assert half["painted"] < going_on["painted"] == fresh["painted"] == outcome.labelled_pixels
    assert [one["training"]["steps"] + one["semi_supervised"]["steps"] for one in trainings] == [100, 28, 100]
    found = {kind: read_trained(tmp_path / ROW.key / kind / "trained.json") for kind in warm.TRAININGS}
    assert {kind: (one.strokes, one.steps) for kind, one in found.items()} == {
        "half": (6, 100),
        "warm": (12, 28),
        "fresh": (12, 100),
    }
    assert found["warm"].corrected == outcome.corrected


def test_a_finished_training_is_not_made_again(tmp_path: Path, trainings: list[dict[str, Any]]) -> None:
    learn_three_times(tmp_path, ROW, tmp_path / ROW.key)
    (tmp_path / ROW.key / "fresh" / "trained.json").unlink()
    learn_three_times(tmp_path, ROW, tmp_path / ROW.key)
    assert len(trainings) == 4


def test_the_table_has_a_line_for_each_kind_that_is_finished() -> None:
    found = {
        "half": [Trained(6, 100, 10.0, {"a": 0.2, "b": 0.4}, {"a": 0.4, "b": 0.6})],
        "warm": [
            Trained(12, 20, 2.0, {"a": 0.1, "b": 0.3}, {"a": 0.5, "b": 0.7}),
            Trained(12, 20, 4.0, {"a": 0.3, "b": 0.5}, {"a": 0.7, "b": 0.9}),
        ],
    }
    half, going_on = make_table("toy", found).lines
    assert half[1:] == ["6", "100", "0.500 (0.300)", "0.400", "0.600", "10", "1"]
    # Means 0.6 and 0.8, 0.2 and 0.4: the sample standard deviation is 0.2 / sqrt(2).
    assert going_on[1:] == ["12", "20", "0.700 ± 0.141 (0.300 ± 0.141)", "0.600", "0.800", "3 ± 1", "2"]


def test_the_command_makes_the_table_of_what_there_is(
    tmp_path: Path, trainings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("warm", "toy", None, 1, 1, {"strokes": 12, "steps": 100})
    learn_three_times(tmp_path, row, tmp_path / row.key)
    command = ["warm.py", "DATA", "--out", str(tmp_path), "--strokes", "12", "--steps", "100", "--draws", "0,1"]
    monkeypatch.setattr(sys, "argv", [*command, "--table"])
    with pytest.raises(SystemExit):
        warm.main()
    text = (tmp_path / "toy.md").read_text(encoding="utf-8")
    assert "going on from that, on all | 12 | 28 |" in text
