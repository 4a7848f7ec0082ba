"""Rows of a benchmark: each is one training run, and its result one JSON file; a file that exists is not made again."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from eseg_zoo.output import replacing


@dataclass(frozen=True)
class Row:
    """One run: who learns, from which labels, and with which settings."""

    learner: str  # a key of `learners.LEARNERS`
    labels: str  # "points", "scribbles" or "dense"
    per_class: int | None  # labels of each class and slice; None: all there are
    draw: int  # which labels
    seed: int  # of the training
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of the run's YAML, over the small preset

    @property
    def key(self) -> str:
        """The row's name for files: readable, and another one whenever any setting differs."""
        settings = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]
        count = "all" if self.per_class is None else self.per_class
        return f"{self.learner}-{self.labels}-{count}-draw{self.draw}-seed{self.seed}-{settings}"


@dataclass(frozen=True)
class Outcome:
    """What one run gave; Dice by class over every pixel of the unseen slices."""

    argmax: dict[str, float]
    corrected: dict[str, float]
    cpu_seconds: float  # of training, over all threads
    labelled_pixels: int
    parameters: int | None = None
    multiply_adds: float | None = None  # per pixel, at prediction

    @property
    def mean_argmax(self) -> float:
        return fmean(self.argmax.values())

    @property
    def mean_corrected(self) -> float:
        return fmean(self.corrected.values())


Task = Callable[[Row, Path], Outcome]
"""(row, its folder) -> outcome; a function of a module, because it runs in a process of its own."""


def result_path(out: Path, row: Row) -> Path:
    """Return the file that holds the row's outcome once it is finished."""
    return out / f"{row.key}.json"


def read_outcomes(rows: Iterable[Row], out: Path) -> dict[Row, Outcome]:
    """Return the outcomes of those rows that are finished."""
    found = {row: result_path(out, row) for row in rows}
    return {
        row: Outcome(**json.loads(path.read_text(encoding="utf-8"))["outcome"])
        for row, path in found.items()
        if path.exists()
    }


def complete(rows: Sequence[Row], task: Task, out: Path, *, jobs: int, console: Console) -> list[Row]:
    """Run the rows that have no outcome yet, `jobs` at a time with one thread each; return those that failed.

    Each row has a process and a folder of its own, with what it printed in `log.txt`. An interruption kills the rows
    at hand: they start anew the next time.
    """
    out.mkdir(parents=True, exist_ok=True)
    waiting = [row for row in rows if not result_path(out, row).exists()]
    console.print(f"{len(rows)} rows, {len(rows) - len(waiting)} of them finished before")
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes to come, before they import torch
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[Any, Row, float]] = {}
    failed: list[Row] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                row = waiting.pop(0)
                process = context.Process(target=_work, args=(task, row, out))
                process.start()
                running[process.sentinel] = (process, row, time.monotonic())
            for sentinel in wait(list(running)):
                process, row, started = running.pop(sentinel)
                process.join()
                if not _report(row, out, time.monotonic() - started, len(waiting) + len(running), console):
                    failed.append(row)
    finally:
        for process, *_ in running.values():
            process.kill()
            process.join()
    return failed


def _report(row: Row, out: Path, seconds: float, left: int, console: Console) -> bool:
    """Print one line on a row whose process has ended; return whether it was finished."""
    outcome = read_outcomes([row], out).get(row)
    if outcome is None:
        console.print(f"[red]failed[/] {row.key}: see {out / row.key / 'log.txt'}", highlight=False, soft_wrap=True)
        return False
    figures = f"mean Dice {outcome.mean_argmax:.3f}, corrected {outcome.mean_corrected:.3f}"
    console.print(f"{row.key}: {figures}, {seconds:.0f} s, {left} left", highlight=False, soft_wrap=True)
    return True


def _work(task: Task, row: Row, out: Path) -> None:
    """Run one row in this process and write its outcome."""
    os.setpgid(0, 0)  # Ctrl-C is for the parent: a training that ends early must not pass for a finished row
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = out / row.key
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
        outcome = task(row, folder)
    record = {"row": asdict(row), "outcome": asdict(outcome), "eseg_zoo": version("eseg_zoo")}
    with replacing(result_path(out, row), force=True) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a child runs this"
    parent.join()
    os._exit(1)
