"""Nothing is lost: what is saved, when, and how it is gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from napari.utils.notifications import notification_manager

from conftest import QUICK, Wait
from eseg_napari.opening import open_path
from eseg_napari.project import RUN, free
from eseg_zoo.config import load_run
from eseg_zoo.training.data import open_pairs, read_training_data
from painted import paint, told


@pytest.fixture(autouse=True)
def _no_notifications() -> None:
    notification_manager.records.clear()


@pytest.fixture
def file(phantom: Any, tmp_path: Any) -> Any:
    """A stack on disk."""
    path = tmp_path / "em.tif"
    tifffile.imwrite(path, phantom.image, imagej=True, metadata={"axes": "ZYX", "spacing": 0.05, "unit": "um"})
    return path


def test_what_is_saved_is_what_the_command_line_takes(
    widget: Any, file: Any, phantom: Any, strokes: Any, wait: Wait
) -> None:
    widget.open(file)
    wait(lambda: widget.session.chosen is not None)
    paint(widget, phantom, strokes)
    widget.saver.save()
    wait(lambda: widget.saver.project is not None and widget.saver.project.is_saved(
        widget.session.strokes.version, widget.session.classes, None))  # fmt: skip
    folder = widget.saver.project.folder
    assert folder == file.parent / "em_project"
    run = load_run(folder / RUN)
    assert (run.classes, run.images) == (phantom.classes, [file])
    data = read_training_data(run, open_pairs(run))
    expected = {index: int((strokes == value).sum()) for index, value in enumerate(phantom.classes)}
    labels = np.concatenate([data.training.labels, data.validation.labels])
    assert dict(zip(*np.unique(labels, return_counts=True), strict=True)) == expected


def test_closing_saves_and_erased_strokes_stay_erased(
    widget: Any, file: Any, phantom: Any, strokes: Any, wait: Wait
) -> None:
    widget.open(file)
    wait(lambda: widget.session.chosen is not None)
    paint(widget, phantom, strokes)
    widget.saver.save_now()
    widget.painter.layer.data_setitem(np.nonzero(strokes == 1), 0)
    widget.painter.layer.undo()
    widget.painter.layer.data_setitem(np.nonzero(strokes == 2), 0)
    widget.close_all()
    opened = open_path(file.parent / "em_project")
    np.testing.assert_array_equal(np.asarray(opened.strokes), np.where(strokes == 2, 0, strokes))
    assert [(one.value, one.name, one.colour) for one in opened.classes] == [
        (one.value, one.name, one.colour) for one in widget.session.classes
    ]


def test_strokes_of_an_image_that_is_left_are_saved_first(widget: Any, phantom: Any, tmp_path: Any) -> None:
    first = widget.viewer.add_image(phantom.image, name="first")
    widget.session.strokes[0, 3, 3:9] = 1
    other = widget.viewer.add_image(np.zeros((20, 30), np.uint8), name="other")
    widget.image.check([], "")
    widget.image.check([other], "yx")
    assert widget.session.strokes.shape == (20, 30)
    opened = open_path(tmp_path / "eseg_zoo" / "first_project")
    assert np.asarray(opened.strokes)[0, 3, 3:9].tolist() == [1] * 6
    assert opened.image.shape == first.data.shape


def test_an_image_in_no_file_is_saved_with_its_strokes(widget: Any, phantom: Any, tmp_path: Any) -> None:
    scale = {"scale": (0.6, 0.2, 0.2), "units": ("um",) * 3}
    for name in ("nuclei", "cells"):
        widget.viewer.add_image(phantom.image, name=name, **scale)
    widget.image.check([widget.viewer.layers["nuclei"], widget.viewer.layers["cells"]], "zyx")
    widget.session.strokes[0, 3, 3:9] = 1
    widget.session.strokes[1, 3, 3:9] = 2
    widget.close_all()
    opened = open_path(tmp_path / "eseg_zoo" / "nuclei_project")
    assert (opened.image.sizes["c"], opened.image.channels) == (2, ("nuclei", "cells"))
    assert opened.image.voxel_size == pytest.approx({"z": 0.6, "y": 0.2, "x": 0.2})
    np.testing.assert_array_equal(opened.image.read()[0, 0], phantom.image)


@pytest.mark.slow
def test_a_project_is_gone_on_with_from_its_model(
    widget: Any, file: Any, phantom: Any, strokes: Any, wait: Wait, make_napari_viewer: Any
) -> None:
    widget.open(file)
    wait(lambda: widget.session.chosen is not None)
    widget.session.settings = dict(QUICK)
    paint(widget, phantom, strokes)
    widget.trainer.start()
    wait(lambda: widget.looker.made > 0)
    widget.close_all()  # while it trains: the model is kept too
    folder = file.parent / "em_project"
    assert (folder / "model.pt").is_file()
    from eseg_napari.widget import EsegWidget

    again = EsegWidget(make_napari_viewer())
    again.open(folder)
    wait(lambda: again.session.model is not None)
    assert "Train goes on from it" in again.training.line.text()
    assert again.session.settings["preset"] == "small"
    again.trainer.start()
    wait(lambda: again.session.training is not None and again.session.training.progress.step > 0)
    assert again.session.training.progress.is_worth_a_look  # from random weights it is after 60 steps
    again.close_all()


def test_a_crash_of_the_training_leaves_the_strokes(
    widget: Any, file: Any, phantom: Any, strokes: Any, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*given: Any) -> Any:
        raise RuntimeError("the GPU is gone")

    monkeypatch.setattr("eseg_zoo.live.training.read_training_data", crash)
    widget.open(file)
    wait(lambda: widget.session.chosen is not None)
    paint(widget, phantom, strokes)
    widget.trainer.start()
    wait(lambda: any("the GPU is gone" in one and "strokes are safe" in one for one in told()))
    wait(
        lambda: (
            widget.saver.project is not None
            and (widget.saver.project.folder / RUN).is_file()
            and not widget.saver.is_saving
        )
    )
    wait(lambda: widget.training.button.text() == "Train")
    widget.close_all()
    np.testing.assert_array_equal(np.asarray(open_path(file.parent / "em_project").strokes), strokes)


def test_another_ones_run_is_read_and_left_alone(file: Any, strokes: Any, phantom: Any) -> None:
    tifffile.imwrite(file.parent / "labels.tif", strokes)
    said = {"images": "em.tif", "labels": "labels.tif", "classes": phantom.classes, "out": "training", "seed": 3}
    (file.parent / "run.yaml").write_text(yaml.safe_dump(said), "utf-8")
    opened = open_path(file.parent / "run.yaml")
    assert opened.project is None
    assert opened.settings == {"seed": 3}
    np.testing.assert_array_equal(np.asarray(opened.strokes), strokes)


def painted_project(widget: Any, file: Any, wait: Wait) -> Any:
    """The folder of a project that the window has open."""
    widget.open(file)
    wait(lambda: widget.session.chosen is not None)
    widget.painter.layer.data_setitem((np.array([1, 1]), np.array([5, 6]), np.array([7, 7])), 2)
    widget.saver.save_now()
    return widget.saver.project.folder


def test_a_second_window_is_told_who_has_the_project(
    widget: Any, file: Any, wait: Wait, make_napari_viewer: Any
) -> None:
    from eseg_napari.widget import EsegWidget

    folder = painted_project(widget, file, wait)
    second = EsegWidget(make_napari_viewer())
    second.open_project(folder)
    held = f"{folder / RUN} is being written by another window, process {os.getpid()}; close it there first"
    wait(lambda: held in told())
    assert second.session.strokes is None
    widget.open_project(folder)  # its own
    assert told()[-1] == f"~/{folder.name} is open here"
    widget.close_all()
    second.open_project(folder)
    wait(lambda: second.session.strokes is not None)
    assert second.painter.layer.data[1, 5, 7] == 2
    second.close_all()


def test_a_lock_that_a_crash_left_does_not_count(widget: Any, file: Any, wait: Wait) -> None:
    folder = painted_project(widget, file, wait)
    lock = folder / f".{RUN}.lock"
    said = json.loads(lock.read_text("utf-8"))
    widget.close_all()
    assert not lock.exists()
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    lock.write_text(json.dumps(said | {"process": gone.pid}), "utf-8")
    opened = open_path(folder)
    assert opened.project is not None
    assert json.loads(lock.read_text("utf-8"))["process"] == os.getpid()
    opened.project.leave()
    assert not lock.exists()


def test_nothing_is_written_to_a_project_that_was_left(widget: Any, file: Any, wait: Wait) -> None:
    folder = painted_project(widget, file, wait)
    project = widget.saver.project
    widget.painter.layer.data_setitem((np.array([2]), np.array([5]), np.array([7])), 1)
    widget.saver.leave()
    project.save(replace(widget.saver._state(), snapshot=widget.session.strokes.snapshot()))
    assert np.asarray(open_path(folder).strokes)[2, 5, 7] == 0


def test_a_lock_that_was_removed_is_made_again(widget: Any, file: Any, wait: Wait) -> None:
    folder = painted_project(widget, file, wait)
    (folder / f".{RUN}.lock").unlink()
    widget.painter.layer.data_setitem((np.array([2]), np.array([5]), np.array([7])), 1)
    widget.saver.save_now()
    assert (folder / f".{RUN}.lock").is_file()
    widget.close_all()
    assert np.asarray(open_path(folder).strokes)[2, 5, 7] == 1


def test_a_folder_that_is_no_project_is_told(widget: Any, tmp_path: Any) -> None:
    widget.open_project(tmp_path)
    assert "is no project: it has no run.yaml" in told()[-1]


def test_a_project_is_opened_from_the_menu(
    widget: Any, file: Any, wait: Wait, make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eseg_napari import menu
    from eseg_napari.widget import QFileDialog

    folder = painted_project(widget, file, wait)
    widget.close_all()
    viewer = make_napari_viewer()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *given: str(folder))
    docked: list[Any] = []
    dock = menu.docked
    monkeypatch.setattr(menu, "docked", lambda viewer: docked.append(dock(viewer)) or docked[0])
    menu.open_project(viewer)
    wait(lambda: docked[0].saver.project is not None)
    assert docked[0].saver.project.folder == folder
    assert docked[0].painter.layer.data[1, 5, 7] == 2
    docked[0].close_all()


def test_a_new_project_replaces_nothing(tmp_path: Any) -> None:
    (tmp_path / "maps.ome.zarr").mkdir()
    assert free(tmp_path / "maps.ome.zarr").name == "maps_2.ome.zarr"
    assert free(tmp_path / "other").name == "other"
