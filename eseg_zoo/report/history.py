"""The log of a training as curves over its steps, those of all stages one after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from eseg_zoo.errors import InputError
from eseg_zoo.metrics_file import COLUMNS, read_metrics

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


def read_history(out: Path) -> History:
    """Return the history of the training in a folder; a log that is damaged is told, and gives no curves."""
    values: dict[str, list[tuple[int, float]]] = {}
    begins: dict[str, int] = {}
    try:
        rows = read_metrics(out)
    except InputError as error:
        log.warning("The report is without curves: %s", error)
        rows = []
    last = 0
    for row in rows:
        begins.setdefault(row["stage"], last)
        last = row["step"]
        for name, value in row.items():
            if name not in COLUMNS and isfinite(value):
                values.setdefault(name, []).append((last, value))
    return History({name: (tuple(s for s, _ in p), tuple(v for _, v in p)) for name, p in values.items()}, begins)
