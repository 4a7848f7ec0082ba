"""Make the pictures of napari.md: each step of the window, on a phantom or on an image with its strokes.

    python docs/guides/napari_pictures.py fluorescence docs/guides/pictures
    python docs/guides/napari_pictures.py raw.tif OUT --labels labels.tif

It needs napari, and a screen or `xvfb-run -a`; it takes some minutes, as it trains.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from eseg_export.demo.em import em_phantom
from eseg_export.demo.fluorescence import fluorescence_phantom
from eseg_export.demo.strokes import sparse_strokes
from PIL import Image as Picture
from qtpy.QtWidgets import QApplication, QScrollArea

from eseg_napari import samples
from eseg_napari.app import open_viewer
from eseg_napari.classes import of_mapping
from eseg_napari.opening import read_labels

SIZE = 1400, 1000  # of the window
WIDTH = 1000  # of a picture, pixels
FRACTION = 0.004  # of the phantom's pixels that are painted
PHANTOMS = {"em": (samples.em, em_phantom), "fluorescence": (samples.fluorescence, fluorescence_phantom)}


def wait(found: Callable[[], bool], *, seconds: float = 900) -> None:
    """Let Qt work until something is true."""
    end = time.monotonic() + seconds
    while not found():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise TimeoutError("it took too long")


def rest(seconds: float) -> None:
    """Let Qt work for a while."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


class Photographer:
    """Writes pictures of a window, each with the part of the dock that it is about in sight."""

    def __init__(self, viewer: Any, widget: Any, out: Path):
        self.viewer, self.widget, self.out = viewer, widget, out

    def take(self, name: str, part: Any) -> None:
        """Write NAME.jpg."""
        rest(0.4)  # what was shown last has its place
        area = self.widget.findChild(QScrollArea)
        area.verticalScrollBar().setValue(max(part.mapTo(area.widget(), part.rect().topLeft()).y() - 40, 0))
        rest(0.6)
        picture = Picture.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Picture.Resampling.LANCZOS)
        picture.save(self.out / f"{name}.jpg", quality=88, optimize=True)
        print(f"{name}: {(self.out / f'{name}.jpg').stat().st_size // 1000} kB")  # noqa: T201


@contextmanager
def window() -> Iterator[tuple[Any, Any]]:
    """Yield a viewer and the window in it; both are closed at the end, without saving what is in progress."""
    viewer, widget = open_viewer()
    viewer.window.resize(*SIZE)
    rest(1)
    try:
        yield viewer, widget
    finally:
        widget.trainer.close()
        rest(1)
        widget.close_all()
        viewer.close()


def paint_phantom(widget: Any, kind: str) -> None:
    """Add a phantom as napari's sample data, and paint strokes on it."""
    sample, make = PHANTOMS[kind]
    for data, about, _ in sample():
        widget.viewer.add_image(data, **about)
    phantom = make(samples.SHAPE, rng=np.random.default_rng(0))
    strokes = sparse_strokes(phantom.truth, fraction=FRACTION, rng=np.random.default_rng(1))
    widget._set_classes(of_mapping(phantom.classes))
    widget.session.strokes[...] = strokes
    widget.painter.layer.refresh()


def paint_file(widget: Any, image: Path, labels: Path, names: list[str]) -> None:
    """Open an image, and take its strokes from a file."""
    widget.open(image)
    wait(lambda: widget.session.chosen is not None)
    chosen = widget.session.chosen
    classes, strokes = read_labels(labels, chosen.image, chosen.axes, names)
    widget._set_classes(classes)
    for plane, painting in strokes.snapshot().paintings.items():
        widget.session.strokes[(*plane, *painting.window)] = painting.pixels
    widget.painter.layer.refresh()


def show(photographer: Photographer, steps: int) -> None:
    """Go the whole way, and take a picture of each step."""
    viewer, widget = photographer.viewer, photographer.widget
    viewer.dims.set_current_step(0, viewer.dims.nsteps[0] // 2)
    wait(lambda: bool(widget.counts))
    photographer.take("paint", widget.image)
    widget.trainer.start()
    wait(lambda: widget.session.training is not None)
    wait(lambda: widget.looker.made > 0)
    widget.look.opacity.setValue(55)
    wait(lambda: widget.session.training.progress.step >= steps)
    made = widget.looker.made
    wait(lambda: widget.looker.made > made)
    photographer.take("train", widget.image)
    widget.trainer.stop()
    wait(lambda: not widget.session.is_training and widget.session.model is not None)
    rest(3)
    widget.look.only_sure.setChecked(True)
    photographer.take("look", widget.training)
    widget.look.only_sure.setChecked(False)
    widget.look.uncertainty.setChecked(True)
    photographer.take("uncertainty", widget.training)
    widget.look.uncertainty.setChecked(False)
    widget.look.opacity.setValue(40)
    widget.places.next()
    wait(lambda: widget.places.current is not None)
    rest(3)
    photographer.take("next", widget.training)
    viewer.reset_view()
    widget.look.button.setChecked(False)
    widget.results.predict()
    wait(lambda: not widget.predict.is_working)
    photographer.take("predict", widget.look)
    widget.export.name.setText("Cells in fluorescence")
    widget.export.description.setText("Nuclei and cytoplasm of cells in a synthetic volume.")
    widget.export.author.setText("A. Painter")
    widget.export.description.setCursorPosition(0)
    widget.export.microscopy.setCurrentIndex(widget.export.microscopy.findText("fluorescence"))
    package = Path.home() / "model.zip"
    widget.results.export_to(package)
    wait(lambda: not widget.export.is_working)
    photographer.take("export", widget.export.button)
    package.unlink()


def main() -> None:
    """Make the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="em, fluorescence, or the path of an image")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    parser.add_argument("--labels", type=Path, help="label file of the image")
    parser.add_argument("--classes", nargs="*", default=[], help="names of label values 1, 2 ...")
    parser.add_argument("--steps", type=int, default=300, help="steps of the training before its picture")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with window() as (viewer, widget):
        if given.image in PHANTOMS:
            paint_phantom(widget, given.image)
        else:
            paint_file(widget, Path(given.image), given.labels, given.classes)
        show(Photographer(viewer, widget, given.out), given.steps)


if __name__ == "__main__":
    main()
