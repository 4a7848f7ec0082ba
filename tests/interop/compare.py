"""One row of the table: what a consumer computed beside what the checkpoint computes, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from eseg_export.verify import TOLERANCE
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

# Of a probability, as the exporter's own: the same operations in the same float32, summed in another order. The zoo's
# default is looser (1e-3), so that a consumer may pass there with what is a real difference here.
LIMIT = TOLERANCE

Array = NDArray[np.float32]


class Result(StrEnum):
    """`SKIPPED` is only what could not be installed; what was installed and gave no answer has failed."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Row:
    """One consumer's verdict on one model."""

    consumer: str
    version: str
    model: str
    result: Result
    difference: float | None = None  # largest of a probability from the checkpoint's; None: no number came
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a comparison found."""

    result: Result
    difference: float | None
    reason: str


def compare(found: Mapping[str, Array], expected: Mapping[str, Array]) -> Verdict:
    """Return the verdict on all of `found`, whose names are those of `expected`; a missing or further one fails.

    An expected array that is smaller than what was found is its centre: a tile without its halo.
    """
    if set(found) != set(expected) or not expected:
        return Verdict(Result.FAILED, None, f"answers {sorted(found)}, not {sorted(expected)}")
    largest, problems = 0.0, []
    for name, wanted in expected.items():
        centre = _centre(found[name], wanted.shape)
        if centre is None:
            problems.append(f"{name} has shape {found[name].shape}, not {wanted.shape}")
            continue
        difference = float(np.abs(centre - wanted).max())
        largest = max(largest, difference) if difference == difference else difference
        if not difference <= LIMIT:  # also true for NaN
            problems.append(f"{name} differs by {difference:.2g}")
    if problems:
        return Verdict(Result.FAILED, largest, f"{'; '.join(problems)}; the limit is {LIMIT:g}")
    return Verdict(Result.PASSED, largest, f"{len(expected)} outputs")


def _centre(found: Array, shape: Sequence[int]) -> Array | None:
    """Return the middle of `found` of that shape, or None where there is none."""
    if found.ndim != len(shape) or found.shape[:2] != tuple(shape[:2]):
        return None
    surplus = [have - want for have, want in zip(found.shape, shape, strict=True)]
    if any(extra < 0 or extra % 2 for extra in surplus):
        return None
    return found[tuple(slice(extra // 2, extra // 2 + want) for extra, want in zip(surplus, shape, strict=True))]


def table(rows: Sequence[Row]) -> Table:
    """Return the one table."""
    colours = {Result.PASSED: "green", Result.FAILED: "bold red", Result.SKIPPED: "yellow"}
    shown = Table("consumer", "version", "model", "result", "max difference", "reason", title="interop")
    for row in rows:
        difference = "" if row.difference is None else f"{row.difference:.1e}"
        result = f"[{colours[row.result]}]{row.result}[/]"
        shown.add_row(row.consumer, row.version, row.model, result, difference, escape(row.reason))
    return shown


def summary(rows: Sequence[Row]) -> str:
    """Return how many passed, failed and were skipped."""
    return ", ".join(f"{sum(row.result == result for row in rows)} {result}" for result in Result)


def exit_code(rows: Sequence[Row]) -> int:
    """Return 1 when a consumer failed, or when none passed."""
    results = {row.result for row in rows}
    return 0 if Result.FAILED not in results and Result.PASSED in results else 1
