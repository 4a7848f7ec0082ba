"""How good a class map is: confusion matrix and Dice per class, over labelled pixels only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels, (true class, predicted class); add two to merge data sets."""

    counts: NDArray[np.int64]

    @classmethod
    def of(cls, truth: NDArray[np.integer], prediction: NDArray[np.integer], *, classes: int) -> Confusion:
        """Count class indices 0..classes-1 in arrays of one shape; pixels whose truth is negative are not labelled."""
        labelled = truth >= 0
        pairs = truth[labelled].astype(np.int64) * classes + prediction[labelled].astype(np.int64)
        return cls(np.bincount(pairs, minlength=classes * classes).reshape(classes, classes))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts)

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Labelled pixels of each class."""
        return np.asarray(self.counts.sum(1))

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice of each class, 2 TP / (2 TP + FP + FN), 0..1; NaN for a class neither labelled nor predicted."""
        hits = np.diag(self.counts)
        total = self.counts.sum(0) + self.counts.sum(1)
        with np.errstate(invalid="ignore"):
            return np.asarray(2 * hits / total)

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the classes that are labelled; NaN without any label."""
        labelled = self.pixels > 0
        return float(self.dice[labelled].mean()) if labelled.any() else float("nan")


def soft_dice(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the Dice of each class with probabilities (pixels, classes) in the place of counts, 0..1.

    `labels` (pixels,) are class indices. For certain predictions it equals `Confusion.dice`; it differs between models
    that get the same few pixels right. NaN for a class neither labelled nor given any probability.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * (probabilities * truth).sum(0) / (probabilities.sum(0) + truth.sum(0)))
