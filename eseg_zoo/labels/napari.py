"""CSV files of napari's layers: points (`index,axis-0,...`) and shapes (`index,shape-type,vertex-index,axis-0,...`).

The axes are those of the layer, x last, and the centre of the first pixel is at 0. Shapes take the pixels that
`Shapes.to_labels` gives them: a path or a line the chain of pixels between its rounded vertices, polygons, rectangles
and ellipses those whose centre is inside or on the outline. A line that the run makes broader than a pixel takes those
within half its width. What has no slice is in all of them, as napari shows it.

The files hold no classes: a column `class` or `label`, such as a feature of points, names them for each row, or else
the file's name does. Read in napari's sources (August 2026): `napari_builtins/io/_write.py`, `_shapes_utils.py`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.files import require_existing
from eseg_zoo.images.image import tell
from eseg_zoo.labels import rasterise
from eseg_zoo.labels.canvas import Canvas, axes_of
from eseg_zoo.labels.painted import Painted, PaintOptions
from eseg_zoo.labels.rasterise import Coordinates, Edge, Plane, Spans
from eseg_zoo.labels.table import Header, classes_of, header_of, read_columns

_SHAPES = ("index", "shape-type", "vertex-index")
_CORNERS = {"rectangle": 4, "ellipse": 4, "line": 2}  # vertices that napari writes


def knows(path: Path) -> bool:
    """Say whether a file is a CSV of napari's points or shapes."""
    header = header_of(path)
    return header is not None and {"axis-0", "axis-1"} <= set(header.columns)


def read(path: Path, options: PaintOptions) -> Painted:
    """Return the points or shapes in a CSV of napari; raises `InputError` for one that cannot be read."""
    require_existing(path)
    header = header_of(path)
    if header is None or not {"axis-0", "axis-1"} <= set(header.columns):
        raise InputError(f"{path} is no CSV of napari: its first row must name axis-0, axis-1")
    canvas = Canvas(path, options)
    places = [n for n, name in enumerate(header.columns) if name.startswith("axis-")]
    with canvas.object("its header"):
        axes = axes_of(len(places), options.space)
    if set(_SHAPES) <= set(header.columns):
        return _shapes(canvas, header, places, axes)
    found = read_columns(path, header, places, header.classes())
    with canvas.object("its points"):
        _paint_points(canvas, found.numbers, axes, classes_of(canvas, found, found.texts))
    return canvas.finish(objects="point")


def _paint_points(canvas: Canvas, places: Coordinates, axes: str, values: NDArray[np.int64]) -> None:
    """Paint points (n, axes); where these lack slices or frames, a point is in all of them, as napari shows it."""
    pixels = np.zeros((len(places), 4), np.int64)
    pixels[:, ["tzyx".index(axis) for axis in axes]] = rasterise.pixels(places)
    everywhere = "".join(axis for axis in "tz" if axis not in axes)
    canvas.paint_pixels(pixels[values > 0], values[values > 0], everywhere=everywhere)


def _shapes(canvas: Canvas, header: Header, places: list[int], axes: str) -> Painted:
    """Return the shapes in a table, each of them rows with one index."""
    index, kind = (header.columns.index(name) for name in _SHAPES[:2])
    found = read_columns(canvas.path, header, [index, *places], [kind, *header.classes()])
    values = classes_of(canvas, found, found.texts[1:])
    kinds = found.texts[0]
    starts = np.flatnonzero(np.diff(found.numbers[:, 0], prepend=np.nan) != 0)
    tilted = 0
    for start, end in pairwise([*starts, len(values)]):
        if values[start] == 0:
            continue
        with canvas.object(f"row {found.rows[start]}"):
            vertices = found.numbers[start:end, 1:]
            where = _plane_of(vertices, axes)
            if where is None:
                tilted += 1
                continue
            spans = _spans(kinds.words[kinds.codes[start]], vertices[:, -2:], canvas.options.width, canvas.plane)
            canvas.paint(spans, int(values[start]), **where, is_cut=rasterise.is_cut(vertices[:, -2:], canvas.plane))
    if tilted:
        canvas.notes.append(f"{tell(tilted, 'shape')} across several slices or frames: not painted")
    return canvas.finish(objects="shape")


def _plane_of(vertices: Coordinates, axes: str) -> dict[str, int] | None:
    """Return slice and frame of a shape as far as it has one; None for a shape that goes across several."""
    found = {}
    for axis, numbers in zip(axes[:-2], vertices.T, strict=False):
        if numbers.min() != numbers.max():
            return None
        found[axis] = int(rasterise.pixels(numbers[:1])[0])
    return found


def _spans(kind: str, vertices: Coordinates, width: float, plane: Plane) -> Spans:
    if (expected := _CORNERS.get(kind, len(vertices))) != len(vertices):
        raise ValueError(f"it has {tell(len(vertices), 'corner')}, but {kind} is a shape of {expected}")
    match kind:
        case "path" | "line":
            return rasterise.line(vertices, width, plane)
        case "polygon" | "rectangle":
            return rasterise.polygon([vertices], plane, edge=Edge.ALL)
        case "ellipse":  # the corners of the box around it
            axes = np.stack([vertices[1] - vertices[0], vertices[2] - vertices[1]]) / 2
            return rasterise.ellipse(vertices.mean(axis=0), axes, plane)
    raise ValueError(f"its shape-type is {shown(kind)}; path, line, polygon, rectangle and ellipse are read")
