"""From geometry to pixels: which pixels a point, a line, a polygon and an ellipse take.

Coordinates are (y, x) in pixels, with the centre of the first pixel at (0, 0). Readers of programs that put the corner
of the first pixel at (0, 0), such as ImageJ and QuPath, take off a half. One rule holds for all of them:

- a *point* takes the pixel that it lies in, the next one where it lies on the border of two;
- a *line* of width 1 takes a chain of pixels from the pixel of each vertex to that of the next, one for each step along
  the longer side; a broader one takes every pixel whose centre is no further from the line than half its width;
- a *polygon* takes every pixel whose centre is inside by the even-odd rule: holes are rings like any other. Of pixels
  whose centre is exactly on the outline it takes those that the program takes (`Edge`). A rectangle is a polygon;
- an *ellipse* takes every pixel whose centre is inside or on the outline.

All is clipped to the image before anything is allocated. What comes back are spans: (n, 3) integers, each a row, the
first column, and the column after the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Coordinates = NDArray[np.float64]  # (n, 2): y, x
Spans = NDArray[np.int64]  # (n, 3): row, first column, column after the last
Plane = tuple[int, int]  # the lengths of an image along y and x

# Far beyond any image, and exact to a thousandth of a pixel.
_FURTHEST = 1e12
# Pixels by which a centre may miss an outline that it is on.
_ROUNDING = 1e-8
# Spans of one object: some seconds of work, and less than a gigabyte.
_MOST = 20_000_000


class Edge(Enum):
    """Which centres on the outline of a polygon are inside."""

    UPPER_LEFT = "upper left"  # those on its upper and left sides, as in Java2D
    LOWER_RIGHT = "lower right"  # those on its lower and right sides, as in ImageJ
    ALL = "all"  # all of them, as in napari


def no_spans() -> Spans:
    """Return spans of no pixel."""
    return np.zeros((0, 3), np.int64)


def pixels(places: Coordinates) -> NDArray[np.int64]:
    """Return the pixels (n, axes) that points lie in; raises `ValueError` for coordinates that are no place."""
    return np.floor(_checked(places) + 0.5).astype(np.int64)


def points(places: Coordinates, plane: Plane) -> Spans:
    """Return those pixels that points (n, 2) lie in; raises `ValueError` for coordinates that are no place."""
    return _spans_of_pixels(pixels(places), plane)


def line(vertices: Coordinates, width: float, plane: Plane) -> Spans:
    """Return the pixels of a line through vertices (n, 2), `width` pixels wide, at least 1.

    Raises `ValueError` for coordinates or a width that are none, and for a line that takes too much.
    """
    if not 0 <= width <= _FURTHEST:
        raise ValueError(f"its line is {width:g} pixels wide")
    vertices = _checked(vertices)
    if len(vertices) == 1:
        vertices = np.repeat(vertices, 2, axis=0)
    if width <= 1:
        ends = pixels(vertices)
        return _spans_of_pixels(_chain(ends[:-1], ends[1:], plane), plane)
    return _capsules(vertices[:-1], vertices[1:], width / 2, plane)


def polygon(rings: Sequence[Coordinates], plane: Plane, *, edge: Edge = Edge.UPPER_LEFT) -> Spans:
    """Return the pixels inside rings (n, 2), each closed by itself, by the even-odd rule.

    Raises `ValueError` for coordinates that are no place, and for an outline that crosses too many rows.
    """
    rings = [_checked(ring) for ring in rings if len(ring) > 2]
    if not rings:
        return no_spans()
    start, end = np.concatenate(rings), np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    if edge is not Edge.ALL:
        below = edge is Edge.LOWER_RIGHT
        return _inside(start, end, plane, (below, below))
    corners = _spans_of_pixels(pixels(start[(start % 1 == 0).all(axis=1)]), plane)
    sides = [(y, x) for y in (False, True) for x in (False, True)]
    return np.concatenate([corners, *(_inside(start, end, plane, side) for side in sides)])


def _inside(start: Coordinates, end: Coordinates, plane: Plane, below: tuple[bool, bool]) -> Spans:
    """Return the pixels inside closed rings with edges from start to end (n, 2).

    On the outline it is those `below` its upper or above its lower sides, and right or left, along y and x.
    """
    y = np.stack([start[:, 0], end[:, 0]])
    first, last = (_after(one, plane[0], below=below[0]) for one in (y.min(0), y.max(0)))
    keys = [np.zeros(0, np.int64)]
    for row, n in _rows(first, last):
        (y1, x1), (y2, x2) = start[n].T, end[n].T
        x = x1 + (row - y1) / (y2 - y1) * (x2 - x1)
        keys.append(row * (plane[1] + 1) + _after(x, plane[1], below=below[1]))
    crossings = np.sort(np.concatenate(keys))  # an even number in each row, as rings are closed
    rows, columns = np.divmod(crossings, plane[1] + 1)
    return _not_empty(np.stack([rows[::2], columns[::2], columns[1::2]], axis=1))


def ellipse(centre: Coordinates, axes: Coordinates, plane: Plane) -> Spans:
    """Return the pixels of an ellipse with a centre (2,) and two half axes (2, 2), vectors that need not be normal.

    Raises `ValueError` for coordinates that are no place.
    """
    (y0, x0), (u, v) = _checked(centre[None])[0], _checked(axes)
    area = abs(u[0] * v[1] - u[1] * v[0])
    height = np.hypot(u[0], v[0])
    if area == 0:
        return no_spans()
    first, last = _between(np.array([y0 - height]), np.array([y0 + height]), plane[0])
    rows = np.arange(first[0], last[0])
    dy = (rows - y0) / height
    middle = x0 + dy * (u[0] * u[1] + v[0] * v[1]) / height
    half = area / height * np.sqrt(np.maximum(0, 1 - dy**2))
    columns = _between(middle - half, middle + half, plane[1])
    return _not_empty(np.stack([rows, *columns], axis=1))


def is_cut(places: Coordinates, plane: Plane) -> bool:
    """Say whether some of the places (n, 2) are outside the image, by more than rounding."""
    margin = 0.5 + 1e-3
    return bool(((places < -margin) | (places > np.array(plane) - 1 + margin)).any())


def _checked(places: Coordinates) -> Coordinates:
    """Return coordinates, all of them finite and near enough to compute with."""
    places = np.asarray(places, np.float64)
    wrong = ~(np.abs(places) <= _FURTHEST)  # also for NaN
    if wrong.any():
        raise ValueError(f"it has the coordinate {places[wrong][0]:g}")
    return places


def _spans_of_pixels(places: NDArray[np.int64], plane: Plane) -> Spans:
    """Return spans of those pixels (n, 2) that are in the image, each once."""
    inside = places[((places >= 0) & (places < plane)).all(axis=1)]
    rows, columns = np.divmod(np.unique(inside @ (plane[1], 1)), plane[1])
    return np.stack([rows, columns, columns + 1], axis=1)


def _chain(start: NDArray[np.int64], end: NDArray[np.int64], plane: Plane) -> NDArray[np.int64]:
    """Return the pixels (n, 2) from start to end (segments, 2), those far outside left out.

    Each step goes one pixel along the longer side, and to the nearest pixel across it; halves go to the larger one, as
    `ImageProcessor.lineTo` of ImageJ does.
    """
    way = end - start
    along = (np.abs(way[:, 1]) >= np.abs(way[:, 0])).astype(int)  # the axis of the longer side
    each = np.arange(len(way))
    steps, origin = np.abs(way[each, along]), start[each, along]
    sign = np.where(way[each, along] < 0, -1, 1)
    ends = np.sort(np.stack([-origin, np.array(plane)[along] - 1 - origin]) * sign, axis=0)
    first, last = np.maximum(ends[0], 0), np.minimum(ends[1], steps) + 1
    found = [np.zeros((0, 2), np.int64)]
    for step, n in _rows(first, np.maximum(first, last)):
        passed = np.empty((len(step), 2), np.int64)
        here, across = np.arange(len(step)), 1 - along[n]
        length = np.maximum(steps[n], 1)
        # In float64, as integers overflow far outside: it is exact for lines of up to ten million pixels.
        aside = np.floor((2.0 * step * way[n, across] + length) / (2.0 * length))
        passed[here, along[n]] = origin[n] + sign[n] * step
        passed[here, across] = start[n, across] + aside.astype(np.int64)
        found.append(passed)
    return np.concatenate(found)


def _capsules(start: Coordinates, end: Coordinates, radius: float, plane: Plane) -> Spans:
    """Return the pixels no further than `radius` from segments (n, 2); in each row of a segment they are one span."""
    y = np.stack([start[:, 0], end[:, 0]])
    first = _after(y.min(0) - radius, plane[0], below=False)
    last = _after(y.max(0) + radius, plane[0], below=True)
    found = [no_spans()]
    for row, n in _rows(first, last):
        low, high = np.full(len(row), np.inf), np.full(len(row), -np.inf)
        for y0, x0 in (start[n].T, end[n].T):  # the round ends
            half = np.sqrt(np.maximum(0, radius**2 - (row - y0) ** 2))
            near = np.abs(row - y0) <= radius
            low, high = (
                np.where(near, np.minimum(low, x0 - half), low),
                np.where(near, np.maximum(high, x0 + half), high),
            )
        sides = _sides(start[n], end[n], row, radius)
        low, high = np.minimum(low, sides[0]), np.maximum(high, sides[1])
        found.append(np.stack([row, *_between(low, high, plane[1])], axis=1))
    return _not_empty(np.concatenate(found))


def _sides(
    start: Coordinates, end: Coordinates, row: NDArray[np.int64], radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest x in a row of a rectangle around each segment; infinities where there is none."""
    (y1, x1), (dy, dx) = start.T, (end - start).T
    length = np.hypot(dy, dx)
    low, high = np.full(len(row), -np.inf), np.full(len(row), np.inf)
    # Between the two ends: 0 <= dx (x - x1) + dy (row - y1) <= length^2; within the radius:
    # -radius length <= dy (x - x1) - dx (row - y1) <= radius length.
    bounds = ((dx, -dy * (row - y1), 0, length**2), (dy, dx * (row - y1), -radius * length, radius * length))
    none = length == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        for factor, offset, least, most in bounds:
            ends = np.sort(np.stack([(offset + least) / factor, (offset + most) / factor]), axis=0) + x1
            flat = factor == 0
            none |= flat & ((offset + least > 0) | (offset + most < 0))
            low, high = np.where(flat, low, np.maximum(low, ends[0])), np.where(flat, high, np.minimum(high, ends[1]))
    none |= low > high
    return np.where(none, np.inf, low), np.where(none, -np.inf, high)


