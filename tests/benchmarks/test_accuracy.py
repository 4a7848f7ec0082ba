from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import accuracy
import eseg_zoo
from accuracy import draw_points, learn, make_table
from conftest import random_checkpoint, texture
from materials import Labelled, Material
from report import SEMI_SUPERVISED_STEP
from rows import Outcome, Row
from unet import Examples, TrainedUNet, UNet

CLASSES = {1: "dark", 2: "middle", 3: "bright"}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Material:
    images = [texture((1, 2, 64, 72), 0).numpy()[0]]
    truth = [np.digitize(image, [100, 150]).astype(np.uint8) + 1 for image in images]
    found = Material("toy", CLASSES, Labelled(images, truth), Labelled(images, truth))
    monkeypatch.setattr(accuracy, "read_material", lambda folder: found)
    return found


def test_each_slice_has_so_many_points_of_each_class_and_they_are_true(toy: Material) -> None:
    drawn = draw_points(toy, 4, draw=1)
    for labels, (_, truth) in zip(drawn, toy.learnt.planes, strict=True):
        assert np.bincount(labels.ravel())[1:].tolist() == [4, 4, 4]
        assert (labels == truth)[labels > 0].all()
    assert all(np.array_equal(one, same) for one, same in zip(drawn, draw_points(toy, 4, draw=1), strict=True))
    assert not np.array_equal(drawn[0], draw_points(toy, 4, draw=2)[0])


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Settings of each training of this project's network that was asked for; each gives random weights."""
    seen: list[dict[str, Any]] = []

    def train(images: Any, labels: Any, **settings: Any) -> eseg_zoo.Model:
        seen.append(settings | {"points": sum(int((one > 0).sum()) for one in labels)})
        return eseg_zoo.Model(random_checkpoint(seed=1))

    monkeypatch.setattr("eseg_zoo.train", train)
    return seen


def test_the_network_learns_from_the_points_with_the_settings_of_its_row(
    tmp_path: Path, toy: Material, trainings: list[dict[str, Any]]
) -> None:
    settings = {"augmentation": {"contrast": 0.2}}
    outcome = learn(tmp_path, Row("network", "toy", 4, 0, 7, settings), tmp_path)
    assert trainings[0]["points"] == outcome.labelled_pixels == 24
    assert trainings[0]["augmentation"] == settings["augmentation"]
    assert "steps" not in trainings[0]["training"], "they follow from the labels"
    assert (trainings[0]["seed"], trainings[0]["preset"]) == (7, "small")


def test_cross_entropy_alone_takes_the_effort_that_the_small_preset_takes(
    tmp_path: Path, toy: Material, trainings: list[dict[str, Any]]
) -> None:
    learn(tmp_path, Row("alone", "toy", 4, 0, 7), tmp_path)
    steps = accuracy.suited(toy, draw_points(toy, 4, draw=0))
    equal = steps.training.steps + SEMI_SUPERVISED_STEP * steps.semi_supervised.steps
    assert trainings[0]["training"]["steps"] == pytest.approx(equal, abs=1)
    assert trainings[0]["semi_supervised"]["steps"] == 0
    assert trainings[0]["loss"] == {"alpha": 0, "beta": 0, "gamma": 0}


def test_forest_and_unet_learn_from_the_same_points(
    tmp_path: Path, toy: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = draw_points(toy, 4, draw=0)
    seen: list[Any] = []

    def trained(examples: Examples, validation: None, draw: Any, **settings: Any) -> TrainedUNet:
        seen.append((examples, settings))
        return TrainedUNet(UNet(2, 3), 100.0, 30.0)

    monkeypatch.setattr("unet.train_beside_preset", trained)
    assert learn(tmp_path, Row("forest", "toy", 4, 0, 0), tmp_path).mean_argmax > 0.5
    assert learn(tmp_path, Row("unet", "toy", 4, 0, 0), tmp_path).labelled_pixels == 24
    ((examples, settings),) = seen
    assert all(np.array_equal(found + 1, labels) for found, labels in zip(examples.labels, given, strict=True))
    assert settings["classes"] == 3
    assert settings["steps"]["steps"] > 0


def test_so_many_labels_are_spread_over_classes_and_slices(toy: Material) -> None:
    assert [accuracy.points_per_class(toy, labels) for labels in (2, 6, 60, 300)] == [1, 1, 10, 50]


def test_the_table_has_a_line_for_each_method_that_has_finished_rows() -> None:
    rows = {
        (6, "a"): [Row("forest", "toy", 1, draw, draw) for draw in (0, 1)],
        (6, "b"): [Row("network", "toy", 1, 0, 0)],
    }
    outcomes = {
        row: Outcome({"x": 0.2, "y": 0.4}, {"x": 0.1 + i, "y": 0.3 + i}, 10.0, 6) for i, row in enumerate(rows[6, "a"])
    }
    (line,) = make_table("toy", rows, outcomes).lines
    assert line == ["a", "6", "0.700 ± 0.707 (0.300 ± 0.000)", "0.600", "0.800", "10 ± 0", "2"]


def test_a_folder_is_a_data_set_or_holds_some(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the three"):
        accuracy.materials_in(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "mine").mkdir()
    for name in ("raw", "labels_dense"):
        tifffile.imwrite(tmp_path / "mine" / f"{name}.tif", np.ones((24, 8, 8), np.uint8), photometric="minisblack")
    assert [found.name for found in accuracy.materials_in(tmp_path).values()] == ["nuclei"]
    assert [found.name for found in accuracy.materials_in(tmp_path / "mine").values()] == ["nuclei"]
