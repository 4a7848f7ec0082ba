"""Temperature and biases: confidences that match how often the network is right on held-out labels.

Sources: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017, for the
temperature; A. Alexandari, A. Kundaje, A. Shrikumar, "Maximum likelihood with bias-corrected calibration is
hard-to-beat at label shift adaptation", ICML 2020, for the biases.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

# A temperature beyond these says that something else is wrong.
TEMPERATURE_RANGE = (0.1, 10.0)
# Weight of (log T)^2 in nats: a handful of held-out strokes cannot claim certainty, and 100 feel nothing of it.
CAUTION = 1.0
# The same for the square of each class's bias. Between 4 and 16 it changed the Dice by less than 0.005.
BIAS_CAUTION = 8.0


def label_weights(labels: NDArray[np.integer], strokes: NDArray[np.integer] | None) -> NDArray[np.float64]:
    """Return how much each labelled pixel says (pixels,): those of a stroke say the same, and together count as one.

    `strokes` are which pixels were labelled together (pixels,); None means that none were.
    """
    if strokes is None:
        return np.ones(len(labels))
    _, stroke, pixels = np.unique(strokes, return_inverse=True, return_counts=True)
    return np.asarray(1 / pixels[stroke], np.float64)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer], weights: NDArray[np.floating]) -> float:
    """Return the T that makes softmax(logits / T) fit the labels best; 1 without any label.

    `logits` are (pixels, classes), `labels` (pixels,) class indices, which the network must not have been trained on,
    and `weights` (pixels,) those of `label_weights`. It minimises the cross-entropy in which every class weighs the
    same, as in training. The fewer strokes there are, the closer it stays to 1.
    """
    if not len(labels):
        return 1.0
    weights = _balanced(labels, weights)

    def cost(log_temperature: float) -> float:
        fits = log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels]
        return float(-(weights * fits).sum() + CAUTION * log_temperature**2)

    return float(np.exp(minimize_scalar(cost, bounds=np.log(TEMPERATURE_RANGE), method="bounded").x))


def fit_biases(
    logits: NDArray[np.floating], labels: NDArray[np.integer], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return what to add to the logits of each class (classes,) to fit the labels best, of sum 0.

    `logits` (pixels, classes), divided by the temperature, `labels` and `weights` as in `fit_temperature`. A class that
    the network finds less often in unseen images than among its training labels gets a positive bias. One without a
    label gets 0, as nothing is known of it but pixels of other classes. Each class weighs as much as the rarest one has
    strokes, so that a few of that cannot claim certainty.
    """
    biases = np.zeros(logits.shape[1])
    present, labels = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return biases
    biases[present] = _fit_biases(logits[:, present], labels, weights)
    return biases


def _fit_biases(
    logits: NDArray[np.floating], labels: NDArray[np.integer], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the biases of classes that all have labels."""
    strokes = np.bincount(labels, weights)
    weights = _balanced(labels, weights) * len(strokes) * strokes.min() / strokes.sum()
    one_hot = np.eye(logits.shape[1])[labels]

    def cost(biases: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fits = log_softmax(logits + biases, axis=1)
        slope = weights @ (np.exp(fits) - one_hot) + 2 * BIAS_CAUTION * biases
        return float(-(weights @ (fits * one_hot)).sum() + BIAS_CAUTION * np.square(biases).sum()), slope

    found = minimize(cost, np.zeros(logits.shape[1]), jac=True, method="L-BFGS-B").x
    return np.asarray(found - found.mean(), np.float64)


def _balanced(labels: NDArray[np.integer], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the weights (pixels,) scaled so that each class there has the same sum, and all together keep theirs."""
    sums = np.bincount(labels, weights)
    return np.asarray(weights * weights.sum() / (np.count_nonzero(sums) * sums[labels]), np.float64)
