"""When a session is saved: every minute, when it is asked for, and at once when there is no later."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer

from eseg_napari.project import Project, State, new_folder, short
from eseg_napari.session import Session
from eseg_napari.strokes import Snapshot
from eseg_napari.tasks import Tasks, tell_error
from eseg_zoo.errors import EsegError

EVERY = 60  # seconds


class Saver:
    """Keeps a session's project up to date; the folder is made with the first stroke."""

    def __init__(self, session: Session, tasks: Tasks, tell: Callable[[str], None]):
        self.session, self.tasks, self.tell = session, tasks, tell
        self.project: Project | None = None
        self.is_saving = False
        self._timer = QTimer(tasks)
        self._timer.timeout.connect(self.save)
        self._timer.start(1000 * EVERY)

    @property
    def folder(self) -> Path | None:
        """Where the project is, or would be; None while there is no image."""
        if self.project is not None:
            return self.project.folder
        return None if self.session.painted_on is None else new_folder(self.session.painted_on)

    def save(self) -> None:
        """Save what is not saved yet, in a thread."""
        session, state = self.session, self._state()
        if state is None or self.is_saving:
            return
        assert session.strokes is not None, "they are part of the state"
        project, strokes = self._opened(state), session.strokes
        if project.is_saved(strokes.version, session.classes, session.model):
            return
        self.is_saving = True

        def done(result: Any) -> None:
            self.tell(f"Saved at {time.strftime('%H:%M:%S')} in {short(project.folder)}")
            while project.notes:
                show_warning(project.notes.pop())

        def ended() -> None:
            self.is_saving = False

        self.tasks.start(lambda task: project.save(replace(state, snapshot=strokes.snapshot())), done, ended=ended)

    def save_now(self) -> None:
        """Save before it goes on; an error becomes a notification."""
        state = self._state()
        if state is None:
            return
        assert self.session.strokes is not None, "they are part of the state"
        try:
            self._opened(state).save(replace(state, snapshot=self.session.strokes.snapshot()))
        except EsegError as error:
            tell_error(error)

    def leave(self) -> None:
        """Leave the project to others; the next image has another one."""
        if self.project is not None:
            self.project.leave()
        self.project = None

    def close(self) -> None:
        """Save no more by itself."""
        self._timer.stop()

    def _opened(self, state: State) -> Project:
        self.project = self.project or Project(new_folder(state.chosen))
        return self.project

    def _state(self) -> State | None:
        """Return what there is to save, still without the strokes; None where nothing was painted."""
        session = self.session
        if session.painted_on is None or session.strokes is None or not session.strokes.version:
            return None
        return State(
            session.painted_on, session.classes, Snapshot(session.strokes.shape, {}), session.model, session.dims,
            session.settings,
        )  # fmt: skip
