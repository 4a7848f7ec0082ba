"""What a rule finds in a finished package: how bad it is for a consumer, and why.

A finding is a *fault* where the export went wrong: then there is no package. Otherwise it says what the model is, or
what its card leaves out, and ends up in the table of the README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from eseg_export.compatibility.consumers import Consumer
from eseg_export.finished import FinishedPackage


class Outcome(IntEnum):
    """What a package is for a consumer."""

    RUNS = 0
    LIMIT = 1
    DOES_NOT = 2

    @property
    def text(self) -> str:
        return ("runs", "runs with a limit", "does not run")[self]


@dataclass(frozen=True)
class Finding:
    """One reason for an outcome."""

    outcome: Outcome
    why: str
    fault: bool = False


Rule = Callable[[FinishedPackage, Consumer], Iterator[Finding]]


def fault(why: str) -> Finding:
    """Return that the export went wrong."""
    return Finding(Outcome.DOES_NOT, why, fault=True)


def limit(why: str) -> Finding:
    """Return that the consumer runs the model, but for this."""
    return Finding(Outcome.LIMIT, why)
