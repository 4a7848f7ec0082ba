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
    others have none left. Features are measured in their standard deviations over the pool. Of equal rows the first
    counts.
    """
    features, labelled = _standardised(pool)
    nearest = _distances(features, labelled).min(1, initial=np.inf)
    if not len(labelled):
        nearest = np.ones(len(features))
    worth = pool.uncertainty / _spacing(features)
    free = np.ones(len(features), bool)
    groups = [np.unique(group, return_inverse=True)[1].reshape(-1) for group in (pool.slices, pool.guesses)]
    shares, chosen = [_share(group, count) for group in groups], list[Ranked]()
    while len(chosen) < count and free.any():
        open_rows = free.copy()
        for group, share in zip(groups, shares, strict=True):
            used = np.bincount(group[[one.row for one in chosen]], minlength=int(group.max()) + 1)
            open_rows &= used[group] < share
        if not open_rows.any():
            shares = [share + 1 for share in shares]
            continue
        row = int(np.where(open_rows, worth * nearest, -1).argmax())
        chosen.append(Ranked(row, float(nearest[row])))
        distance = _distances(features, features[row : row + 1])[:, 0]
        nearest = distance if len(chosen) == 1 and not len(labelled) else np.minimum(nearest, distance)
        free &= (np.abs(pool.places - pool.places[row]) >= apart).any(1)
    return chosen


def _share(group: NDArray[np.integer], count: int) -> int:
    """Return how many of `count` places each of the groups has at first: as many as any other, rounded up."""
    return -(-count // max(len(np.unique(group)), 1))


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
    distances = _distances(features, features[compared])
    distances[compared, np.arange(len(compared))] = np.inf  # a row is no neighbour of its own
    nearest = np.partition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    return np.asarray(np.maximum(nearest.mean(1), np.finfo(np.float64).tiny))


def _distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean distances (n, m) of rows (n, d) and (m, d)."""
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
