"""What the window opens beside images: an ilastik project, with its image, classes and strokes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from conftest import Wait
from eseg_napari.opening import open_path
from eseg_zoo.errors import InputError


def write_project(path: Path, image: str, strokes: np.ndarray[Any, Any]) -> Path:
    """A project of ilastik with one image, to which it adds a channel axis, and the labels of one block, if any."""
    tags = json.dumps({"axes": [{"key": key} for key in "zyxc"]})
    with h5py.File(path, "w") as file:
        file["ilastikVersion"] = b"1.4.0"
        applet = file.create_group("PixelClassification")
        applet["LabelNames"] = np.array([b"membrane", b"cytoplasm"])
        applet["LabelColors"] = np.array([[255, 0, 0], [0, 0, 255]])
        lane = applet.create_group("LabelSets/labels000")
        if strokes.any():
            block = lane.create_dataset("block0000", data=strokes[..., None].astype(np.uint8))
            block.attrs["blockSlice"] = "[" + ",".join(f"0:{n}" for n in (*strokes.shape, 1)) + "]"
            block.attrs["axistags"] = tags
        raw = file.create_group("Input Data/infos/lane0000/Raw Data")
        raw["filePath"], raw["axistags"], raw["shape"] = image.encode(), tags.encode(), [*strokes.shape, 1]
    return path


@pytest.fixture
def project(tmp_path: Path, phantom: Any) -> Path:
    tifffile.imwrite(tmp_path / "em.tif", phantom.image, imagej=True, metadata={"axes": "ZYX"})
    strokes = np.zeros(phantom.image.shape, np.uint8)
    strokes[1, 5, 10:20], strokes[2, 40, 7:9] = 1, 2
    return write_project(tmp_path / "cells.ilp", "em.tif", strokes)


def test_a_project_of_ilastik_opens_with_image_classes_and_strokes(project: Path) -> None:
    found = open_path(project)
    assert found.image.shape == (3, 96, 96)
    assert [(one.name, one.value, one.colour.lower()) for one in found.classes] == [
        ("membrane", 1, "#ff0000"),
        ("cytoplasm", 2, "#0000ff"),
    ]
    assert found.strokes is not None
    painted = np.asarray(found.strokes[...])
    assert np.argwhere(painted == 1).tolist() == [[1, 5, x] for x in range(10, 20)]
    assert np.argwhere(painted == 2).tolist() == [[2, 40, 7], [2, 40, 8]]


def test_its_strokes_are_shown_in_the_window(widget: Any, project: Path, wait: Wait) -> None:
    widget.open(project)
    wait(lambda: widget.session.chosen is not None)
    assert int((np.asarray(widget.painter.layer.data) > 0).sum()) == 12


def test_an_image_in_several_files_is_shown_and_gone_on_with(
    widget: Any, phantom: Any, tmp_path: Path, wait: Wait
) -> None:
    names = [f"stack/plane{number}.tif" for number in (8, 9, 10)]
    (tmp_path / "stack").mkdir()
    for name, plane in zip(names, phantom.image, strict=True):
        tifffile.imwrite(tmp_path / name, plane)
    strokes = np.zeros(phantom.image.shape, np.uint8)
    strokes[2, 5, 10:20] = 2
    widget.open(write_project(tmp_path / "cells.ilp", ":".join(names), strokes))
    wait(lambda: widget.session.chosen is not None)
    np.testing.assert_array_equal(np.asarray(widget.viewer.layers["stack"].data), phantom.image)
    widget.painter.layer.data_setitem((np.array([1]), np.array([3]), np.array([4])), 1)
    widget.close_all()
    again = open_path(tmp_path / "stack_project")
    assert again.image.shape == phantom.image.shape
    np.testing.assert_array_equal(np.argwhere(np.asarray(again.strokes) == 1), [[1, 3, 4]])


def test_a_project_whose_image_is_gone_says_where_it_looked(tmp_path: Path) -> None:
    lost = write_project(tmp_path / "lost.ilp", "gone.tif", np.ones((3, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"is not at .*gone\.tif; put it there"):
        open_path(lost)


def test_a_project_without_labels_says_what_to_do(tmp_path: Path) -> None:
    empty = write_project(tmp_path / "empty.ilp", "em.tif", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(InputError, match="paint some in ilastik"):
        open_path(empty)
