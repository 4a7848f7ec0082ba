"""Temperature scaling: confidences that match how often the network is right on held-out labels.

Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

# A temperature beyond these says that something else is wrong.
TEMPERATURE_RANGE = (0.1, 10.0)
# Weight of (log T)^2 in nats: a handful of held-out pixels cannot claim certainty, and 100 pixels feel nothing of it.
CAUTION = 1.0


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the T that makes softmax(logits / T) fit the labels best; 1 without any label.

    `logits` are (pixels, classes), `labels` (pixels,) class indices, which the network must not have been trained on.
    It minimises the cross-entropy in which every class weighs the same, as in training.
    """
    if not len(labels):
        return 1.0
    counts = np.bincount(labels)
    weights = len(labels) / (np.count_nonzero(counts) * counts[labels])

    def cost(log_temperature: float) -> float:
        fits = log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels]
        return float(-(weights * fits).sum() + CAUTION * log_temperature**2)

    return float(np.exp(minimize_scalar(cost, bounds=np.log(TEMPERATURE_RANGE), method="bounded").x))


def without_temperature(
    probabilities: NDArray[np.floating], *, temperature: float, log_prior_shift: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return softmax(logits + shift) of probabilities softmax(logits / temperature + shift), (classes, ...).

    `log_prior_shift` is (classes,). Probabilities below about 1e-38 count as that much.
    """
    shift = log_prior_shift.reshape(-1, *[1] * (probabilities.ndim - 1)).astype(np.float32)
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return np.asarray(softmax((logs - shift) * np.float32(temperature) + shift, axis=0), np.float32)
