"""How good a class map and its probabilities are, over labelled pixels only.

Confusion matrix and Dice per class; calibration of the confidences; how well the uncertainty ranks the errors.
"""

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


# Bins of the confidence, as is usual. Source: C. Guo et al., "On calibration of modern neural networks", ICML 2017.
CONFIDENCE_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """How often the most probable class is right, by its probability (the confidence); add two to merge data sets.

    Each array has one entry for each of `CONFIDENCE_BINS` bins of equal width over 0..1. Source of the error:
    M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """

    pixels: NDArray[np.int64]
    right: NDArray[np.int64]  # of these pixels, those whose most probable class is the true one
    confidences: NDArray[np.float64]  # sum over these pixels

    @classmethod
    def of(cls, truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Reliability:
        """Count probabilities (classes, *space) by class indices (*space); negative ones are not labelled."""
        labelled = truth >= 0
        confidence = probabilities.max(0)[labelled].astype(np.float64)
        right = probabilities.argmax(0)[labelled] == truth[labelled]
        bins = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
        return cls(
            np.bincount(bins, minlength=CONFIDENCE_BINS),
            np.bincount(bins[right], minlength=CONFIDENCE_BINS),
            np.bincount(bins, confidence, minlength=CONFIDENCE_BINS).astype(np.float64),
        )

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.pixels + other.pixels, self.right + other.right, self.confidences + other.confidences)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of right pixels in each bin, 0..1; NaN in an empty one."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.right / self.pixels)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Mean confidence in each bin, 0..1; NaN in an empty one."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.confidences / self.pixels)

    @property
    def error(self) -> float:
        """Expected calibration error, 0..1: mean of |accuracy - confidence| over the pixels; NaN without any."""
        total = self.pixels.sum()
        return float(np.abs(self.right - self.confidences).sum() / total) if total else float("nan")


# Bits of a float32 that do not count for the bin of an uncertainty. The others, read as an integer, rise with it, and a
# bin is at most 0.4 % of its value wide: most pixels of a trained network are nearly sure, each to a degree of its own.
_IGNORED_BITS = 15  # -0.0 + 0.0 is 0.0, whose bits are 0
UNCERTAINTY_BINS = (int(np.float32(1).view(np.int32)) >> _IGNORED_BITS) + 1


@dataclass(frozen=True)
class ErrorRanking:
    """Pixels classified right and wrong, by their uncertainty (bins,); add two to merge data sets."""

    right: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @classmethod
    def of(cls, uncertainty: NDArray[np.floating], wrong: NDArray[np.bool_]) -> ErrorRanking:
        """Count the uncertainty, 0..1, of labelled pixels, and whether their class is wrong; arrays of one shape."""
        bins = (np.clip(uncertainty, 0, 1).astype(np.float32) + np.float32(0)).view(np.int32) >> _IGNORED_BITS
        return cls(*(np.bincount(bins[chosen], minlength=UNCERTAINTY_BINS) for chosen in (~wrong, wrong)))

    def __add__(self, other: ErrorRanking) -> ErrorRanking:
        return ErrorRanking(self.right + other.right, self.wrong + other.wrong)

    @property
    def auroc(self) -> float:
        """Chance that a wrong pixel is less certain than a right one, a tie counting half; NaN if either is missing.

        Two pixels of one bin count as tied, which changes it by less than 1e-3. It is the area under the receiver
        operating characteristic: 0.5 for chance, 1 for errors ranked first. Source: J. Hanley, B. McNeil, "The meaning
        and use of the area under a receiver operating characteristic (ROC) curve", Radiology 143 (1982).
        """
        pairs = float(self.right.sum()) * float(self.wrong.sum())
        below = np.cumsum(self.right) - self.right / 2
        return float(self.wrong @ below / pairs) if pairs else float("nan")


def soft_dice(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the Dice of each class with probabilities (pixels, classes) instead of counts, 0..1.

    `labels` (pixels,) are class indices. For certain predictions it equals `Confusion.dice`; it differs between models
    that get the same few pixels right. NaN for a class neither labelled nor given any probability.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * (probabilities * truth).sum(0) / (probabilities.sum(0) + truth.sum(0)))


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the uncertainty of probabilities (classes, ...): their entropy over its maximum, 0 (sure) to 1."""
    safe = np.maximum(probabilities, np.finfo(np.float32).tiny)
    return np.asarray(-(probabilities * np.log(safe)).sum(0) / np.log(len(probabilities)), np.float32)
