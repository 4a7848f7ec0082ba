"""A simulated person who paints strokes: from the truth, but only where a strategy looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from eseg_export.demo.strokes import LENGTHS, stroke_at
from numpy.typing import NDArray
from scipy import ndimage

from materials import Plane

Spot = tuple[int, int, int]  # the number of a slice, y, x
# Strokes of each class that everything starts with, on one slice.
FIRST = 2
# Pixels from an edge at which a person begins a stroke of the first slice, where there is room.
INSIDE = 2


def paint(labels: Sequence[Plane], truth: Sequence[Plane], spots: Sequence[Spot], rng: np.random.Generator) -> None:
    """Paint a stroke from each of these spots on into the label slices: 1 px thick, 8 to 25 px long, in one class."""
    for number, y, x in spots:
        for place in stroke_at(truth[number], (y, x), rng):
            labels[number][place] = truth[number][place]


def first_spots(truth: Sequence[Plane], classes: Sequence[int], rng: np.random.Generator) -> list[Spot]:
    """Return where the first strokes begin: `FIRST` of each class, on a random slice that has room for all of them."""
    for number in rng.permutation(len(truth)).tolist():
        deep = [_deep(truth[number] == value) for value in classes]
        if all(len(places) >= FIRST * LENGTHS[0] for places in deep):
            chosen = [places[index] for places in deep for index in rng.choice(len(places), FIRST, replace=False)]
            return [(number, int(y), int(x)) for y, x in chosen]
    raise ValueError("no slice has room for strokes of every class")


def _deep(mask: NDArray[np.bool_]) -> NDArray[np.integer]:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.argwhere(mask & (depth >= min(INSIDE, depth.max())))


def random_spots(truth: Sequence[Plane], count: int, rng: np.random.Generator) -> list[Spot]:
    """Return random pixels of the slices, whatever their class: a rare class is rarely met."""
    ends = np.cumsum([plane.size for plane in truth])
    spots = []
    for index in rng.integers(ends[-1], size=count).tolist():
        number = int(np.searchsorted(ends, index, side="right"))
        y, x = divmod(index - (int(ends[number - 1]) if number else 0), truth[number].shape[1])
        spots.append((number, y, x))
    return spots


def class_spots(truth: Sequence[Plane], classes: Sequence[int], count: int, rng: np.random.Generator) -> list[Spot]:
    """Return random pixels of each class in turn, on a random slice that has it: equally many of each."""
    spots = []
    for turn in range(count):
        value = classes[turn % len(classes)]
        having = [number for number, plane in enumerate(truth) if (plane == value).any()]
        number = int(rng.choice(having))
        y, x = rng.choice(np.argwhere(truth[number] == value)).tolist()
        spots.append((number, y, x))
    return spots


def error_spots(
    truth: Sequence[Plane],
    labels: Sequence[Plane],
    predict: Callable[[int], Plane],
    count: int,
    rng: np.random.Generator,
) -> list[Spot]:
    """Return the middles of large errors, as a person finds them: a random slice, and its largest error.

    `predict` gives the map of a slice, in label values. Slices are taken in turn where there are fewer than `count`;
    then it is the next largest error. An error is a connected region of one true class that the map gives to others;
    its size is counted without its outermost pixels, because nobody corrects the line of a border.
    """
    order = rng.permutation(len(truth)).tolist()
    turns = [order[turn % len(order)] for turn in range(count)]
    spots = []
    for number in order[:count]:
        spots += [
            (number, *place) for place in _largest(truth[number], labels[number], predict(number), turns.count(number))
        ]
    return spots


def _largest(truth: Plane, labels: Plane, predicted: Plane, count: int) -> list[tuple[int, int]]:
    """Return the deepest pixels of the `count` largest errors of a slice, the largest first."""
    found: list[tuple[int, tuple[int, int]]] = []
    for value in np.unique(truth):
        wrong = (truth == value) & (predicted != value)
        depth = ndimage.distance_transform_cdt(np.pad(wrong, 1), metric="chessboard")[1:-1, 1:-1]
        inner = depth >= 2
        regions, _ = ndimage.label(inner)
        for region, box in enumerate(ndimage.find_objects(regions), start=1):
            inside = regions[box] == region
            if (labels[box][inside] == 0).all():  # not corrected before
                deepest = np.unravel_index(np.where(inside, depth[box], 0).argmax(), inside.shape)
                place = tuple(int(n) + part.start for n, part in zip(deepest, box, strict=True))
                found.append((int(inside.sum()), (place[0], place[1])))
    found.sort(key=lambda one: -one[0])
    return [place for _, place in found[:count]]
