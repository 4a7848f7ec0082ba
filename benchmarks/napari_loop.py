"""How the window feels: seconds until maps appear, and whether painting ever stops, while it trains.

    xvfb-run -a python benchmarks/napari_loop.py [--seconds 60] [--image raw.tif --labels labels.tif --classes ...]

A timer of Qt beats every 10 ms; a pause of more than 100 ms between two beats is a stall. Meanwhile a brush paints 30
times a second, as napari's mouse does. It needs napari; without a GPU it measures OpenGL in software too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from eseg_export.demo.em import em_phantom
from eseg_export.demo.strokes import sparse_strokes
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from eseg_napari import samples
from eseg_napari.app import open_viewer
from eseg_napari.classes import of_mapping
from eseg_napari.opening import read_labels

BEAT, PAINT = 10, 33  # milliseconds
STALL = 0.1  # seconds


class Heart:
    """Counts how often Qt comes to its timers, and paints meanwhile."""

    def __init__(self, widget: Any):
        self.widget, self.pauses = widget, list[float]()
        self.strokes = 0
        self._last = time.perf_counter()
        self._rng = np.random.default_rng(0)
        self._beat, self._brush = QTimer(widget), QTimer(widget)
        self._beat.timeout.connect(self._beats)
        self._brush.timeout.connect(self._paint)

    def start(self, *, paints: bool) -> None:
        """Begin to count anew."""
        self.pauses, self._last, self.strokes = [], time.perf_counter(), 0
        self._beat.start(BEAT)
        if paints:
            self._brush.start(PAINT)

    def stop(self) -> str:
        """Return what was counted."""
        self._beat.stop()
        self._brush.stop()
        pauses = np.array(self.pauses)
        stalls = pauses[pauses > STALL]
        return (
            f"{len(pauses) / pauses.sum():.0f} beats and {self.strokes / pauses.sum():.0f} brush marks a second; "
            f"median pause {np.median(pauses) * 1000:.0f} ms, 99 % below {np.quantile(pauses, 0.99) * 1000:.0f} ms, "
            f"longest {pauses.max() * 1000:.0f} ms; {len(stalls)} of {pauses.sum():.0f} s over {STALL * 1000:.0f} ms"
        )

    def _beats(self) -> None:
        now = time.perf_counter()
        self.pauses.append(now - self._last)
        self._last = now

    def _paint(self) -> None:
        layer = self.widget.painter.layer
        place = [*layer.world_to_data(self.widget.viewer.dims.point)[:-2]]
        height, width = layer.data.shape[-2:]
        middle = self._rng.integers(8, (height - 8, width - 8))
        value = self.widget.session.classes[self.strokes % len(self.widget.session.classes)].value
        layer.paint((*(round(n) for n in place), *middle), value)
        self.strokes += 1


def wait(found: Callable[[], bool]) -> float:
    """Let Qt work until something is true; returns the seconds that it took."""
    began = time.perf_counter()
    while not found():
        QApplication.processEvents()
        time.sleep(0.001)
    return time.perf_counter() - began


def prepare(widget: Any, given: argparse.Namespace) -> None:
    """Open an image with strokes: that of the command line, or the EM phantom."""
    if given.image:
        widget.open(given.image)
        wait(lambda: widget.session.chosen is not None)
        chosen = widget.session.chosen
        classes, strokes = read_labels(given.labels, chosen.image, chosen.axes, given.classes)
        widget._set_classes(classes)
        for plane, painting in strokes.snapshot().paintings.items():
            widget.session.strokes[(*plane, *painting.window)] = painting.pixels
        return
    phantom = em_phantom(samples.SHAPE, rng=np.random.default_rng(0))
    widget.viewer.add_image(phantom.image, name="EM")
    widget._set_classes(of_mapping(phantom.classes))
    widget.session.strokes[...] = sparse_strokes(phantom.truth, fraction=0.002, rng=np.random.default_rng(1))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long to paint while it trains")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--classes", nargs="*", default=[], help="names of label values 1, 2 ...")
    given = parser.parse_args()
    viewer, widget = open_viewer()
    viewer.window.resize(1400, 1000)
    prepare(widget, given)
    import eseg_zoo.live.training  # noqa: F401  the window imports it when it opens; the measurement begins after that

    wait(lambda: bool(widget.counts))
    heart, end = Heart(widget), 0.0

    def over() -> bool:
        return time.perf_counter() > end

    end = time.perf_counter() + 10
    heart.start(paints=True)
    wait(over)
    print("painting, no training:", heart.stop())
    heart.start(paints=False)
    widget.trainer.start()
    print(f"from Train to the first map: {wait(lambda: widget.looker.made > 0):.1f} s")
    print("until then:", heart.stop())
    end = time.perf_counter() + given.seconds
    heart.start(paints=True)
    before = widget.looker.made, widget.session.training.progress.step
    wait(over)
    print("painting while it trains and maps:", heart.stop())
    after = widget.looker.made, widget.session.training.progress.step
    print(f"  in {given.seconds:.0f} s: {after[0] - before[0]} maps, {after[1] - before[1]} steps")
    model = widget.session.inputs
    heart._paint()
    taught = wait(lambda: widget.session.inputs is not model)
    made = widget.looker.made + 1  # the one that is being made does not count
    print(
        f"from the last stroke to the next map that knows it: {taught + wait(lambda: widget.looker.made > made):.1f} s"
    )
    widget.trainer.stop()
    print(f"Stop: {wait(lambda: widget.session.model is not None):.1f} s")
    widget.session.strokes = widget.session.chosen = None  # nothing to save
    widget.close_all()
    viewer.close()


if __name__ == "__main__":
    main()
