"""The map layers: which part is asked for and when, and what of it is shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer

from eseg_napari.chosen_image import ChosenImage
from eseg_napari.image_panel import OURS
from eseg_napari.look import Maps, Seen, View, seen
from eseg_napari.look_panel import LookPanel
from eseg_napari.painting import Painter, colormap_of
from eseg_napari.session import Session
from eseg_napari.tasks import Task, Tasks, tell_error
from eseg_napari.viewers import camera_of
from eseg_zoo.errors import EsegError, InputError

MAP, UNCERTAINTY = "map of what you see", "uncertainty"
AFTER_MOVE = 0.25  # seconds that the view must rest before it is mapped
# Between two maps of one view the training goes on for so many seconds, and so many times as long as a map takes.
BETWEEN, TIMES = 1.0, 3.0


class Looker:
    """Keeps the maps of what is seen in two layers, as long as it is switched on. One map is made at a time."""

    def __init__(self, viewer: Any, session: Session, panel: LookPanel, painter: Painter, tasks: Tasks):
        self.viewer, self.session, self.panel = viewer, session, panel
        self.painter, self.tasks = painter, tasks
        self.layer: Any = None
        self.uncertainty: Any = None
        self.maps: Maps | None = None
        self.made = 0  # maps so far
        self._task: Task | None = None
        self._shown: tuple[Any, Any, int] | None = None  # region, model and step of the map that is shown
        self._last = self._took = 0.0  # when the last map came, and how long it took
        self._timer = QTimer(tasks)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._request)
        panel.toggled.connect(self._toggled)
        panel.display_changed.connect(self._display)
        for emitter in (
            camera_of(viewer).events.zoom, camera_of(viewer).events.center, viewer.dims.events.current_step,
            viewer.dims.events.order, viewer.dims.events.ndisplay,
        ):  # fmt: skip
            emitter.connect(self._moved)

    @property
    def is_on(self) -> bool:
        """Whether maps are wanted."""
        return bool(self.panel.button.isChecked())

    def close(self) -> None:
        """Stop."""
        self._timer.stop()
        self.give_up()

    def model_changed(self) -> None:
        """Look again, as the training went on or ended."""
        if self.is_on and not self._timer.isActive():
            rest = max(BETWEEN, TIMES * self._took)
            self._timer.start(int(1000 * max(0.0, self._last + rest - time.monotonic())))

    def labels_changed(self) -> None:
        """Look again as soon as the map at hand is there, as the training has learnt of new strokes."""
        if self.is_on:
            self._took = 0.0
            self._timer.start(0)

    def _toggled(self, is_on: bool) -> None:
        if is_on:
            self._shown = None
            self._prepare()
            self._timer.start(0)
        else:
            self._timer.stop()
            self.give_up()
            self.panel.line.setText("")
            for layer in self._layers():
                layer.visible = False

    def _prepare(self) -> None:
        """Have the map's layer ready while nobody paints: to make it takes tenths of a second without a GPU."""
        chosen = self.session.chosen
        if chosen is not None and self.painter.is_shown and self.session.has_model and not self._layers():
            self._add_map(np.zeros((1,) * len(chosen.shape), np.uint8), chosen.placed)

    def _moved(self, event: Any = None) -> None:
        if self.is_on:
            self._timer.start(int(1000 * AFTER_MOVE))

    def give_up(self) -> None:
        """Give up the map that is being made."""
        if self._task is not None:
            self._task.give_up()
            self._task = None

    def _request(self) -> None:
        """Have the part that is seen mapped, unless that map is there or is being made."""
        if not self.is_on:
            return
        if self._task is not None:
            self._timer.start(int(1000 * AFTER_MOVE))
            return
        try:
            part = self._seen()
            step = self._step()
            wanted = (dict(part.region), self.session.model, step)
            if wanted == self._shown:
                return
            self.session.require_model()
        except EsegError as error:
            self.panel.line.setText(str(error))
            return
        chosen = self.session.chosen
        assert chosen is not None, "something of it is seen"
        began = time.monotonic()

        def work(task: Task) -> Maps:
            return self.session.look(part, task.check)

        def done(maps: Maps) -> None:
            self._shown, self.maps = wanted, maps
            self._show(chosen, maps)
            self.made += 1
            cut = " It covers the middle of what you see: zoom in for the rest." if part.is_cut else ""
            after = f" after {step} steps" if step else ""
            self.panel.line.setText(f"Map of what you see{after}.{cut}")

        def ended() -> None:
            if self._task is task:
                self._task = None
            self._last = time.monotonic()
            self._took = self._last - began
            if self.session.is_training:
                self.model_changed()

        task = self._task = self.tasks.start(work, done, failed=self._failed, ended=ended)

    def _failed(self, error: Exception) -> None:
        self.panel.line.setText("")
        tell_error(error)

    def _step(self) -> int:
        """Return the step of the training; raises `InputError` where its maps would show chance."""
        training = self.session.training
        if training is None or not self.session.is_training:
            return 0
        progress = training.progress
        if not progress.is_worth_a_look:
            raise InputError("The first map comes when the training has seen enough: a minute at most.")
        return int(progress.step)

    def _seen(self) -> Seen:
        chosen = self.session.chosen
        if chosen is None or not self.painter.is_shown:
            raise InputError("Choose an image first.")
        layer = self.painter.layer
        point = layer.world_to_data(self.viewer.dims.point)
        offset = self.viewer.dims.ndim - layer.ndim
        shown = tuple(axis - offset for axis in self.viewer.dims.displayed)
        return seen(View(shown, np.asarray(layer.corner_pixels), tuple(point)), chosen.shape, chosen.axes)

    def _layers(self) -> list[Any]:
        return [one for one in (self.layer, self.uncertainty) if one is not None and one in self.viewer.layers]

    def _show(self, chosen: ChosenImage, maps: Maps) -> None:
        """Put maps into their layers, which lie under the strokes; the active layer stays the same."""
        placed = dict(chosen.placed)
        placed["translate"] = placed["translate"] + np.array(maps.starts) * placed["scale"]
        if self.layer is None or self.layer not in self.viewer.layers or self.layer.ndim != maps.classes.ndim:
            self._add_map(maps.classes, placed)
        for layer in self._layers():
            if not np.array_equal(layer.translate, placed["translate"]):
                layer.translate = placed["translate"]
        self._display()

    def _add_map(self, classes: Any, placed: Any) -> None:
        """Add the layer of the map, under the strokes; those of an image of another kind are taken out."""
        for layer in self._layers():
            self.viewer.layers.remove(layer)
        with self._staying_active():
            self.layer = self.viewer.add_labels(
                classes, name=MAP, colormap=colormap_of(self.session.classes), metadata={OURS: True}, **placed
            )
            self.layer.editable = False
            self._under(self.painter.layer, self.layer)

    def _add_uncertainty(self, maps: Maps) -> None:
        """Add the layer of the uncertainty, under the map; a layer takes a tenth of a second, so only where wanted."""
        placed = {key: getattr(self.layer, key) for key in ("scale", "translate", "affine", "units")}
        with self._staying_active():
            self.uncertainty = self.viewer.add_image(
                maps.uncertainty, name=UNCERTAINTY, colormap="magma", contrast_limits=(0, 1),
                blending="translucent", metadata={OURS: True}, **placed,
            )  # fmt: skip
            self._under(self.layer, self.uncertainty)

    def _under(self, above: Any, layer: Any) -> None:
        layers = self.viewer.layers
        if above in layers:
            layers.move(layers.index(layer), layers.index(above))

    @contextmanager
    def _staying_active(self) -> Iterator[None]:
        """Leave the layer that is worked on as it is."""
        active = self.viewer.layers.selection.active
        yield
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active

    def show_classes(self) -> None:
        """Give the map the colours of the classes."""
        if self._layers():
            self.layer.colormap = colormap_of(self.session.classes)

    def _display(self) -> None:
        """Show of the maps what the panel says."""
        if self.maps is None or self.layer is None or self.layer not in self.viewer.layers:
            return
        # Each of these draws the layer anew, which takes tens of milliseconds without a GPU: only what differs is set.
        pixels, opacity = self.maps.sure(self.panel.limit), self.panel.opacity.value() / 100
        if pixels is not self.layer.data:
            self.layer.data = pixels
        wants_uncertainty = self.is_on and self.panel.uncertainty.isChecked()
        wants_map = self.is_on and not wants_uncertainty
        if self.layer.opacity != opacity:
            self.layer.opacity = opacity
        if self.layer.visible != wants_map:
            self.layer.visible = wants_map
        if wants_uncertainty and self.uncertainty not in self.viewer.layers:
            self._add_uncertainty(self.maps)
        if self.uncertainty is None:
            return
        if wants_uncertainty and self.uncertainty.data is not self.maps.uncertainty:
            self.uncertainty.data = self.maps.uncertainty
        if self.uncertainty.opacity != opacity:
            self.uncertainty.opacity = opacity
        if self.uncertainty.visible != wants_uncertainty:
            self.uncertainty.visible = wants_uncertainty
