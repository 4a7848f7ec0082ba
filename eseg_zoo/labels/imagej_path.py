"""Outlines of ImageJ that are not made of straight lines alone, as rings of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.labels.rasterise import Coordinates

# Segments of a `java.awt.geom.PathIterator`, and how many numbers follow each.
_MOVE, _LINE, _QUADRATIC, _CUBIC, _CLOSE = range(5)
_NUMBERS = {_MOVE: 2, _LINE: 2, _QUADRATIC: 4, _CUBIC: 6, _CLOSE: 0}
_MOST = 1 << 10  # straight lines in place of a curve


def rings_of_path(path: NDArray[np.floating]) -> list[Coordinates]:
    """Return the rings (n, 2), y and x, of a composite selection: numbers of segments, each with its points after it.

    Raises `ValueError` for what is no path.
    """
    rings: list[list[tuple[float, float]]] = []
    for kind, points in _segments(path.astype(np.float64).tolist()):
        if kind == _MOVE:
            rings.append([])
        if not rings:
            raise ValueError("its path does not begin with a place")
        ring = rings[-1]
        if kind in (_MOVE, _LINE):
            ring.extend(points)
        elif kind != _CLOSE:
            ring.extend(_curve([ring[-1], *points]))
    return [np.array(ring)[:, ::-1] for ring in rings]


def rounded_rectangle(left: float, top: float, width: float, height: float, diameter: float) -> Coordinates:
    """Return the outline (n, 2), y and x, of a rectangle whose corners are quarters of ellipses."""
    rx, ry = min(diameter, width) / 2, min(diameter, height) / 2
    angles = np.linspace(0, np.pi / 2, min(_MOST, 8 + int(rx + ry)))
    sine, cosine = np.sin(angles), np.cos(angles)
    right, bottom = left + width - rx, top + height - ry
    corners = [
        (bottom + ry * sine, right + rx * cosine),
        (bottom + ry * cosine, left + rx - rx * sine),
        (top + ry - ry * sine, left + rx - rx * cosine),
        (top + ry - ry * cosine, right + rx * sine),
    ]
    return np.concatenate([np.stack(corner, axis=1) for corner in corners])


def _segments(path: Sequence[float]) -> Iterator[tuple[int, list[tuple[float, float]]]]:
    at = 0
    while at < len(path):
        kind = path[at]
        count = _NUMBERS.get(int(kind), -1) if kind == kind // 1 else -1
        numbers = path[at + 1 : at + 1 + count]
        if count < 0 or len(numbers) < count:
            raise ValueError(f"its path has {kind:g} where a segment is expected, or is cut short")
        yield int(kind), list(zip(numbers[::2], numbers[1::2], strict=True))
        at += 1 + count


def _curve(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points on a Bezier curve after its first one, about a pixel apart."""
    control = np.array(points)[:, None]  # (points, t, 2)
    length = np.hypot(*np.diff(control, axis=0).T).sum()
    count = 8 + int(np.clip(np.nan_to_num(length), 0, _MOST))
    t = np.linspace(0, 1, count + 1)[1:, None]
    while len(control) > 1:  # de Casteljau
        control = (1 - t) * control[:-1] + t * control[1:]
    return [(float(x), float(y)) for x, y in control[0]]
