"""The order in which places are suggested: of each class in turn, the likely one that is least like what is labelled.

Few labels teach most where every class has about as many of them. Rare classes are hardly met at random places, and
hardly among the most uncertain ones, which are borders and artefacts. So the class that has the fewest strokes is
looked for next, and among places that may be of it difference counts, and uncertainty mildly. Where the network is
wrong, the place is no loss: it is what is mistaken for that class. That likely places beat uncertain ones while labels
are few: G. Hacohen, A. Dekel, D. Weinshall, "Active learning on a budget: opposite strategies suit high and low
budgets", ICML 2022. Difference is that of the greedy cover of a set of points (k-centre): T. Gonzalez, Theoretical
Computer Science 38 (1985); O. Sener, S. Savarese, "Active learning for convolutional neural networks: a core-set
approach", ICLR 2018. NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The power of the uncertainty in what a place is worth: 0 would not count it, and suggest what is known for sure too.
DOUBT = 0.5


@dataclass(frozen=True)
class Pool:
    """Places to choose from, one row each, and what is labelled already."""

    probabilities: NDArray[np.floating]  # (n, classes), of what each may be
    uncertainty: NDArray[np.floating]  # (n,), 0 (sure) to 1
    features: NDArray[np.floating]  # (n, d), what the network sees at each
    labelled: NDArray[np.floating]  # (m, d), the same of labelled places; m may be 0
    strokes: NDArray[np.integer]  # (classes,), how many strokes there are of each class
    slices: NDArray[np.integer]  # (n,), the number of the slice that each lies in
    places: NDArray[np.integer]  # (n, k), where each is; what counts as near is said for each coordinate


@dataclass(frozen=True)
class Ranked:
    """A chosen row of the pool."""

    row: int
    difference: float  # distance from the nearest labelled or earlier place, in units of the pool's spread


def rank(pool: Pool, count: int, *, apart: NDArray[np.integer]) -> list[Ranked]:
    """Return up to `count` rows of the pool, the best first.

    Each is looked for as one of the class that has the fewest strokes, those suggested before included. It is the one
    with the largest product of the probability of that class, difference, and uncertainty to the power of `DOUBT`,
    among those that are allowed: two places differ by at least `apart` (k,) in one of their coordinates, and no slice
    has more places than its share, unless the others have none left. Features are measured in their standard deviations
    over the pool. Of equal classes and rows the first counts.
    """
    features, labelled = _standardised(pool)
    nearest = _distances(features, labelled).min(1, initial=np.inf)
    if not len(labelled):
        nearest = np.ones(len(features))
    free, slices, strokes = np.ones(len(features), bool), _Shares(pool.slices, count), pool.strokes.copy()
    chosen: list[Ranked] = []
    while len(chosen) < count and free.any():
        wanted = int(strokes.argmin())
        worth = pool.probabilities[:, wanted] * nearest * pool.uncertainty**DOUBT
        row = int(np.where(slices.within(free), worth, -1).argmax())
        chosen.append(Ranked(row, float(nearest[row])))
        strokes[wanted] += 1
        distance = _distances(features, features[row : row + 1])[:, 0]
        nearest = distance if len(chosen) == 1 and not len(labelled) else np.minimum(nearest, distance)
        slices.take(row)
        free &= (np.abs(pool.places - pool.places[row]) >= apart).any(1)
    return chosen


class _Shares:
    """How many places each slice has: at first as many as any other, rounded up."""

    def __init__(self, slices: NDArray[np.integer], count: int):
        found, self.slices = np.unique(slices, return_inverse=True)
        self.taken = np.zeros(len(found), int)
        self.most = -(-count // max(len(found), 1))

    def within(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which free rows, of which there is one at least, are of a slice that has not had its share.

        Where there is none, the shares of all grow until there is.
        """
        taken = self.taken[self.slices]
        self.most = max(self.most, int(taken[free].min()) + 1)
        return np.asarray(free & (taken < self.most))

    def take(self, row: int) -> None:
        """Count a row that was chosen."""
        self.taken[self.slices[row]] += 1


def _standardised(pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the features of the pool and of what is labelled, so that two random rows are about 1 apart."""
    spread = pool.features.std(0) if len(pool.features) else np.ones(pool.features.shape[1])
    scale = np.where(spread > 0, spread, 1) * np.sqrt(2 * pool.features.shape[1])
    return pool.features / scale, pool.labelled / scale


def _distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean distances (n, m) of rows (n, d) and (m, d)."""
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
