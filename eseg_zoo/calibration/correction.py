"""What a trained classifier's logits lack: confidence that fits, and the class frequencies of the data.

The classifier was trained with every class equally often; logits of another one need the log of its class frequencies
in training subtracted first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.calibration.frequencies import (
    consistent_frequencies,
    largest_strength,
    log_prior_shift,
    supported_strength,
)
from eseg_zoo.calibration.temperature import fit_biases, fit_temperature


@dataclass(frozen=True)
class Correction:
    """Probabilities are softmax(logits / temperature + biases + shift).

    The shift, strength * log(frequencies * classes), is that from classes that are equally frequent to the data's.
    """

    temperature: float
    biases: NDArray[np.float64]  # what held-out labels say of each class, (classes,), sum 0
    frequencies: NDArray[np.float64]  # of the data, (classes,), sum 1
    strength: float  # 0 (no correction of the frequencies) to 1
    reason: str  # why the strength is below its limit; empty if it is not

    @property
    def shift(self) -> NDArray[np.float64]:
        """What the class frequencies add to the logits (classes,)."""
        return log_prior_shift(self.frequencies, strength=self.strength)

    def calibrate(self, logits: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return calibrated logits, with every class equally frequent, of logits (classes, ...)."""
        return logits / self.temperature + self.biases.reshape(-1, *[1] * (logits.ndim - 1))


@dataclass(frozen=True)
class HeldOut:
    """Labelled pixels that the classifier was not trained on: logits (pixels, classes) and class indices (pixels,)."""

    logits: NDArray[np.floating]
    labels: NDArray[np.integer]


def fit_correction(
    held_out: HeldOut,
    unlabelled: NDArray[np.floating],
    *,
    frequencies: NDArray[np.float64] | None = None,
    limit: float = 1,
    seed: int = 0,
) -> Correction:
    """Return the correction: calibration from the held-out labels, frequencies by EM unless they are given, guarded.

    `unlabelled` are logits (pixels, classes) of pixels all over the data. `limit` is the largest strength; it is
    lowered where a class would vanish or held-out labels speak against it (see `frequencies`).
    """
    temperature = fit_temperature(held_out.logits, held_out.labels)
    biases = fit_biases(held_out.logits / temperature, held_out.labels)
    if frequencies is None:
        # Without the biases: with them EM found too little of the rarest class in every comparison.
        frequencies = consistent_frequencies(unlabelled, temperature=temperature)
    safe = largest_strength(unlabelled / temperature + biases, frequencies, limit=limit)
    strength = supported_strength(
        held_out.logits / temperature + biases,
        held_out.labels,
        frequencies,
        limit=safe,
        rng=np.random.default_rng(seed),
    )
    reason = ""
    if strength < limit:
        reason = "more would cost Dice on the held-out labels" if strength < safe else "more would erase a rare class"
    return Correction(temperature, biases, frequencies, strength, reason)