def _after(places: NDArray[np.float64], size: int, *, below: bool) -> NDArray[np.int64]:
    """Return the first integer at or after each place, or only after it (`below`), between 0 and `size`."""
    found = np.floor(places + _ROUNDING) + 1 if below else np.ceil(places - _ROUNDING)
    inside: NDArray[np.int64] = np.clip(found, 0, size).astype(np.int64)
    return inside


def _between(low: NDArray[np.float64], high: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], ...]:
    """Return the first integer of each closed range and the one after its last, between 0 and `size`."""
    return _after(low, size, below=False), _after(high, size, below=True)


def _rows(first: NDArray[np.int64], last: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield every integer of ranges (n,) and the number of its range, about a million at once.

    Raises `ValueError` where they are too many to keep.
    """
    ends = np.cumsum(last - first)
    total = int(ends[-1]) if len(ends) else 0
    if total > _MOST:
        raise ValueError(f"its outline crosses {total} rows, more than {_MOST}")
    for start in range(0, total, 1 << 20):
        position = np.arange(start, min(start + (1 << 20), total))
        number = np.searchsorted(ends, position, side="right")
        yield position - ends[number] + last[number], number


def _not_empty(spans: Spans) -> Spans:
    some: Spans = spans[spans[:, 1] < spans[:, 2]]
    return some
