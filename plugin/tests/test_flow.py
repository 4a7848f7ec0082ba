"""The whole way in the window, on a phantom."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import pytest

from conftest import Wait
from painted import paint


@pytest.mark.slow
def test_paint_train_look_next_predict_export(
    widget: Any, phantom: Any, strokes: Any, wait: Wait, tmp_path: Any
) -> None:
    widget.viewer.add_image(phantom.image, name="em", scale=(0.05, 0.005, 0.005))
    paint(widget, phantom, strokes)
    wait(lambda: set(widget.counts) == set(phantom.classes))
    assert {value: one.pixels for value, one in widget.counts.items()} == {
        value: int((strokes == value).sum()) for value in phantom.classes
    }
    widget.trainer.start()
    wait(lambda: widget.looker.made > 0)
    assert widget.looker.layer.data.shape[0] == 1
    wait(lambda: widget.session.training.progress.state == "finished")
    widget.trainer.stop()
    wait(lambda: widget.session.model is not None)
    made = widget.looker.made
    widget.viewer.dims.set_point(0, 0.1)
    wait(lambda: widget.looker.made > made)
    np.testing.assert_allclose(widget.looker.layer.translate[0], 0.1)
    widget.places.next()
    wait(lambda: widget.places.current is not None)
    place = widget.places.current
    assert widget.viewer.dims.current_step[0] == place.z
    assert strokes[place.z, place.y, place.x] == 0
    widget.predict.uncertainty.setChecked(True)
    widget.results.predict()
    wait(lambda: not widget.predict.is_working)
    (folder,) = tmp_path.rglob("maps.ome.zarr")
    assert folder.is_dir()
    found = widget.viewer.layers["predicted map"]
    assert found.data.shape == phantom.image.shape
    assert set(np.unique(found.data).tolist()) <= set(phantom.classes)
    widget.export.author.setText("A. Painter")
    widget.export.microscopy.setCurrentIndex(1)
    widget.results.export_to(tmp_path / "model.zip")
    wait(lambda: not widget.export.is_working)
    assert widget.export.table.rowCount() > 3
    with zipfile.ZipFile(tmp_path / "model.zip") as package:
        (description,) = (name for name in package.namelist() if name.endswith("rdf.yaml"))
        said = package.read(description).decode()
    assert "A. Painter" in said
    assert "fluorescence" in said.split("tags:")[1]
