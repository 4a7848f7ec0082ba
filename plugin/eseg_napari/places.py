"""Going to where a label teaches most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eseg_napari.image_panel import OURS
from eseg_napari.look_panel import LookPanel
from eseg_napari.painting import Painter
from eseg_napari.session import Session
from eseg_napari.tasks import Task, Tasks, tell_error
from eseg_napari.viewers import camera_of
from eseg_zoo.errors import EsegError

if TYPE_CHECKING:
    from eseg_zoo.suggest.places import Place

NAME = "next place"
COUNT = 8  # places that are looked for at once
NEAR = 12  # pixels around a place within which a stroke answers it
FIELD, SCREEN = 160, 600  # so many pixels of the image are seen around a place at most, on a screen of so many


class NextPlaces:
    """Goes from place to place; when none is left, or the model is a newer one, it looks for others."""

    def __init__(self, viewer: Any, session: Session, panel: LookPanel, painter: Painter, tasks: Tasks):
        self.viewer, self.session, self.panel, self.painter, self.tasks = viewer, session, panel, painter, tasks
        self.layer: Any = None
        self.current: Place | None = None
        self._left: list[Place] = []
        self._found_with: Any = None  # version of the strokes and model
        self._task: Task | None = None
        panel.next_wanted.connect(self.next)

    def next(self) -> None:
        """Go to the next place, which may take some seconds; pressed again meanwhile it is given up."""
        if self._task is not None:
            self._task.give_up()
            return
        strokes = self.session.strokes
        self._left = [one for one in self._left if not self._is_answered(one)]
        if self._left and self._found_with is self.session.model:
            self._go(self._left.pop(0))
            return
        try:
            answer = self.session.newest_model()
        except EsegError as error:
            tell_error(error)
            return
        assert strokes is not None, "there is a model"
        self._found_with = self.session.model
        self.panel.next.setText("Cancel")
        self.panel.place.setText("Looking for places…")

        def work(task: Task) -> list[Place]:
            def report(what: str, done: int, total: int) -> None:
                task.check()
                self.tasks.post(lambda: self.panel.place.setText(f"Looking for places: {done} of {total} parts"))

            return self.session.suggest(answer.result(), count=COUNT, report=report)

        def done(places: list[Place]) -> None:
            self._left = places
            self._go(self._left.pop(0))

        def failed(error: Exception) -> None:
            self.panel.place.setText("")
            tell_error(error)

        def ended() -> None:
            self._task = None
            self.panel.next.setText("Next place (N)")
            if task.is_given_up:
                self.panel.place.setText("")

        task = self._task = self.tasks.start(work, done, failed=failed, ended=ended)

    def _is_answered(self, place: Place) -> bool:
        """Say whether something was painted near a place since it was found."""
        strokes, chosen = self.session.strokes, self.session.chosen
        if strokes is None or chosen is None:
            return False
        middle = [int(getattr(place, axis)) for axis in chosen.axes]
        around = [0] * (len(middle) - 2) + [NEAR, NEAR]
        box = tuple(slice(max(n - more, 0), n + more + 1) for n, more in zip(middle, around, strict=True))
        return bool(strokes[box].any())

    def _go(self, place: Place) -> None:
        """Show a place in the middle of the screen, with a ring around it, and have the brush ready."""
        chosen = self.session.chosen
        if chosen is None or not self.painter.is_shown:
            return
        self.current = place
        pixel = np.array([getattr(place, axis) for axis in chosen.axes], float)
        world = np.asarray(self.painter.layer.data_to_world(pixel))
        first = self.viewer.dims.ndim - len(world)
        for axis, position in enumerate(world, start=first):
            if axis not in self.viewer.dims.displayed:
                self.viewer.dims.set_point(axis, position)
        centre = np.zeros(3)
        centre[-2:] = [world[axis - first] for axis in self.viewer.dims.displayed[-2:]]
        camera = camera_of(self.viewer)
        camera.center = tuple(centre)
        scale = float(np.abs(np.asarray(chosen.placed["scale"])[-2:]).min())
        camera.zoom = max(camera.zoom, SCREEN / (FIELD * scale))
        self._mark(pixel)
        self.panel.place.setText(f"Here the model is unsure; it looks like {place.looks_like}. Paint what it is.")

    def _mark(self, pixel: Any) -> None:
        chosen = self.session.chosen
        assert chosen is not None, "a place is in an image"
        if self.layer is not None and self.layer in self.viewer.layers and self.layer.ndim == len(pixel):
            self.layer.data = [pixel]
            return
        self.layer = self.viewer.add_points(
            [pixel], name=NAME, size=2 * NEAR, face_color="transparent", border_color="white", border_width=0.08,
            symbol="disc", metadata={OURS: True}, **chosen.placed,
        )  # fmt: skip
        self.viewer.layers.selection.active = self.painter.layer
