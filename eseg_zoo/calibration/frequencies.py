"""Class frequencies of unlabelled data, and the correction of a class-balanced classifier towards them.

Anchors are drawn class-balanced, so a trained network over-predicts rare classes. With the frequencies pi of the data
its logits move by log(pi), up to a constant. The frequencies are the user's own estimate or come from EM over
unlabelled pixels. Source: M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a
priori probabilities: a simple procedure", Neural Computation 14 (2002). EM alone explains rare classes away where the
likelihoods are soft, so a prior says that each class that a person labelled is there.
"""

import numpy as np
from numpy.typing import NDArray

# The prior of the frequencies, symmetric Dirichlet: it counts like this share of the pixels for each class. At 0.003
# and 0.03 weak models gained less, and rare classes lost more (`benchmarks/corrections.py`).
PRIOR_SHARE = 0.01


def estimate_frequencies(probabilities: NDArray[np.floating], *, iterations: int = 200) -> NDArray[np.float64]:
    """Return class frequencies (classes,) of the data that `probabilities` (pixels, classes) were predicted on.

    They are the mode of their posterior (MAP), together 1, and each at least about `PRIOR_SHARE`. One step of EM
    re-weights every pixel's posterior with the current estimate, averages, and adds the prior's pixels; the steps stop
    when nothing moves by more than 1e-6.
    """
    likelihood = np.asarray(probabilities, np.float64)
    classes = likelihood.shape[1]
    frequencies = np.full(classes, 1 / classes)
    for _ in range(iterations):
        posterior = likelihood * frequencies
        posterior /= posterior.sum(1, keepdims=True)
        updated: NDArray[np.float64] = (posterior.mean(0) + PRIOR_SHARE) / (1 + classes * PRIOR_SHARE)
        if np.abs(updated - frequencies).max() < 1e-6:
            return updated
        frequencies = updated
    return frequencies


def log_prior_shift(
    frequencies: NDArray[np.floating], *, strengths: NDArray[np.floating] | float = 1
) -> NDArray[np.float64]:
    """Return what to add to the logits (classes,) of a classifier trained with every class equally often.

    `strengths`, of each class (classes,) or of all, are 0 (no correction) to 1 (the whole of it).
    """
    return np.asarray(strengths * np.log(np.asarray(frequencies, np.float64) * len(frequencies)), np.float64)
