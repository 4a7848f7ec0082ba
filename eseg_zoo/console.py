"""How every program of the project ends, 0 done, 1 our error in one line, 2 wrong usage; its console and its bars."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from eseg_zoo import progress as progress_module
from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.errors import EsegError
from eseg_zoo.memory import telling_way_out
from eseg_zoo.threads import wait_without_spinning


class _Lines(logging.Handler):
    """Shows what the package logs as lines on stderr; a warning says that it is one."""

    def emit(self, record: logging.LogRecord) -> None:
        is_warning = record.levelno >= logging.WARNING
        text = Text.assemble(("warning: ", "bold yellow") if is_warning else "", record.getMessage())
        plain_console(stderr=True).print(text, soft_wrap=True)


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that shows text as it is: names of files and classes may look like Rich's markup or emoji."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def run_app(app: Callable[[], object]) -> None:
    """Run a Typer app; an error of ours is shown in one line on stderr, with its traceback only for --debug."""
    keep_freed_memory()  # before there are threads, which would get heaps of their own
    wait_without_spinning()
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files; Jupyter's choice may not even be installed here
    _print_whatever_there_is()
    _show_log()
    try:
        with ended_by_signals(), telling_way_out("close other programs, or give this one less to do at once"):
            app()
    except EsegError as error:
        if "--debug" in sys.argv:
            raise
        message = Text.assemble(("error:", "bold red"), f" {error}")
        plain_console(stderr=True).print(message, soft_wrap=True)
        sys.exit(1)


def _print_whatever_there_is() -> None:
    """Let characters that the terminal or the pipe cannot have be escaped: an ε, a name of a file, a class."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does: what is half written is removed, locks are given up.

    It exits with 128 and the signal's number, as shells say it. A signal that is ignored (`nohup`) stays so.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {}
    for name in ("SIGTERM", "SIGHUP"):
        one = getattr(signal, name, None)  # Windows has no SIGHUP
        if one is not None and signal.getsignal(one) == signal.SIG_DFL:
            before[one] = signal.signal(one, end)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _show_log() -> None:
    logger = logging.getLogger("eseg_zoo")
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)


class _Rate(ProgressColumn):
    """Tiles per second, or seconds per tile where that is the larger number."""

    def render(self, task: Task) -> Text:
        speed = task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} tiles/s" if speed >= 1 else f"{1 / speed:.1f} s/tile")


def part_progress() -> Progress:
    """Return a bar on stderr with tiles, rate and time left; none where stderr is no terminal (see `Tenths`)."""
    console = plain_console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    disable = not console.is_terminal
    # The rate is that of the last ten minutes: tiles may take longer than the half minute that Rich looks back.
    return Progress(*columns, console=console, transient=True, disable=disable, speed_estimate_period=600)


class Tenths:
    """What stands for the bar in the log of a batch job: one line on stderr for each tenth done."""

    def __init__(self, name: str):
        self.name, self.said = name, 0
        self.console = plain_console(stderr=True)

    def report(self, done: int, total: int) -> None:
        """Say how many tiles are done, if it is a tenth more than the last time and stderr is no terminal."""
        tenths = 10 * done // total if total else 10
        if tenths > self.said and not self.console.is_terminal:
            self.console.print(f"{self.name}: {done} of {total} tiles", soft_wrap=True)
        self.said = max(tenths, self.said)


class TrainingBars:
    """Shows a training on stderr: a bar for each stage; where that is no terminal, one line for each validation."""

    def __init__(self) -> None:
        self.console = plain_console(stderr=True)
        text = TextColumn("{task.fields[figures]}", markup=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
        )
        self.bars = Progress(
            *columns, TimeElapsedColumn(), TextColumn("<"), TimeRemainingColumn(), text,
            console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TrainingBars:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, progress: progress_module.Progress) -> None:
        """Take the news of a step."""
        name, figures = progress.what.replace("_", "-"), self._figures(progress.figures)
        if self.console.is_terminal:
            if name not in self.tasks:
                self.tasks[name] = self.bars.add_task(name, total=progress.total, figures="")
            self.bars.update(self.tasks[name], completed=progress.done, figures=figures)
        elif progress.is_validated:
            self.console.print(f"{name} step {progress.done}/{progress.total}  {figures}", soft_wrap=True)

    @staticmethod
    def _figures(figures: Mapping[str, float]) -> str:
        """Return those that are known: the loss at first, then the validation too."""
        parts = [f"loss {shown(figures['loss'])}"] if "loss" in figures else []
        if "dice" in figures:
            parts.append(f"validation Dice {shown(figures['dice'])} (best {shown(figures['best'])})")
        return "  ".join(parts)


def shown(figure: float | None) -> str:
    """Return a figure with three decimals, and a dash for one that is not known or no number."""
    return f"{figure:.3f}" if figure is not None and isfinite(figure) else "-"
