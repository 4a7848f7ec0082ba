"""The order in which places are suggested: greedily, the unsure one that is like many others and like none before it.

It is the greedy cover of a set of points (k-centre), weighted by uncertainty and by how common a place is: without the
latter it takes what there is only once, such as dirt and folds. Sources: T. Gonzalez, Theoretical Computer Science 38
(1985); O. Sener, S. Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018;
B. Settles, M. Craven, "An analysis of active learning strategies for sequence labeling tasks", EMNLP 2008 (density).
NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Neighbours that tell how common a place is, and rows of the pool among which they are looked for, at most.
NEIGHBOURS, MOST_COMPARED = 20, 2048
# Rows whose distances are computed at once: 64 MiB of them.
_AT_ONCE = 4096


@dataclass(frozen=True)
class Pool:
    """Places to choose from, one row each, and what is labelled already."""

    uncertainty: NDArray[np.floating]  # (n,), 0 (sure) to 1
    features: NDArray[np.floating]  # (n, d), what the network sees at each
    labelled: NDArray[np.floating]  # (m, d), the same of labelled places; m may be 0
    slices: NDArray[np.integer]  # (n,), the number of the slice that each lies in
    guesses: NDArray[np.integer]  # (n,), the index of the class that the map has there
    places: NDArray[np.integer]  # (n, k), where each is; what counts as near is said for each coordinate


@dataclass(frozen=True)
class Ranked:
    """A chosen row of the pool."""

    row: int
    difference: float  # distance from the nearest labelled or earlier place, in units of the pool's spread


def rank(pool: Pool, count: int, *, apart: NDArray[np.integer]) -> list[Ranked]:
    """Return up to `count` rows of the pool, the best first.

    Each is the one with the largest product of uncertainty and difference, divided by the mean distance of its
    `NEIGHBOURS` nearest rows of the pool, among those that are allowed: two places differ by at least `apart` (k,) in
    one of their coordinates, and neither a slice nor a class of the map has more places than its share, unless the
    others have none left; where both cannot be, slices count. Features are measured in their standard deviations over
    the pool. Of equal rows the first counts.
    """
    features, labelled = _standardised(pool)
    nearest = _distances(features, labelled).min(1, initial=np.inf)
    if not len(labelled):
        nearest = np.ones(len(features))
    worth = pool.uncertainty / _spacing(features)
    free = np.ones(len(features), bool)
    slices, guesses = _Shares(pool.slices, count), _Shares(pool.guesses, count)
    chosen: list[Ranked] = []
    while len(chosen) < count and free.any():
        allowed = guesses.within(slices.within(free))
        row = int(np.where(allowed, worth * nearest, -1).argmax())
        chosen.append(Ranked(row, float(nearest[row])))
        distance = _distances(features, features[row : row + 1])[:, 0]
        nearest = distance if len(chosen) == 1 and not len(labelled) else np.minimum(nearest, distance)
        slices.take(row)
        guesses.take(row)
        free &= (np.abs(pool.places - pool.places[row]) >= apart).any(1)
    return chosen


class _Shares:
    """How many places each group has, a slice or a class: at first as many as any other, rounded up."""

    def __init__(self, groups: NDArray[np.integer], count: int):
        found, self.groups = np.unique(groups, return_inverse=True)
        self.taken = np.zeros(len(found), int)
        self.most = -(-count // max(len(found), 1))

    def within(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which free rows, of which there is one at least, are of a group that has not had its share.

        Where there is none, the shares of all grow until there is.
        """
        taken = self.taken[self.groups]
        self.most = max(self.most, int(taken[free].min()) + 1)
        return np.asarray(free & (taken < self.most))

    def take(self, row: int) -> None:
        """Count a row that was chosen."""
        self.taken[self.groups[row]] += 1


def _standardised(pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the features of the pool and of what is labelled, so that two random rows are about 1 apart."""
    spread = pool.features.std(0) if len(pool.features) else np.ones(pool.features.shape[1])
    scale = np.where(spread > 0, spread, 1) * np.sqrt(2 * pool.features.shape[1])
    return pool.features / scale, pool.labelled / scale


def _spacing(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean distance (n,) of each row from its nearest others, of a sample of the pool; 1 for few rows."""
    if len(features) <= NEIGHBOURS:
        return np.ones(len(features))
    compared = np.unique(np.linspace(0, len(features) - 1, MOST_COMPARED).round().astype(int))
    found = np.empty(len(features))
    for start in range(0, len(features), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(features)))
        distances = _distances(features[rows], features[compared])
        distances[rows[:, None] == compared] = np.inf  # a row is no neighbour of its own
        found[rows] = np.partition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS].mean(1)
    return np.maximum(found, np.finfo(np.float64).tiny)


def _distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean distances (n, m) of rows (n, d) and (m, d)."""
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
