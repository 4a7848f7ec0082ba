"""How every program of the project ends, 0 done, 1 our error in one line, 2 wrong usage; its console and its bars."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.errors import EsegError


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that shows text as it is: names of files and classes may look like Rich's markup or emoji."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def run_app(app: Callable[[], object]) -> None:
    """Run a Typer app; an error of ours is shown in one line on stderr, with its traceback only for --debug."""
    keep_freed_memory()  # before there are threads, which would get heaps of their own
    try:
        app()
    except EsegError as error:
        if "--debug" in sys.argv:
            raise
        message = Text.assemble(("error:", "bold red"), f" {error}")
        plain_console(stderr=True).print(message, soft_wrap=True)
        sys.exit(1)


class _Rate(ProgressColumn):
    """Chunks per second, or seconds per chunk where that is the larger number."""

    def render(self, task: Task) -> Text:
        speed = task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} chunks/s" if speed >= 1 else f"{1 / speed:.1f} s/chunk")


def image_progress() -> Progress:
    """Return a bar on stderr with planes and time left; none where stderr is no terminal."""
    return _progress(MofNCompleteColumn(), TimeRemainingColumn())


def volume_progress() -> Progress:
    """Return a bar on stderr with chunks, rate and time left; none where stderr is no terminal (see `Tenths`)."""
    return _progress(MofNCompleteColumn(), _Rate(), TimeRemainingColumn())


def _progress(*figures: ProgressColumn) -> Progress:
    console = plain_console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *figures)
    disable = not console.is_terminal
    # The rate is that of the last ten minutes: chunks may take longer than the half minute that Rich looks back.
    return Progress(*columns, console=console, transient=True, disable=disable, speed_estimate_period=600)


class Tenths:
    """What stands for the bar in the log of a batch job: one line on stderr for each tenth done."""

    def __init__(self, name: str):
        self.name, self.said = name, 0
        self.console = plain_console(stderr=True)

    def report(self, done: int, total: int) -> None:
        """Say how many chunks are done, if it is a tenth more than the last time and stderr is no terminal."""
        tenths = 10 * done // total if total else 10
        if tenths > self.said and not self.console.is_terminal:
            self.console.print(f"{self.name}: {done} of {total} chunks", soft_wrap=True)
        self.said = max(tenths, self.said)
