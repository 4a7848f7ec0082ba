"""The window in napari: errors that say what to do, keys, giving up, and images of every kind."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from conftest import Wait
from painted import paint, told


@pytest.fixture(autouse=True)
def _no_notifications() -> None:
    notification_manager.records.clear()


def test_without_an_image_it_says_to_open_one(widget: Any, wait: Wait) -> None:
    assert "open one" in widget.image.facts.text()
    widget.trainer.start()
    wait(lambda: any("no image is chosen" in one for one in told()))
    assert widget.training.button.text() == "Train"


def test_bad_images_and_too_few_strokes_say_what_to_do(widget: Any, wait: Wait) -> None:
    photo = widget.viewer.add_image(np.zeros((32, 32, 3), np.uint8), rgb=True, name="photo")
    assert "Split RGB" in widget.image.facts.text()
    widget.viewer.layers.remove(photo)
    widget.viewer.add_image(np.random.default_rng(0).random((3, 40, 40)), name="raw")
    widget.viewer.add_image(np.zeros((3, 40, 41)), name="other")
    widget.image.check([widget.viewer.layers["raw"], widget.viewer.layers["other"]], "zyx")
    assert "uncheck one of them" in told()[-1]
    widget.image.check([widget.viewer.layers["raw"]], "zyx")
    widget.trainer.start()
    wait(lambda: any("nothing is painted yet" in one for one in told()))
    widget.painter.layer.data_setitem((np.array([1, 1]), np.array([5, 6]), np.array([5, 6])), 1)
    widget.trainer.start()
    wait(lambda: any("only class 1 is painted: paint a stroke of class 2" in one for one in told()))
    widget.look.button.setChecked(True)
    wait(lambda: "there is no model yet" in widget.look.line.text())


def test_keys_choose_classes_and_the_table_shows_them(widget: Any, phantom: Any, wait: Wait) -> None:
    widget.viewer.add_image(phantom.image, name="em")
    layer = widget.painter.layer
    wait(lambda: widget.viewer.layers.selection.active is layer)
    assert layer.mode == "paint"
    layer.mode = "pan_zoom"
    key = next(binding for binding in layer.keymap if str(binding) == "2")
    layer.keymap[key](layer)
    assert (layer.mode, layer.selected_label, widget.classes.value()) == ("paint", 2, 2)
    widget.classes.add.click()
    assert [one.name for one in widget.session.classes] == ["class 1", "class 2", "class 3"]
    assert layer.selected_label == 3
    widget.classes.table.item(2, 2).setText("vesicles")
    assert widget.session.classes[2].name == "vesicles"
    widget.classes.table.item(2, 2).setText("class 1")
    assert "there is a class class 1 already" in told()[-1]
    assert widget.classes.table.item(2, 2).text() == "vesicles"
    widget.classes.remove.click()
    assert len(widget.session.classes) == 2


def test_channels_become_layers_and_strokes_have_none(widget: Any, wait: Wait) -> None:
    widget.viewer.add_image(np.zeros((3, 2, 20, 24), np.uint16), name="cells")
    widget.image.axes.setCurrentIndex(widget.image.axes.findData("zcyx"))
    assert [one.name for one in widget.image.layers()] == ["cells channel 1", "cells channel 2"]
    assert widget.session.chosen.image.sizes["c"] == 2
    assert widget.painter.layer.data.shape == (3, 20, 24)
    wait(lambda: widget.viewer.layers[-1] is widget.painter.layer)


def test_strokes_that_were_removed_by_hand_come_back(widget: Any) -> None:
    widget.viewer.add_image(np.zeros((20, 24)), name="cells")
    widget.painter.layer.data_setitem((np.array([1]), np.array([5])), 2)
    widget.viewer.layers.remove(widget.painter.layer)
    widget.choose_class(2)
    assert widget.painter.is_shown
    assert widget.painter.layer.data[1, 5] == 2


@pytest.mark.slow
def test_new_strokes_are_learnt_from_while_it_trains(widget: Any, phantom: Any, strokes: Any, wait: Wait) -> None:
    widget.session.settings = widget.session.settings | {"training": {"steps": 4000, "batch_size": 8}}
    widget.viewer.add_image(phantom.image, name="em")
    paint(widget, phantom, np.where(strokes == 4, 0, strokes))
    widget.trainer.start()
    wait(lambda: widget.looker.made > 0)
    assert any("vesicles has no strokes" in one for one in told())
    widget.painter.layer.data_setitem(np.nonzero(strokes == 4), 4)
    wait(lambda: len(widget.session.training.model().result(60).classes) == 4)
    widget.trainer.stop()
    wait(lambda: widget.session.model is not None)
    assert [one.name for one in widget.session.model.classes][-1] == "vesicles"


@pytest.mark.slow
def test_a_time_series_of_volumes(widget: Any, phantom: Any, strokes: Any, wait: Wait, tmp_path: Any) -> None:
    widget.viewer.add_image(np.stack([phantom.image, phantom.image[::-1]]), name="movie")
    paint(widget, phantom, np.stack([strokes, np.zeros_like(strokes)]))
    widget.trainer.start()
    wait(lambda: widget.looker.made > 0)
    widget.trainer.stop()
    wait(lambda: widget.session.model is not None)
    widget.viewer.dims.set_current_step(0, 1)
    widget.viewer.dims.set_current_step(1, 2)
    wait(lambda: widget.looker.maps.starts[:2] == (1, 2))
    assert widget.looker.layer.data.ndim == 4
    assert widget.results._current_slice() == "5-5"


@pytest.mark.slow
def test_a_volume_is_learnt_in_3d(widget: Any, phantom: Any, strokes: Any, wait: Wait) -> None:
    widget.session.settings = widget.session.settings | {"training": {"steps": 60, "batch_size": 4}}
    widget.viewer.add_image(phantom.image, name="em", scale=(0.05, 0.005, 0.005))
    paint(widget, phantom, strokes)
    widget.training.dims.setCurrentIndex(1)
    widget.trainer.start()
    wait(lambda: widget.looker.made > 0)
    widget.trainer.stop()
    wait(lambda: widget.session.model is not None)
    assert widget.session.model.dims == 3


@pytest.mark.slow
def test_a_dask_layer_of_100_gb_is_never_loaded(widget: Any, phantom: Any, strokes: Any, wait: Wait) -> None:
    read: set[Any] = set()

    def plane(block_info: Any = None) -> Any:
        place = block_info[None]["chunk-location"]
        read.add(place)
        return np.tile(phantom.image[place[0] % 3], (1, 10, 10))[:, :500, :500]

    chunks = ((1,) * 1000, (500,) * 20, (500,) * 20)
    data = dask.array.map_blocks(plane, chunks=chunks, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8))
    assert data.nbytes == 100e9
    widget.viewer.add_image(data, name="huge", contrast_limits=(0, 255), multiscale=False)
    from eseg_napari.classes import of_mapping

    widget._set_classes(of_mapping(phantom.classes))
    widget.session.strokes[0, :96, :96] = strokes[0]
    widget.viewer.dims.set_current_step(0, 0)
    whole = len(read)
    widget.trainer.start()
    wait(lambda: widget.looker.made > 0)
    widget.trainer.stop()
    wait(lambda: widget.session.model is not None)
    assert len(read) <= whole + 20
    assert "It covers the middle" in widget.look.line.text() or widget.looker.maps.classes.size <= 1 << 20
    widget.saver.save()
    wait(lambda: widget.saver.project is not None and not widget.saver.is_saving)
    assert any("too large to be copied" in one for one in told())
