"""Maps of the whole image, and the package: both are written in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog

from eseg_napari.exporting import Proof
from eseg_napari.project import free, short
from eseg_napari.reader import read_maps
from eseg_napari.results_panel import ZARR
from eseg_napari.tasks import Task, tell_error
from eseg_zoo.errors import EsegError, InputError

PACKAGE, MAP = "model.zip", "predicted map"


class Results:
    """Does what the panels Predict and Export ask for."""

    def __init__(self, widget: Any):  # an EsegWidget, which makes this
        self.widget = widget
        self._predicting: Task | None = None
        self._exporting: Task | None = None
        widget.predict.started.connect(self.predict)
        widget.predict.cancelled.connect(self.cancel_prediction)
        widget.export.started.connect(self._ask_where_to_export)
        widget.export.cancelled.connect(self.cancel_export)

    def close(self) -> None:
        """Give up what runs."""
        for task in (self._predicting, self._exporting):
            if task is not None:
                task.give_up()

    def predict(self) -> None:
        """Write maps into the project's folder, under a name that is free, and show them when they are there."""
        panel, session = self.widget.predict, self.widget.session
        try:
            answer = session.newest_model()
            folder = self._folder() / "maps"
            slices = self._current_slice() if panel.what.currentIndex() == 1 else None
        except EsegError as error:
            tell_error(error)
            return
        is_zarr = panel.format.currentText() == ZARR
        out, uncertainty = free(folder / "maps.ome.zarr" if is_zarr else folder / "tiff"), panel.uncertainty.isChecked()

        def work(task: Task) -> dict[str, Path]:
            files: dict[str, Path] = session.predict_to(
                answer.result(), out, slices=slices, uncertainty=uncertainty, report=self._report(task, panel)
            )
            return files

        def done(files: dict[str, Path]) -> None:
            panel.show_working(False, f"Written: {', '.join(map(short, files.values()))}")
            for data, about, _ in read_maps(files["classes"]):
                is_here = session.chosen is not None and data.shape == session.chosen.shape
                place = session.chosen.placed if is_here and session.chosen else {}
                layer = self.widget.viewer.add_labels(data, **{**about, **place, "name": MAP})
                self.widget.viewer.layers.move(self.widget.viewer.layers.index(layer), self._above_images())
                self.widget.painter.choose(self.widget.classes.value())
            show_info("The maps are written")

        self._predicting = self._start(panel, work, done)

    def cancel_prediction(self) -> None:
        """Give up the prediction; what is finished of it is not kept."""
        if self._predicting is not None:
            self._predicting.give_up()
            self.widget.predict.show_working(False, "Cancelled.")

    def export_to(self, out: Path, *, force: bool = False) -> None:
        """Write the package, and show what was proven of it."""
        panel, session = self.widget.export, self.widget.session
        try:
            answer = session.newest_model()
        except EsegError as error:
            tell_error(error)
            return
        card, microscopy = panel.card(), str(panel.microscopy.currentData())

        def work(task: Task) -> Proof:
            proof: Proof = session.export(
                answer.result(), out, card, microscopy=microscopy, force=force, report=self._report(task, panel),
                check=task.check,
            )  # fmt: skip
            return proof

        def done(proof: Proof) -> None:
            panel.show_working(False)
            panel.show_proof(proof)

        self._exporting = self._start(panel, work, done)

    def cancel_export(self) -> None:
        """Give up the export; there is no package then."""
        if self._exporting is not None:
            self._exporting.give_up()
            self.widget.export.show_working(False, "Cancelled.")

    def _ask_where_to_export(self) -> None:
        try:
            self.widget.session.newest_model()
            place = self._folder() / PACKAGE
        except EsegError as error:
            tell_error(error)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        found, _ = QFileDialog.getSaveFileName(self.widget, "Write the package", str(place), "Package (*.zip)")
        if found:  # the dialog has asked whether one that is there may be replaced
            self.export_to(Path(found).with_suffix(".zip"), force=True)

    def _start(self, panel: Any, work: Callable[[Task], Any], done: Callable[[Any], None]) -> Task:
        panel.show_working(True, "Starting…")

        def failed(error: Exception) -> None:
            panel.show_working(False)
            tell_error(error)

        task: Task = self.widget.tasks.start(work, done, failed=failed)
        return task

    def _above_images(self) -> int:
        """Return the place in the list of layers that is just above the image."""
        layers = self.widget.viewer.layers
        return 1 + max((layers.index(one) for one in self.widget.image.layers()), default=-1)

    def _report(self, task: Task, panel: Any) -> Callable[[str, int, int], None]:
        def show(what: str, done: int, total: int) -> None:
            if not task.is_given_up and not task.is_over:
                text = f"{what}: {done} of {total} parts" if total else what
                panel.show_progress(text, done, total)

        def report(what: str, done: int, total: int) -> None:
            task.check()
            self.widget.tasks.post(lambda: show(what, done, total))

        return report

    def _folder(self) -> Path:
        folder = self.widget.saver.folder
        if folder is None:
            raise InputError("no image is chosen: open one, and check its box in the list")
        return Path(folder)

    def _current_slice(self) -> str:
        """Return the number of the slice that is shown, as `eseg predict --slices` has it."""
        chosen, layer = self.widget.session.chosen, self.widget.painter.layer
        assert chosen is not None, "it was asked before"
        point = dict(zip(chosen.axes, layer.world_to_data(self.widget.viewer.dims.point), strict=True))
        sizes = chosen.image.sizes
        t, z = (min(max(round(float(point.get(axis, 0))), 0), sizes[axis] - 1) for axis in "tz")
        number = t if self.widget.session.dims == 3 else t * sizes["z"] + z
        return f"{number}-{number}"
