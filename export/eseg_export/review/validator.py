"""The levels of the zoo's own validator, asked without network as the export asks."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bioimageio.spec import ValidationContext, __version__, load_description
from bioimageio.spec.summary import WARNING_LEVEL_TO_NAME

from eseg_export.review.items import fix_of
from eseg_export.tracing import known_warnings
from eseg_zoo.errors import ExportError

_ERROR = "error"
# The strictest last; a description passes a level when there is nothing of that level or a worse one.
LEVELS: tuple[str, ...] = tuple(WARNING_LEVEL_TO_NAME[number] for number in sorted(WARNING_LEVEL_TO_NAME, reverse=True))


@dataclass(frozen=True)
class Remark:
    """What the validator says about one field."""

    level: str
    field: str  # such as `authors.0.orcid`; empty where it is about all of the description
    says: str
    fix: str


@dataclass(frozen=True)
class Validation:
    """What the validator says about a package."""

    version: str  # of bioimageio.spec
    remarks: tuple[Remark, ...]  # worst first
    completeness: float  # of the fields, 0 to 1; the zoo ranks by it

    @property
    def passed(self) -> list[str]:
        """The levels that the description passes."""
        worst = min((LEVELS.index(remark.level) for remark in self.remarks), default=len(LEVELS))
        return list(LEVELS[:worst])


def validate(path: Path) -> Validation:
    """Return what the validator says about the package in the zip `path`; nobody is asked over the network.

    Raises `ExportError` for a description that even the validator cannot read.
    """
    # Opened here, file and archive, because bioimageio leaves both open.
    offline = ValidationContext(perform_io_checks=False)
    with path.open("rb") as file, zipfile.ZipFile(file) as archive, known_warnings(), offline:
        try:
            summary = load_description(archive).validation_summary
        except Exception as error:
            raise ExportError(f"bioimageio cannot read {path.name}: {_line(str(error))}") from error
    remarks = [
        *(_remark(_ERROR, error.loc, error.msg) for detail in summary.details for error in detail.errors),
        *(_remark(note.severity_name, note.loc, note.msg) for detail in summary.details for note in detail.warnings),
    ]
    remarks.sort(key=lambda remark: LEVELS.index(remark.level))
    return Validation(__version__, tuple(dict.fromkeys(remarks)), summary.metadata_completeness)


def _remark(level: str, where: Sequence[int | str], says: str) -> Remark:
    field = str(where[0]) if where else ""
    return Remark(level, ".".join(map(str, where)), _line(says), fix_of(field))


def _line(text: str) -> str:
    return " ".join(text.split())
