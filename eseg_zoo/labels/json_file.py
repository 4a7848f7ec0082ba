"""JSON files of labels: how they begin, what they hold, and coordinates in them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.files import require_existing
from eseg_zoo.images.image import first_line

# Of a file, read to see what it is; and all that is read of one.
_ENDS, _BYTES = 1 << 16, 1 << 29


def ends_of(path: Path) -> str:
    """Return the beginning and the end of a JSON file; '' for anything that is none or cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(_ENDS)
            file.seek(0, os.SEEK_END)
            file.seek(max(_ENDS, file.tell() - _ENDS))
            text = (start + file.read(_ENDS)).decode("utf-8-sig", "replace").lstrip()
    except (OSError, ValueError):  # a path with a NUL
        return ""
    return text if text[:1] in ("{", "[") else ""


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises `InputError` where it cannot be read, is too large, or is not JSON."""
    require_existing(path)
    try:
        if path.stat().st_size > _BYTES:
            raise InputError(f"{path} has more than {_BYTES >> 20} MiB; split it")
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a readable JSON file: {first_line(error)}") from error


def coordinates(value: Any, *, least: int = 2, most: int = 3) -> NDArray[np.float64]:
    """Return coordinates (n, least..most) of a list of lists of numbers; raises `ValueError` for anything else."""
    if value == []:
        return np.zeros((0, least))
    try:
        found = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its coordinates are {shown(value)}, not lists of numbers") from error
    if found.ndim != 2 or not least <= found.shape[1] <= most:
        raise ValueError(f"its coordinates are {shown(value)}, not lists of {least} to {most} numbers")
    return found


def hex_colour(value: Any) -> str | None:
    """Return `#rrggbb` of [r, g, b], of `#rrggbb`, or of a whole number with red, green and blue in its low bytes."""
    if isinstance(value, str) and len(value) == 7 and value[0] == "#":
        value = [int(value[n : n + 2], 16) if _is_hex(value[n : n + 2]) else None for n in (1, 3, 5)]
    elif isinstance(value, int) and not isinstance(value, bool):
        value = [(value >> shift) & 255 for shift in (16, 8, 0)]
    if not isinstance(value, list) or len(value) < 3:
        return None
    red, green, blue = value[:3]
    if not all(isinstance(one, int) and 0 <= one <= 255 for one in (red, green, blue)):
        return None
    return f"#{red:02x}{green:02x}{blue:02x}"


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)
