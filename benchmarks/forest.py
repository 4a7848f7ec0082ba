"""The random forest that users of ilastik and Labkit have today, as a baseline for sparse labels.

Features of one slice at six scales, a class-balanced forest, and one fitted exponent on its probabilities. Averaging
trees leaves a forest underconfident, and a prior correction of such probabilities loses the rare classes: on slices
12-13 of the VNC data the mean Dice after it is 0.51-0.55 without the exponent and 0.66-0.67 with it (points of slices
0-11, two seeds). The exponent itself never changes the argmax.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar
from skimage.feature import multiscale_basic_features
from skimage.util import img_as_float32
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

Slices = NDArray[Any] | list[NDArray[Any]]  # (z, y, x), or slices (y, x) of different sizes
SIGMAS = tuple(float(sigma) for sigma in np.geomspace(0.7, 16.0, 6))  # pixels
FOLDS = 4
FLOOR = 1e-3  # a class that no tree voted for stays possible


def multiscale_features(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return 36 features (y, x, 36) of one slice (y, x).

    For each sigma intensity, gradient magnitude and two Hessian eigenvalues, then for each two of the structure tensor.
    Integers are scaled by the range of their type, so pass uint8 or uint16 as stored; floats are taken as they are.
    """
    # One thread, by position: scikit-image renamed this argument between the releases we allow.
    basic = multiscale_basic_features(image, True, True, True, SIGMAS[0], SIGMAS[-1], len(SIGMAS), 1)  # type: ignore[no-untyped-call]
    pixels = img_as_float32(image)  # type: ignore[no-untyped-call]
    return np.concatenate([basic, *(_structure(pixels, sigma) for sigma in SIGMAS)], axis=-1, dtype=np.float32)


def _structure(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return the eigenvalues (y, x, 2) of the structure tensor, large first, which ilastik also offers."""
    dy, dx = np.gradient(gaussian_filter(pixels, sigma))
    yy, yx, xx = (gaussian_filter(product, 1.6 * sigma) for product in (dy * dy, dy * dx, dx * dx))
    mean, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    return np.stack([mean + spread, mean - spread], axis=-1)


class PixelForest:
    """A random forest on the labelled pixels, every class with the same total weight: its prior is uniform.

    `exponent` is set by `fit` so that probabilities of slices left out of a fit have the least class-balanced log
    loss. Whole slices are left out, because the pixels of one stroke are near copies of each other: out-of-bag
    probabilities of scribbles gave an exponent of about 3.6 instead of 1.3. Set it to 1 for the bare forest.
    """

    def __init__(self, *, trees: int = 150, min_samples_leaf: int = 3, seed: int = 0, n_jobs: int = 1) -> None:
        self.exponent = 1.0
        self._unfitted = RandomForestClassifier(
            trees, min_samples_leaf=min_samples_leaf, class_weight="balanced", random_state=seed, n_jobs=n_jobs
        )

    def fit(self, images: Slices, labels: Slices, classes: int) -> Self:
        """Return this forest, fitted to slices (y, x) at labels (y, x) of each: 0 not labelled, else 1 ... classes.

        With labels in a single slice the exponent stays 1. Raises ValueError unless exactly these classes have
        labelled pixels.
        """
        slices = [z for z in range(len(labels)) if labels[z].any()]
        marked = [labels[z] > 0 for z in slices]
        targets = np.concatenate([labels[z][m] for z, m in zip(slices, marked, strict=True)] or [[]]).astype(int) - 1
        if (found := np.unique(targets).tolist()) != list(range(classes)):
            raise ValueError(f"labels: values {[c + 1 for c in found]} are present; they must be all of 1 to {classes}")
        features = np.concatenate([multiscale_features(images[z])[m] for z, m in zip(slices, marked, strict=True)])
        self._forest = clone(self._unfitted).fit(features, targets)
        self.exponent = 1.0
        if len(slices) > 1:
            group = np.repeat(slices, [m.sum() for m in marked])
            left_out = np.zeros((len(targets), classes))
            for train, test in GroupKFold(min(FOLDS, len(slices))).split(features, targets, group):
                forest = clone(self._unfitted).fit(features[train], targets[train])
                left_out[np.ix_(test, forest.classes_)] = forest.predict_proba(features[test])
            self.exponent = _best_exponent(left_out, targets)
        return self

    def predict_probabilities(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return the class probabilities (classes, y, x) of one slice (y, x), under a uniform prior."""
        features = multiscale_features(image)
        votes = self._forest.predict_proba(features.reshape(-1, features.shape[-1]))
        return np.ascontiguousarray(_sharpen(votes, self.exponent).T, dtype=np.float32).reshape(-1, *image.shape)


def _sharpen(votes: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Return the probabilities (n, classes) raised to a power, each row again with sum 1."""
    powers = np.power(votes + FLOOR, exponent)
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _best_exponent(votes: NDArray[np.float64], targets: NDArray[np.int_]) -> float:
    """Return the exponent with the least class-balanced log loss, for votes (n, classes) at targets (n,)."""
    rows = np.arange(len(targets))
    weights = 1.0 / np.bincount(targets)[targets]

    def loss(exponent: float) -> float:
        return -float(np.sum(weights * np.log(_sharpen(votes, exponent)[rows, targets])))

    return float(minimize_scalar(loss, bounds=(0.3, 6.0), method="bounded").x)
