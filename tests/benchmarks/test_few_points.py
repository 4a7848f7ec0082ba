from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eseg_zoo
import few_points
from conftest import random_checkpoint, texture
from few_points import draw_points, learn, make_table
from materials import Labelled, Material
from rows import Outcome, Row

CLASSES = {1: "dark", 2: "middle", 3: "bright"}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Material:
    images = [texture((1, 2, 64, 72), 0).numpy()[0]]
    truth = [np.digitize(image, [100, 150]).astype(np.uint8) + 1 for image in images]
    found = Material("toy", CLASSES, Labelled(images, truth), Labelled(images, truth))
    monkeypatch.setattr(few_points, "read_material", lambda folder: found)
    return found


def test_each_slice_has_so_many_points_of_each_class_and_they_are_true(toy: Material) -> None:
    drawn = draw_points(toy, 4, draw=1)
    for labels, (_, truth) in zip(drawn, toy.learnt.planes, strict=True):
        assert np.bincount(labels.ravel())[1:].tolist() == [4, 4, 4]
        assert (labels == truth)[labels > 0].all()
    assert all(np.array_equal(one, same) for one, same in zip(drawn, draw_points(toy, 4, draw=1), strict=True))
    assert not np.array_equal(drawn[0], draw_points(toy, 4, draw=2)[0])


def test_the_network_learns_from_the_points_with_the_augmentation_of_its_row(
    tmp_path: Path, toy: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def train(images: Any, labels: Any, **settings: Any) -> eseg_zoo.Model:
        seen.append(settings | {"points": sum(int((one > 0).sum()) for one in labels)})
        return eseg_zoo.Model(random_checkpoint(seed=1))

    monkeypatch.setattr("eseg_zoo.train", train)
    row = Row("network", "toy", 4, 0, 7, {"steps": 30, "augmentation": few_points.FIXED})
    outcome = learn(tmp_path, row, tmp_path)
    assert seen[0]["points"] == outcome.labelled_pixels == 24
    assert seen[0]["augmentation"] == few_points.FIXED
    assert (seen[0]["training"]["steps"], seen[0]["semi_supervised"]["steps"], seen[0]["seed"]) == (10, 20, 7)
    forest = learn(tmp_path, Row("forest", "toy", 4, 0, 7), tmp_path)
    assert forest.mean_argmax > 0.5 > outcome.mean_argmax


def test_the_table_has_a_line_for_each_method_that_has_finished_rows() -> None:
    rows = {"a": [Row("forest", "toy", 1, draw, draw) for draw in (0, 1)], "b": [Row("network", "toy", 1, 0, 0)]}
    outcomes = {
        row: Outcome({"x": 0.2, "y": 0.4}, {"x": 0.1 + i, "y": 0.3 + i}, 10.0, 6) for i, row in enumerate(rows["a"])
    }
    (line,) = make_table("toy", rows, outcomes).lines
    assert line == ["a", "6", "0.700 ± 0.707 (0.300 ± 0.000)", "0.600", "0.800", "10 ± 0", "2"]
