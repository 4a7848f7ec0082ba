"""The order in which places are suggested: greedily, the unsure one that is least like all before it.

It is the greedy cover of a set of points (k-centre), weighted by uncertainty. Sources: T. Gonzalez, Theoretical
Computer Science 38 (1985); O. Sener, S. Savarese, "Active learning for convolutional neural networks: a core-set
approach", ICLR 2018. NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pool:
    """Places to choose from, one row each, and what is labelled already."""

    uncertainty: NDArray[np.floating]  # (n,), 0 (sure) to 1
    features: NDArray[np.floating]  # (n, d), what the network sees at each
    labelled: NDArray[np.floating]  # (m, d), the same of labelled places; m may be 0
    slices: NDArray[np.integer]  # (n,), the number of the slice that each lies in
    places: NDArray[np.integer]  # (n, k), where each is; what counts as near is said for each coordinate


@dataclass(frozen=True)
class Ranked:
    """A chosen row of the pool."""

    row: int
    difference: float  # distance from the nearest labelled or earlier place, in units of the pool's spread


def rank(pool: Pool, count: int, *, apart: NDArray[np.integer]) -> list[Ranked]:
    """Return up to `count` rows of the pool, the best first.

    Each is the one with the largest product of uncertainty and difference among those that are allowed: two places
    differ by at least `apart` (k,) in one of their coordinates, and no slice has more places than its share, unless the
    others have none left. Features are measured in their standard deviations over the pool. Of
    equal rows the first counts.
    """
    features, labelled = _standardised(pool)
    nearest = _distances(features, labelled).min(1, initial=np.inf)
    if not len(labelled):
        nearest = np.ones(len(features))
    free = np.ones(len(features), bool)
    share, chosen = _share(pool, count), list[Ranked]()
    while len(chosen) < count and free.any():
        used = np.bincount(pool.slices[[one.row for one in chosen]], minlength=int(pool.slices.max()) + 1)
        open_rows = free & (used[pool.slices] < share)
        if not open_rows.any():
            share += 1
            continue
        row = int(np.where(open_rows, pool.uncertainty * nearest, -1).argmax())
        chosen.append(Ranked(row, float(nearest[row])))
        distance = _distances(features, features[row : row + 1])[:, 0]
        nearest = distance if len(chosen) == 1 and not len(labelled) else np.minimum(nearest, distance)
        free &= (np.abs(pool.places - pool.places[row]) >= apart).any(1)
    return chosen


def _share(pool: Pool, count: int) -> int:
    """Return how many places a slice has at first: as many as any other, rounded up."""
    return -(-count // max(len(np.unique(pool.slices)), 1))


def _standardised(pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the features of the pool and of what is labelled, so that two random rows are about 1 apart."""
    spread = pool.features.std(0) if len(pool.features) else np.ones(pool.features.shape[1])
    scale = np.where(spread > 0, spread, 1) * np.sqrt(2 * pool.features.shape[1])
    return pool.features / scale, pool.labelled / scale


def _distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean distances (n, m) of rows (n, d) and (m, d)."""
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
