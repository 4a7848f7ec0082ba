"""Tables of points as people write them: columns z, y, x and class, in any order.

Coordinates are pixels with the centre of the first one at 0, or micrometres from there; a point takes the pixel that it
lies in. `x_um`, `x [µm]` or `x (nm)` state a unit in the header. The class is in a column `class` or `label`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.files import require_existing
from eseg_zoo.images.image import UNITS, tell
from eseg_zoo.labels import rasterise
from eseg_zoo.labels.canvas import Canvas
from eseg_zoo.labels.painted import Painted, PaintOptions
from eseg_zoo.labels.table import Header, classes_of, header_of, read_columns

_PIXEL = ("px", "pixel", "pixels")
_LENGTHS = {
    "nm": "nanometer", "um": "micrometer", "µm": "micrometer", "μm": "micrometer", "micron": "micrometer",
    "microns": "micrometer", "micrometer": "micrometer", "micrometre": "micrometer", "mm": "millimeter",
}  # fmt: skip
_COLUMN = re.compile(
    rf"([tzyx])(?:[\s_]*[\[(]?\s*({'|'.join(sorted((*_PIXEL, *_LENGTHS), key=len, reverse=True))})\s*[\])]?)?"
)


@dataclass(frozen=True)
class _Column:
    """A column of coordinates."""

    place: int  # in the table
    unit: str | None  # `pixel`, a unit of length, or None where the header states none


def knows(path: Path) -> bool:
    """Say whether a file is a table with columns x and y."""
    header = header_of(path)
    return header is not None and {"x", "y"} <= set(_columns(header))


def read(path: Path, options: PaintOptions) -> Painted:
    """Return the points in a table.

    Raises `InputError` for a table that cannot be read, lacks the column of an axis that the image has, or is in a
    length where the size of the pixels is not known.
    """
    require_existing(path)
    header = header_of(path)
    columns = _columns(header) if header else {}
    if header is None or not {"x", "y"} <= set(columns):
        raise InputError(f"{path} is no table of points: its first row must name columns such as z, y, x, class")
    _require_axes(path, columns, options)
    found = read_columns(path, header, [one.place for one in columns.values()], header.classes())
    canvas = Canvas(path, options)
    values = classes_of(canvas, found, found.texts)
    places = np.zeros((len(values), 4))
    for n, (axis, column) in enumerate(columns.items()):
        places[:, "tzyx".index(axis)] = found.numbers[:, n] / _pixel_size(path, header, axis, column, options)
    unstated = ["tzyx".index(axis) for axis, one in columns.items() if not (one.unit or options.unit)]
    _tell_fractions(canvas, places[:, unstated])
    with canvas.object("its points"):
        canvas.paint_pixels(rasterise.pixels(places[values > 0]), values[values > 0])
    return canvas.finish(objects="point")


def _columns(header: Header) -> dict[str, _Column]:
    """Return the columns of coordinates by their axes; none where two columns are of one axis."""
    found: dict[str, _Column] = {}
    for place, name in enumerate(header.columns):
        match = _COLUMN.fullmatch(name.lower())
        if match is None:
            continue
        if match[1] in found:
            return {}
        unit = "pixel" if match[2] in _PIXEL else _LENGTHS.get(match[2] or "")
        found[match[1]] = _Column(place, unit)
    return found


def _require_axes(path: Path, columns: dict[str, _Column], options: PaintOptions) -> None:
    for axis, size, what in zip("tz", options.space, ("frames", "slices"), strict=False):
        if size > 1 and axis not in columns:
            raise InputError(
                f"{path} has no column {axis}, but the image has {size} {what}; add one that counts from 0"
            )


def _pixel_size(path: Path, header: Header, axis: str, column: _Column, options: PaintOptions) -> float:
    """Return how much of a column's unit a pixel is long."""
    unit = column.unit or (options.unit if axis != "t" else None) or "pixel"
    if unit == "pixel":
        return 1.0
    size = options.voxel_size.get(axis)
    if axis == "t" or size is None:
        name = header.columns[column.place]
        raise InputError(
            f"{path} gives {name} in {unit}s, but the size of the image's pixels along {axis} is not known; "
            "state voxel_size, or give pixels"
        )
    return size / UNITS[unit]


def _tell_fractions(canvas: Canvas, places: NDArray[np.float64]) -> None:
    between = int((places != np.floor(places)).any(axis=1).sum())
    if between:
        canvas.notes.append(
            f"{tell(between, 'point')} between pixels, painted at the pixel each lies in; the table states no unit, "
            "so pixels are meant: state unit: micrometer if not"
        )
