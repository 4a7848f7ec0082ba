"""Sparse labels as a person paints them: thin strokes, each inside one class."""

import math

import numpy as np
from scipy import ndimage

from eseg_export.demo.phantom import Bytes, Reals

Stroke = list[tuple[int, int]]  # (y, x) of each pixel

MAX_FRACTION = 0.1  # with more, the strokes of a rare class run out of room
LENGTHS = (8, 25)  # pixels, shortest and longest
AHEAD = 3  # pixels, how far a person looks along the line being drawn


def sparse_strokes(truth: Bytes, *, fraction: float, rng: np.random.Generator) -> Bytes:
    """Return sparse labels as a person paints them: strokes 1 px thick, 8 to 25 px long, each inside one class.

    The result has the shape (z, y, x) and the values of `truth`, and 0 where nobody painted. About `fraction` of all
    voxels is labelled, in equal parts for the classes (less where a class has no room left); every class in `truth`
    has a stroke, shorter than 8 px only if no longer one fits. Raises ValueError for a `fraction` outside (0, 0.1].
    """
    if truth.ndim != 3:
        raise ValueError(f"truth has the shape {truth.shape}; it must be (z, y, x)")
    if not 0 < fraction <= MAX_FRACTION:
        raise ValueError(f"fraction is {fraction}; it must be above 0 and at most {MAX_FRACTION}")
    present = np.unique(truth[truth > 0])
    margin = AHEAD + 1
    padded = np.pad(truth, ((0, 0), (margin, margin), (margin, margin)))
    depth = np.stack([_depth(section) for section in padded])
    strokes = np.zeros_like(padded)
    for label in present:
        _stroke_class(strokes, label, np.where(padded == label, depth, 0), fraction * truth.size / len(present), rng)
    return strokes[:, margin:-margin, margin:-margin].copy()


def stroke_at(section: Bytes, start: tuple[int, int], rng: np.random.Generator, *, tries: int = 20) -> Stroke:
    """Return the stroke (y, x of each pixel) that a person paints from `start` on in a section (y, x) of the truth.

    It keeps inside the class that is there, and is 8 to 25 px long; where none of some tries has the room for 8 px it
    is the longest of them.
    """
    margin = AHEAD + 1
    padded = np.pad(section, margin)
    begin = start[0] + margin, start[1] + margin
    depth = np.where(padded == padded[begin], _depth(padded), 0)
    length, longest = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1)), list[tuple[int, int]]()
    for _ in range(tries):
        longest = max(longest, _walk(depth, begin, length, rng), key=len)
        if len(longest) >= LENGTHS[0]:
            break
    return [(y - margin, x - margin) for y, x in longest]


def _depth(section: Bytes) -> Reals:
    """Return how deep each pixel lies in its class: 1 at the edge, at most 3, where a line is free to wander."""
    edge = ndimage.maximum_filter(section, 3) != ndimage.minimum_filter(section, 3)
    depth: Reals = np.minimum(ndimage.distance_transform_edt(~edge) + 1, 3).astype(np.float32)
    return depth


def _stroke_class(strokes: Bytes, label: int, depth: Reals, missing: float, rng: np.random.Generator) -> None:
    """Paint about `missing` pixels of `label`; `depth` is 0 outside the class, and becomes 0 where it is painted."""
    starts = np.argwhere(depth >= min(2.0, float(depth.max())))
    longest: tuple[int, Stroke] = (0, [])
    for z, y, x in starts[rng.integers(len(starts), size=100 + int(missing))].tolist():
        if missing <= 0:
            return
        if depth[z, y, x] == 0:
            continue
        length = min(int(rng.integers(LENGTHS[0], LENGTHS[1] + 1)), max(LENGTHS[0], round(missing)))
        path = _walk(depth[z], (y, x), length, rng)
        longest = max(longest, (z, path), key=lambda found: len(found[1]))
        if len(path) >= LENGTHS[0]:
            _draw(strokes, label, depth, z, path)
            missing -= len(path)
    if not (strokes == label).any():
        _draw(strokes, label, depth, *longest)


def _draw(strokes: Bytes, label: int, depth: Reals, z: int, path: Stroke) -> None:
    for y, x in path:
        strokes[z, y, x] = label
        depth[z, y - 1 : y + 2, x - 1 : x + 2] = 0  # the next stroke must not touch this one


def _walk(depth: Reals, start: tuple[int, int], length: int, rng: np.random.Generator) -> Stroke:
    """Return the pixels (y, x) of a smooth line that keeps inside the class; it ends early where it would leave."""
    path = [start]
    y, x, heading = float(start[0]), float(start[1]), float(rng.uniform(-math.pi, math.pi))
    turns = [math.pi * turn / 8 for turn in range(-8, 8)]  # the first step looks all around
    while len(path) < length:
        appeal = [_clear(depth, y, x, heading + turn) - abs(turn) + rng.normal(0.0, 0.15) for turn in turns]
        heading += turns[appeal.index(max(appeal))]
        y, x = y + math.sin(heading), x + math.cos(heading)
        turns = [-0.4, -0.2, 0.0, 0.2, 0.4]
        pixel = round(y), round(x)
        if depth[pixel] == 0 or pixel in path[:-1]:
            break
        if pixel != path[-1]:
            path.append(pixel)
    return path


def _clear(depth: Reals, y: float, x: float, heading: float) -> float:
    """Return how much room a line has with this heading, one step on and a few steps on."""
    dy, dx = math.sin(heading), math.cos(heading)
    return float(depth[round(y + dy), round(x + dx)] + depth[round(y + AHEAD * dy), round(x + AHEAD * dx)])
