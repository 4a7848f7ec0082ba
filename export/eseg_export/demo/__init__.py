"""The whole road on a synthetic volume: its phantoms, the strokes on them, the commands, and the report."""

from enum import StrEnum


class Kind(StrEnum):
    """What the demo is about."""

    EM = "em"
    FLUORESCENCE = "fluorescence"
