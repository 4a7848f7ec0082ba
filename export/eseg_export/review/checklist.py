"""A review of a finished package: what the zoo's validator says, and how each thing stands that reviewers ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eseg_export.finished import read_package
from eseg_export.review.answers import Answer
from eseg_export.review.items import ITEMS, Item
from eseg_export.review.validator import Validation, validate


@dataclass(frozen=True)
class Review:
    """What is left to do before reviewers see the package."""

    validation: Validation
    answers: tuple[tuple[Item, Answer], ...]


def review(path: Path) -> Review:
    """Return the review of the package in the zip `path`; raises `ExportError` when it cannot be read."""
    package = read_package(path)
    return Review(validate(path), tuple((item, item.answer(package)) for item in ITEMS))
