"""A training on label files of several kinds: classes and colours from them, and a resumed one on the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from labels.ilastik_project import PaintedImage, write_project
from labels.test_ome_zarr import write_levels

import eseg_zoo
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.colours import class_colours
from eseg_zoo.config import load_run
from eseg_zoo.errors import ConfigError, InputError
from eseg_zoo.training.data import open_pairs, read_training_data, with_classes
from eseg_zoo.training.durable import write_record
from eseg_zoo.training.folder import Begun
from eseg_zoo.training.inputs import records_of
from eseg_zoo.training.run import train_run
from training.runs import write_run

SHORT: dict[str, Any] = {"training": {"steps": 2, "epoch_steps": 1, "batch_size": 4, "accelerator": "cpu"}}


@pytest.fixture
def project(inputs: Path) -> Path:
    """The strokes of `labels.tif` in a project of ilastik, whose run names no classes."""
    strokes = tifffile.imread(inputs / "labels.tif")
    painted = np.select([strokes == 1, strokes == 4], [1, 2], 0)
    path = write_project(
        inputs / "p.ilp", [PaintedImage(painted, "zyx", "image.tif")], names=("dark", "bright"),
        colours=((1, 2, 3), (255, 0, 16)),
    )  # fmt: skip
    write_run(inputs, labels="p.ilp", **SHORT)
    run = yaml.safe_load((inputs / "run.yaml").read_text(encoding="utf-8"))
    del run["classes"]
    (inputs / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    return path


def test_a_project_gives_the_anchors_of_the_label_image_that_it_is_of(inputs: Path, project: Path) -> None:
    from_project = load_run(inputs / "run.yaml")
    from_image = load_run(inputs / "run.yaml", {"labels": "labels.tif", "classes": {1: "dark", 4: "bright"}})
    found, expected = (read_training_data(run) for run in (from_project, from_image))
    for one, other in ((found.training, expected.training), (found.validation, expected.validation)):
        np.testing.assert_array_equal(one.places, other.places)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert found.colours == ("#010203", "#ff0010")
    assert expected.colours == tuple(class_colours(2))


def test_classes_and_colours_of_a_project_arrive_in_the_model_and_its_maps(inputs: Path, project: Path) -> None:
    run = load_run(inputs / "run.yaml", {"colours": {"bright": "#abcdef"}})
    model = eseg_zoo.load(train_run(run))
    assert [(one.value, one.name, one.colour) for one in model.classes] == [
        (1, "dark", "#010203"),
        (2, "bright", "#abcdef"),
    ]
    written = model.predict_to(inputs / "image.tif", inputs / "maps.ome.zarr")["classes"]
    said = json.loads((written / "labels/classes/.zattrs").read_text(encoding="utf-8"))["image-label"]
    assert [one["rgba"] for one in said["colors"]] == [[1, 2, 3, 255], [171, 205, 239, 255]]
    tiffs = model.predict_to(inputs / "image.tif", inputs / "maps")
    with tifffile.TiffFile(tiffs["classes"]) as file:
        assert (np.array(file.pages[0].aspage().colormap)[:, [1, 2]].T // 257).tolist() == [[1, 2, 3], [171, 205, 239]]
    by_project = model.evaluate(inputs / "image.tif", project)
    by_image = model.evaluate(inputs / "image.tif", {"file": written / "labels/classes"})
    assert by_project.confusion.pixels.sum() == (tifffile.imread(inputs / "labels.tif") > 0).sum()
    assert by_image.confusion.mean_dice == 1
    assert Checkpoint.load(run.out / "model.pt").settings["labels"] == [str(inputs / "p.ilp")]

    train_run(run, resume=True)
    train_run(load_run(inputs / "run.yaml", {"colours": {"bright": "#000000"}}), resume=True)
    with pytest.raises(ConfigError, match=r"a training with other settings \(labels\)"):
        train_run(load_run(inputs / "run.yaml", {"labels": {"file": "p.ilp", "width": 2}}), resume=True)
    project.unlink()
    changed = np.zeros((3, 64, 64))
    changed[:, 6:20:2, 8:12], changed[:, 6:20:2, 50:54] = 1, 2
    write_project(project, [PaintedImage(changed, "zyx", "image.tif")], names=("dark", "bright"))
    with pytest.raises(InputError, match=r"p\.ilp has changed since the training began; put the old one back"):
        train_run(run, resume=True)


def test_a_training_that_was_begun_before_there_were_colours_and_mappings_goes_on(inputs: Path) -> None:
    run = load_run(write_run(inputs, **SHORT))
    train_run(run)
    begun = Begun.read(run.out)
    assert begun is not None
    assert begun.settings["labels"] == ["../labels.tif"]
    assert [one["name"] for one in begun.inputs] == [str(inputs / "image.tif"), str(inputs / "labels.tif")]
    del begun.settings["colours"]
    write_record(run.out / "run.json", asdict(begun))
    train_run(run, resume=True)


def test_a_label_image_whose_names_changed_is_another(inputs: Path) -> None:
    strokes = tifffile.imread(inputs / "labels.tif")
    digests: list[str] = []
    for names in ({1: "dark", 4: "bright"}, {1: "bright", 4: "dark"}, {1: "dark", 4: "bright"}):
        properties = [{"label-value": value, "name": name} for value, name in names.items()]
        path = inputs / f"{len(digests)}.ome.zarr"
        write_levels(path, [strokes], "0.4", {"properties": properties})
        pairs = open_pairs(load_run(write_run(inputs, labels=path.name)))
        digests.append(records_of(pairs, [pair.image for pair in pairs])[1]["content"])
    assert digests[0] == digests[2] != digests[1]


def test_classes_of_the_files_are_checked_as_those_of_a_run(inputs: Path, project: Path) -> None:
    run = load_run(inputs / "run.yaml", {"colours": {"nucleus": "#abcdef"}})
    with pytest.raises(ConfigError) as caught:
        with_classes(run, open_pairs(run))
    assert str(caught.value) == "the label files: colours names nucleus, which is no class; they are dark, bright"


def test_arrays_and_files_are_given_together_in_a_script(inputs: Path, project: Path) -> None:
    image, strokes = (tifffile.imread(inputs / name) for name in ("image.tif", "labels.tif"))
    settings: dict[str, Any] = {"axes": "zyx", "preset": "small", "classes": {1: "dark", 4: "bright"}, **SHORT}
    settings |= {"network": {"filters": [8, 8, 8]}, "semi_supervised": {"steps": 0}}
    first = {"file": strokes[0], "offset": {"z": 0}}
    model = eseg_zoo.train(image, [first, project], **settings)
    held = model.checkpoint.training
    assert sum(held.labelled_pixels.values()) + sum(held.validation_pixels.values()) == (strokes > 0).sum()
    assert [one.colour for one in model.classes] == ["#010203", "#ff0010"]
