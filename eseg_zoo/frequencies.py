"""Class frequencies of unlabelled data, and the correction of a class-balanced classifier towards them.

Anchors are drawn class-balanced, so a trained network over-predicts rare classes. With the frequencies pi of the data
its logits move by log(pi / pi_training). The frequencies are the user's own estimate or come from EM over unlabelled
pixels. Source: M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities: a simple procedure", Neural Computation 14 (2002).
"""

import numpy as np
from numpy.typing import NDArray

# The rarest class keeps this share: below it EM would remove the class from every prediction for good.
SMALLEST_FREQUENCY = 1e-3


def estimate_frequencies(
    probabilities: NDArray[np.floating], *, training: NDArray[np.floating], iterations: int = 200
) -> NDArray[np.float64]:
    """Return class frequencies (classes,) of the data that `probabilities` (pixels, classes) were predicted on.

    `training` (classes,) are the class frequencies that the classifier was trained with. Each is at least
    `SMALLEST_FREQUENCY`; together they are 1. One step of EM re-weights every pixel's posterior with the current
    estimate and averages; the steps stop when nothing moves by more than 1e-6.
    """
    likelihood = np.asarray(probabilities, np.float64) / np.asarray(training, np.float64)
    frequencies = np.asarray(training, np.float64)
    for _ in range(iterations):
        posterior = likelihood * frequencies
        posterior /= posterior.sum(1, keepdims=True)
        excess = np.maximum(posterior.mean(0) - SMALLEST_FREQUENCY, 0)
        above = (1 - len(excess) * SMALLEST_FREQUENCY) * excess / excess.sum()
        updated: NDArray[np.float64] = SMALLEST_FREQUENCY + above
        if np.abs(updated - frequencies).max() < 1e-6:
            return updated
        frequencies = updated
    return frequencies


def log_prior_shift(frequencies: NDArray[np.floating], *, training: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what to add to the logits (classes,) of a classifier trained with the frequencies `training`."""
    shift: NDArray[np.float64] = np.log(frequencies) - np.log(training)
    return shift
