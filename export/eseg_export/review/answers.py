"""What a check says about one thing that reviewers ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from eseg_export.finished import FinishedPackage


class State(StrEnum):
    """What a person has to do."""

    OK = "ok"  # nothing
    LOOK = "look"  # judge what no program can
    MISSING = "missing"  # state or make it


@dataclass(frozen=True)
class Answer:
    """How one thing stands, and what was found."""

    state: State
    found: str


Check = Callable[[FinishedPackage], Answer]


def ok(found: str) -> Answer:
    """Return that the thing is there."""
    return Answer(State.OK, found)


def look(found: str) -> Answer:
    """Return that a person has to judge it."""
    return Answer(State.LOOK, found)


def missing(found: str) -> Answer:
    """Return that the thing is not there."""
    return Answer(State.MISSING, found)
