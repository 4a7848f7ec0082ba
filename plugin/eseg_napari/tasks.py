"""Work in threads beside the window: its results and errors come back on the main thread, in which layers change."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Qt, Signal

from eseg_zoo.errors import EsegError, StoppedError

log = logging.getLogger(__name__)


class Task:
    """A piece of work that can be given up; then nobody hears of its result."""

    def __init__(self) -> None:
        self._given_up = threading.Event()
        self.is_over = False

    @property
    def is_given_up(self) -> bool:
        """Whether its result is no longer wanted."""
        return self._given_up.is_set()

    def give_up(self) -> None:
        """Ask the work to end at its next check; it is over for the window at once."""
        self._given_up.set()

    def check(self) -> None:
        """Raise `StoppedError` where it was given up; called by the work, as often as it can."""
        if self._given_up.is_set():
            raise StoppedError("stopped")


class Tasks(QObject):  # type: ignore[misc]  # Qt is untyped where it is not installed
    """Starts work in threads, and calls functions on the main thread from any other."""

    _posted = Signal(object)

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._posted.connect(self._call, Qt.ConnectionType.QueuedConnection)
        self._running: set[Task] = set()
        self._is_closed = False

    def post(self, function: Callable[[], None]) -> None:
        """Have a function called on the main thread, soon."""
        with contextlib.suppress(RuntimeError):  # the window is gone
            self._posted.emit(function)

    def start(
        self, work: Callable[[Task], Any], done: Callable[[Any], None] = lambda result: None,
        *, failed: Callable[[Exception], None] | None = None, ended: Callable[[], None] = lambda: None,
    ) -> Task:  # fmt: skip
        """Start work in a thread; on the main thread `done` gets its result or `failed` its error, then `ended`.

        By default an error becomes a notification. Of work that was given up nothing but `ended` is called.
        """
        task = Task()
        self._running.add(task)

        def finish(result: Any, error: Exception | None) -> None:
            task.is_over = True
            self._running.discard(task)
            if self._is_closed:
                return
            if error is None and not task.is_given_up:
                done(result)
            elif error is not None and not task.is_given_up:
                (failed or tell_error)(error)
            ended()

        def run() -> None:
            result, error = None, None
            try:
                result = work(task)
            except Exception as found:  # noqa: BLE001  whatever it is, the window tells it
                error = found
            self.post(lambda: finish(result, error))

        threading.Thread(target=run, name="eseg_napari work", daemon=True).start()
        return task

    def close(self) -> None:
        """Give up all that runs; nothing is called any more."""
        self._is_closed = True
        for task in list(self._running):
            task.give_up()

    def _call(self, function: Callable[[], None]) -> None:
        if not self._is_closed:
            function()


def tell_error(error: Exception) -> None:
    """Show an error as a notification of one line; of a fault of ours the traceback is logged."""
    if isinstance(error, StoppedError):
        return
    if isinstance(error, EsegError):
        show_error(str(error).splitlines()[0])
        return
    log.error("a fault in eseg_napari", exc_info=error)
    lines = str(error).splitlines() or [""]
    show_error(f"This should not happen ({type(error).__name__}: {lines[0]}); the strokes are safe. Please report it.")
