"""The correction as it was before each class had a strength of its own: what `corrections.py` compares with.

Plain EM with a floor, at the largest temperature whose estimate fits its own consequence, and one strength for all
classes: as much as keeps half of every class's pixels, and less where at least 20 held-out labels of each class speak
against it by their mean Dice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from eseg_zoo.calibration.correction import HeldOut
from eseg_zoo.calibration.temperature import fit_biases, fit_temperature

SMALLEST_FREQUENCY = 1e-3
CONSISTENT = 0.75
COLLAPSED = 0.5
TRIED = 11
RESAMPLED = 200
DEVIATIONS = 2
FEWEST_LABELS = 20


def earlier_correction(
    held_out: HeldOut, unlabelled: NDArray[np.floating]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the temperature, the biases (classes,) and the shift (classes,); every labelled pixel weighs the same."""
    logits, labels = held_out.logits, held_out.labels
    weights = np.ones(len(labels))
    temperature = fit_temperature(logits, labels, weights)
    biases = fit_biases(logits / temperature, labels, weights)
    frequencies = _consistent_frequencies(unlabelled, temperature=temperature)
    safe = _largest_strength(unlabelled / temperature + biases, frequencies)
    strength = _supported_strength(
        logits / temperature + biases, labels, frequencies, limit=safe, rng=np.random.default_rng(0)
    )
    return temperature, biases, _shift(frequencies, strength=strength)


def _estimate_frequencies(probabilities: NDArray[np.floating], *, iterations: int = 200) -> NDArray[np.float64]:
    """Return class frequencies (classes,) of the data that `probabilities` (pixels, classes) were predicted on.

    Each is at least `SMALLEST_FREQUENCY`; together they are 1. One step of EM re-weights every pixel's posterior with
    the current estimate and averages; the steps stop when nothing moves by more than 1e-6.
    """
    likelihood = np.asarray(probabilities, np.float64)
    frequencies = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
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


def _consistent_frequencies(logits: NDArray[np.floating], *, temperature: float) -> NDArray[np.float64]:
    """Return class frequencies (classes,) of the data that `logits` (pixels, classes) were predicted on.

    EM at the fitted temperature finds the truth if the network is calibrated at every likelihood, and otherwise loses
    rare classes; EM at 1 keeps them, but finds more of them than there are. So this is EM at the largest temperature
    between 1 and `temperature` whose estimate fits its own consequence: with the shift that it asks for, every class
    keeps `CONSISTENT` of the pixels (see `_kept_share`). If none does, it is EM at 1. A temperature below 1 is used as
    it is.
    """
    for tried in np.linspace(temperature, min(temperature, 1), TRIED if temperature > 1 else 1):
        frequencies = _estimate_frequencies(softmax(logits / tried, axis=1))
        shift = _shift(frequencies)
        if _kept_share(logits / temperature, shift, frequencies=frequencies) >= CONSISTENT:
            break
    return frequencies


def _largest_strength(logits: NDArray[np.floating], frequencies: NDArray[np.floating], *, limit: float = 1) -> float:
    """Return the largest strength up to `limit` (0..1) of the shift to `frequencies` at which no class collapses.

    `logits` (pixels, classes) are those of unlabelled pixels, calibrated. A class has collapsed when it keeps less than
    `COLLAPSED` of its pixels (see `_kept_share`); without a shift none has.
    """

    def kept(strength: float) -> float:
        shift = _shift(frequencies, strength=strength)
        return _kept_share(logits, shift, frequencies=frequencies)

    return next(float(strength) for strength in np.linspace(limit, 0, TRIED) if kept(strength) >= COLLAPSED)


def _supported_strength(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    frequencies: NDArray[np.floating],
    *,
    limit: float,
    rng: np.random.Generator,
) -> float:
    """Return the largest strength up to `limit` (0..1) that held-out labels do not speak against.

    `logits` (pixels, classes), calibrated, and `labels` (pixels,) are of labelled pixels that the network was not
    trained on. Each class weighs as much as its frequency, and a strength is judged by the mean Dice: it must not be
    worse than the best one by more than `DEVIATIONS` standard deviations of that difference among resampled labels
    (bootstrap within each class). Fewer than `FEWEST_LABELS` of any class decide nothing.
    """
    if np.bincount(labels, minlength=len(frequencies)).min() < FEWEST_LABELS:
        return limit
    weights = _resampled_weights(labels, frequencies, rng)
    strengths = np.linspace(limit, 0, TRIED)
    shifts = [_shift(frequencies, strength=strength) for strength in strengths]
    dice = np.array([_mean_dice(labels, (logits + shift).argmax(1), weights) for shift in shifts])
    loss = dice[dice[:, 0].argmax()] - dice  # (strengths, 1 + resampled), the labels as they are first
    return float(strengths[np.argmax(loss[:, 0] <= DEVIATIONS * loss[:, 1:].std(1))])


def _kept_share(
    logits: NDArray[np.floating], shift: NDArray[np.floating], *, frequencies: NDArray[np.floating]
) -> float:
    """Return predicted over promised pixels for the class where this is least, with `shift` added to the logits.

    Promised is the share in `frequencies`, or, where this is less, what is predicted without a shift: a class that the
    network does not see cannot be lost.
    """
    promised = np.minimum(frequencies, _predicted_shares(logits))
    found = _predicted_shares(logits + shift.astype(logits.dtype))
    return float((found[promised > 0] / promised[promised > 0]).min())


def _shift(frequencies: NDArray[np.floating], *, strength: float = 1) -> NDArray[np.float64]:
    """Return what to add to the logits (classes,) of a classifier trained with every class equally often.

    `strength` is 0 (no correction) to 1 (the whole of it).
    """
    shift: NDArray[np.float64] = strength * np.log(np.asarray(frequencies, np.float64) * len(frequencies))
    return shift


def _predicted_shares(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.bincount(logits.argmax(1), minlength=logits.shape[1]) / len(logits)
    return shares


def _resampled_weights(
    labels: NDArray[np.integer], frequencies: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return weights (1 + RESAMPLED, pixels) that give each class its frequency: as they are first, then resampled."""
    weights = np.zeros((1 + RESAMPLED, len(labels)))
    for index in np.unique(labels):
        pixels = np.flatnonzero(labels == index)
        drawn = rng.multinomial(len(pixels), np.full(len(pixels), 1 / len(pixels)), RESAMPLED)
        weights[0, pixels] = frequencies[index] / len(pixels)
        weights[1:, pixels] = drawn * frequencies[index] / len(pixels)
    return weights


def _mean_dice(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean Dice (rows,) of the classes, each of them labelled, for each row of weights (rows, pixels)."""
    one_hot = np.eye(labels.max() + 1)
    truth, found = one_hot[labels], one_hot[predicted]
    return np.asarray((2 * (weights @ (truth * found)) / (weights @ (truth + found))).mean(1))
