"""Anchors: the labelled pixels, grouped into strokes, split by them, and drawn class-balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True)
class AnchorSet:
    """Labelled pixels: the section and place of each (n, 1 + dims), its class (n,), and its stroke (n,)."""

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    strokes: NDArray[np.int64]

    @classmethod
    def of(cls, places: NDArray[np.int64], labels: NDArray[np.int64]) -> AnchorSet:
        """Return anchors at these places (n, 1 + dims) with these class indices (n,), in the order of their places.

        A stroke is a set of pixels of one class and section that touch, corners included.
        """
        order = np.lexsort(places.T[::-1])
        places, labels = places[order], labels[order]
        return cls(places, labels, _strokes(places, labels))

    @classmethod
    def merged(cls, parts: Sequence[AnchorSet], *, dims: int) -> AnchorSet:
        """Return the anchors of several sets of different sections; none of them is a set without anchors."""
        places, labels, strokes, count = [np.zeros((0, 1 + dims), np.int64)], [], [], 0
        for part in parts:
            places.append(part.places)
            labels.append(part.labels)
            strokes.append(part.strokes + count)
            count += int(part.strokes.max(initial=-1)) + 1
        none = np.zeros(0, np.int64)
        return cls(np.concatenate(places), np.concatenate([none, *labels]), np.concatenate([none, *strokes]))

    @cached_property
    def of_class(self) -> dict[int, NDArray[np.int64]]:
        """The indices of the anchors of each class that has any."""
        order = np.argsort(self.labels, kind="stable")
        classes, starts = np.unique(self.labels[order], return_index=True)
        parts = np.split(order, starts)[1:]  # the first is what lies before the first class
        return dict(zip(classes.tolist(), parts, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, chosen: NDArray[np.generic]) -> AnchorSet:
        """Return the anchors at these indices, or where this mask is true."""
        return AnchorSet(self.places[chosen], self.labels[chosen], self.strokes[chosen])

    def split_by_strokes(self, fraction: float, seed: int, *, fewest: int = 2) -> tuple[AnchorSet, AnchorSet]:
        """Return (training, validation): about `fraction` of each class's strokes is held out, whole strokes only.

        Pixels of one stroke look alike, so they are never on both sides. A class of less than `fewest` strokes keeps
        all for training; where that leaves fewer than two classes to hold out, nothing is, because one class alone can
        judge nothing.

        Each stroke has a lot that follows from the seed and its first pixel, and the lowest ones are held out: where
        strokes are added, those that were held out before are mostly held out again.
        """
        held_out: list[NDArray[np.int64]] = []
        for chosen in self.of_class.values():
            strokes, first = np.unique(self.strokes[chosen], return_index=True)
            count = min(max(round(fraction * len(strokes)), 1), len(strokes) - 1)
            count = count if fraction > 0 and len(strokes) >= fewest else 0
            lots = [np.random.default_rng([seed, *place]).random() for place in self.places[chosen[first]].tolist()]
            held_out.append(strokes[np.argsort(lots)][:count])
        validated = sum(len(strokes) > 0 for strokes in held_out) >= 2
        mask = np.isin(self.strokes, np.concatenate(held_out) if validated else [])
        return self.select(~mask), self.select(mask)

    @property
    def stroke_count(self) -> int:
        """How many strokes there are."""
        return len(np.unique(self.strokes))

    def pixels_at_most(self, of_a_stroke: int) -> int:
        """Return how many labelled pixels there are where no more than so many of each stroke count."""
        return int(np.minimum(np.unique(self.strokes, return_counts=True)[1], of_a_stroke).sum())

    def at_most(self, per_class: int, rng: np.random.Generator) -> AnchorSet:
        """Return a random subset with at most `per_class` anchors of each class."""
        chosen = [rng.permutation(anchors)[:per_class] for anchors in self.of_class.values()]
        return self.select(np.sort(np.concatenate(chosen))) if chosen else self

    def draw_balanced(self, count: int, rng: np.random.Generator) -> AnchorSet:
        """Return `count` anchors with replacement: as many of each class as of any other, up to rounding."""
        present = np.array(list(self.of_class))
        # The order of the classes is drawn, so that rounding favours another class in every batch.
        classes = rng.permutation(present)[np.arange(count) % len(present)]
        chosen = np.empty(count, np.int64)
        for index, anchors in self.of_class.items():
            wanted = classes == index
            chosen[wanted] = rng.choice(anchors, int(wanted.sum()))
        return self.select(chosen)


def _strokes(places: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stroke of each pixel (n,), numbered in the order of their first pixels; `places` are sorted."""
    if not len(places):
        return np.zeros(0, np.int64)
    # One number for each place; the rim keeps the neighbours of border pixels from being others' numbers.
    extent = places.max(0) + 3
    steps = np.append(np.cumprod(extent[:0:-1])[::-1], 1)
    numbers = (places + 1) @ steps
    rows, columns = [], []
    for offset in product((-1, 0, 1), repeat=places.shape[1] - 1):
        distance = int(np.dot(offset, steps[1:]))
        if distance <= 0:  # each pair is found from its first pixel
            continue
        found = np.minimum(np.searchsorted(numbers, numbers + distance), len(numbers) - 1)
        touching = (numbers[found] == numbers + distance) & (labels[found] == labels)
        rows.append(np.flatnonzero(touching))
        columns.append(found[touching])
    pairs = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(pairs[0]), bool), pairs), shape=(len(places),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
