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
# Weight of (log T)^2 in nats: a handful of held-out pixels cannot claim certainty, and 100 pixels feel nothing of it.
CAUTION = 1.0
# The same for the square of each class's bias. Between 4 and 16 it changed the Dice by less than 0.005.
BIAS_CAUTION = 8.0


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the T that makes softmax(logits / T) fit the labels best; 1 without any label.

    `logits` are (pixels, classes), `labels` (pixels,) class indices, which the network must not have been trained on.
    It minimises the cross-entropy in which every class weighs the same, as in training.
    """
    if not len(labels):
        return 1.0
    weights = _balancing_weights(labels)

    def cost(log_temperature: float) -> float:
        fits = log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels]
        return float(-(weights * fits).sum() + CAUTION * log_temperature**2)

    return float(np.exp(minimize_scalar(cost, bounds=np.log(TEMPERATURE_RANGE), method="bounded").x))


def fit_biases(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return what to add to the logits of each class (classes,) to fit the labels best, of sum 0.

    `logits` (pixels, classes), divided by the temperature, and `labels` as in `fit_temperature`. A class that the
    network finds less often in unseen images than among its training labels gets a positive bias. One without a label
    gets 0, as nothing is known of it but pixels of other classes. Each class weighs as much as the rarest one has
    labels, so that a few of that cannot claim certainty.
    """
    biases = np.zeros(logits.shape[1])
    present, labels = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return biases
    biases[present] = _fit_biases(logits[:, present], labels)
    return biases


def _fit_biases(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the biases of classes that all have labels."""
    weights = _balancing_weights(labels)
    weights /= weights.max()
    one_hot = np.eye(logits.shape[1])[labels]

    def cost(biases: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fits = log_softmax(logits + biases, axis=1)
        slope = weights @ (np.exp(fits) - one_hot) + 2 * BIAS_CAUTION * biases
        return float(-(weights @ (fits * one_hot)).sum() + BIAS_CAUTION * np.square(biases).sum()), slope

    found = minimize(cost, np.zeros(logits.shape[1]), jac=True, method="L-BFGS-B").x
    return np.asarray(found - found.mean(), np.float64)


def _balancing_weights(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return weights (pixels,) of mean 1 that give each class there is the same sum."""
    counts = np.bincount(labels)
    return np.asarray(len(labels) / (np.count_nonzero(counts) * counts[labels]), np.float64)
