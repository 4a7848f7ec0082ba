"""The log of a training, `metrics.csv` in the folder of its run: a row for each epoch of all stages, in their order."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eseg_zoo.errors import InputError

METRICS = "metrics.csv"
# Columns that every row has: the stage; steps since the training began, all stages together; epochs of this stage;
# seconds of training since it began. The others are figures, `train/...` and `val/...`.
COLUMNS = ("stage", "step", "epoch", "seconds")
_KINDS = {"stage": str, "step": int, "epoch": int}


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """Return the rows of the log in a training's folder; none where there is no log yet.

    `stage` is text, `step` and `epoch` are integers, all others floats. A figure that a row does not have is not in it.
    Raises `InputError` for a file that is no such log.
    """
    path = out / METRICS
    try:
        text = path.read_text(encoding="utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise ValueError(f"its first line lacks {', '.join(COLUMNS)}")
        return [_row(row) for row in reader]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is not the log of a training, or is damaged ({error}); move it away") from error


def metrics_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the content of the log that has these rows."""
    figures = sorted({key for row in rows for key in row} - set(COLUMNS))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*COLUMNS, *figures], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(cells: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {key: _KINDS.get(key, float)(text) for key, text in cells.items() if text}
    for column in COLUMNS:
        row[column]  # a KeyError where it is not there
    return row
