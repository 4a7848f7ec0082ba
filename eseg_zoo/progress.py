"""How far a piece of work is, told to whoever asked for it, who may also stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from eseg_zoo.errors import StoppedError


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is: `done` of `total` steps, tiles or sections."""

    what: str  # a stage of the training, or the name of an image
    done: int
    total: int
    figures: Mapping[str, float] = field(default_factory=dict)  # such as the loss of a training step
    is_validated: bool = False
    """Whether a validation of a training has just ended."""
    stop: Callable[[], None] = lambda: None
    """Ends the work at the next moment that allows it. A training then keeps its best model so far."""


class Watch:
    """Tells a callback how far the work is, and remembers whether it was asked to stop; any thread may ask."""

    def __init__(self, callback: Callable[[Progress], None] | None = None):
        self.callback = callback
        self.stopped = threading.Event()

    def report(
        self, what: str, done: int, total: int, figures: Mapping[str, float] = MappingProxyType({}),
        *, is_validated: bool = False,
    ) -> None:  # fmt: skip
        """Tell the callback."""
        if self.callback:
            self.callback(Progress(what, done, total, dict(figures), is_validated, self.stopped.set))

    def report_or_stop(self, what: str, done: int, total: int) -> None:
        """Tell the callback; raises `StoppedError` when it asked to stop before the end."""
        self.report(what, done, total)
        if self.stopped.is_set() and done < total:
            raise StoppedError(f"{what} was stopped after {done} of {total} parts")


def told_time(seconds: float) -> str:
    """Return `40 seconds`, `14 minutes`, `3.5 hours` or `3 days`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} second{'s' * (round(seconds) > 1)}"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
