"""The log of a training as curves over its steps, those of all stages one after the other."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from eseg_zoo.images.image import first_line

log = logging.getLogger(__name__)

Points = tuple[tuple[int, ...], tuple[float, ...]]  # steps, values


@dataclass(frozen=True)
class History:
    """What was logged: `train/...` and `val/...`, by the names in `metrics.csv`."""

    curves: Mapping[str, Points]
    begins: Mapping[str, int]  # stage -> the step that it begins after, in their order

    def terms(self) -> dict[str, Points]:
        """Return the terms of the loss, in the order of their names."""
        others = ("train/loss", "train/waiting")
        return {
            name.removeprefix("train/").replace("_", " "): points
            for name, points in sorted(self.curves.items())
            if name.startswith("train/") and name not in others
        }


def read_history(stages: Mapping[str, Path]) -> History:
    """Return the history of stages, name -> folder with `metrics.csv`; stages that left no log are passed over.

    A training that was resumed left several logs in a folder. What was done again counts as the last time.
    """
    values: dict[str, dict[int, float]] = {}
    begins: dict[str, int] = {}
    before = 0
    for stage, folder in stages.items():
        last = before
        for file in _logs(folder):
            for step, row in _rows(file):
                last = max(last, before + step)
                for name, value in row.items():
                    values.setdefault(name, {})[before + step] = value
        if last > before:
            begins[stage] = before
        before = last
    curves = {name: sorted(points.items()) for name, points in values.items()}
    return History({name: (tuple(s for s, _ in p), tuple(v for _, v in p)) for name, p in curves.items()}, begins)


def _rows(file: Path) -> list[tuple[int, dict[str, float]]]:
    """Return the steps of a log, counted from 1, with what was logged at each; of a damaged one none, and say so."""
    found = []
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                numbers = {name: float(value) for name, value in row.items() if value}
                known = {name: n for name, n in numbers.items() if name not in ("epoch", "step") and isfinite(n)}
                found.append((int(numbers["step"]) + 1, known))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        log.warning("%s cannot be read, so its curves are not in the report: %s", file, first_line(error))
        return []
    return found


def _logs(folder: Path) -> list[Path]:
    """Return the logs in a folder in the order in which they were written: `metrics.1.csv`, ..., `metrics.csv`."""
    numbered = [file for file in folder.glob("metrics.*.csv") if re.fullmatch(r"metrics\.\d+\.csv", file.name)]
    ordered = sorted(numbered, key=lambda file: int(file.name.split(".")[1]))
    return [file for file in (*ordered, folder / "metrics.csv") if file.exists()]
