"""What a trained classifier's logits lack: confidence that fits, and the class frequencies of the data.

The classifier was trained with every class equally often; logits of another one need the log of its class frequencies
in training subtracted first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from eseg_zoo.calibration.frequencies import estimate_frequencies, log_prior_shift
from eseg_zoo.calibration.strengths import MOST_LOST, Belief, Pixels, Strengths, choose_strengths
from eseg_zoo.calibration.temperature import fit_biases, fit_temperature, label_weights

# Unlabelled pixels that frequencies and strengths follow from, at most, spread over all that there are.
MOST_JUDGED = 20_000


# Estimated frequencies are trusted by strokes / (strokes + this), with the held-out strokes of the class that has least
# of them. With 2 instead of 3, one of 34 weak models lost 0.018 in mean Dice, with 3 none more than 0.01.
DOUBTED = 3
# They are trusted by this at least. Of 38 models from 60 labels, with nothing held out, 30 are better by it than by a
# quarter, 0.006 in the mean; the worst, one after 80 steps, loses 0.011. With three quarters it loses 0.028.
LEAST_TRUST = 0.5
# Then each class must keep this share of the pixels that are predicted as it (`kept_in_images`). Of 107 models from few
# strokes or points 31 do not: 17 of them would lose 0.042 of mean Dice on average by half of the shift, 14 gain 0.013.
LEAST_KEPT = 0.3
# Trust from which nothing is said of it: 27 strokes.
TRUSTED = 0.9


@dataclass(frozen=True)
class Correction:
    """Probabilities are softmax(logits / temperature + biases + shift).

    The shift, strengths * log(frequencies * classes), is that from classes that are equally frequent to the data's.
    """

    temperature: float
    biases: NDArray[np.float64]  # what held-out labels say of each class, (classes,), sum 0
    frequencies: NDArray[np.float64]  # of the data, (classes,), sum 1
    chosen: Strengths
    limit: float  # the largest strength that was allowed

    @property
    def strengths(self) -> NDArray[np.float64]:
        """How much of the shift each class takes (classes,): 0 (none) to 1 (the whole of it)."""
        return self.chosen.values

    @property
    def shift(self) -> NDArray[np.float64]:
        """What the class frequencies add to the logits (classes,)."""
        return log_prior_shift(self.frequencies, strengths=self.strengths)

    def calibrate(self, logits: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return calibrated logits, with every class equally frequent, of logits (classes, ...)."""
        return logits / self.temperature + self.biases.reshape(-1, *[1] * (logits.ndim - 1))

    def tell_weakening(self, names: Sequence[str]) -> str:
        """Return which strengths are below their limit, and why; nothing where none is. `names` are the classes'."""
        trust = self.chosen.trust
        whole = (self.strengths >= trust * self.limit - 1e-9).all()
        if whole and (trust >= TRUSTED or not self.limit):
            return ""
        told = f"{self.strengths[0]:.2f}"
        if np.ptp(self.strengths) > 1e-9:
            told = ", ".join(f"{value:.2f} for {name}" for name, value in zip(names, self.strengths, strict=True))
        if whole:
            return f"{told}: few strokes are held out"
        found = self.chosen
        if found.kept is not None:
            worst = int(found.kept.argmin())
            left = max(found.kept[worst], 0)
            return f"{told}: in some images it would leave {left:.0%} of {names[worst]}, and few strokes are held out"
        kept = found.full / np.maximum(found.none, 1e-12)
        worst = int(kept.argmin())
        if kept[worst] < 1 - MOST_LOST:
            before, after = found.none[worst], found.full[worst]
            return f"{told}: at {self.limit:.2f} the Dice of {names[worst]} would fall from {before:.2f} to {after:.2f}"
        return (
            f"{told}: a mean Dice of {found.chosen.mean():.3f} is expected with it, "
            f"{found.full.mean():.3f} at {self.limit:.2f}"
        )


@dataclass(frozen=True)
class HeldOut:
    """Labelled pixels that the classifier was not trained on."""

    logits: NDArray[np.floating]  # (pixels, classes)
    labels: NDArray[np.integer]  # class indices (pixels,)
    strokes: NDArray[np.integer] | None = None  # which pixels were labelled together (pixels,); by default none were


def fit_correction(
    held_out: HeldOut,
    unlabelled: Sequence[NDArray[np.floating]],
    *,
    frequencies: NDArray[np.float64] | None = None,
    limit: float = 1,
) -> Correction:
    """Return the correction: calibration from the held-out labels, frequencies by EM unless they are given, guarded.

    `unlabelled` are logits (pixels, classes) of pixels all over the data, of each section. `limit` is the largest
    strength; each class has as much as does not cost it its Dice (see `strengths`), neither if the network is as sure
    as the temperature says nor if it is as sure as it was trained to be. The pixels of a stroke count as one label.
    """
    logits, labels = held_out.logits, held_out.labels
    weights = label_weights(labels, held_out.strokes)
    temperature = fit_temperature(logits, labels, weights)
    biases = fit_biases(logits / temperature, labels, weights)
    sections = np.repeat(np.arange(len(unlabelled)), [len(one) for one in unlabelled])
    few = slice(None, None, -(-len(sections) // MOST_JUDGED))
    judged, sections = np.concatenate(unlabelled)[few], sections[few]
    # Without the biases: with them EM found too little of the rarest class in every comparison.
    found = [estimate_frequencies(softmax(judged / tried, axis=1)) for tried in (temperature, 1)]
    if frequencies is not None:
        found = [frequencies]
    calibrated = judged / temperature + biases
    beliefs = [
        Belief(one, Pixels(calibrated, softmax(judged / tried + biases + log_prior_shift(one), axis=1)))
        for one, tried in zip(found, (temperature, 1), strict=False)
    ]
    known = Pixels(logits / temperature + biases, weights[:, None] * np.eye(len(biases))[labels])
    fewest = min(np.bincount(labels, weights)[np.unique(labels)], default=0)
    trust = 1.0 if frequencies is not None else float(fewest / (fewest + DOUBTED))
    keep = LEAST_KEPT if trust < LEAST_TRUST else 0.0
    chosen = choose_strengths(known, beliefs, limit=limit, trust=max(trust, LEAST_TRUST), keep=keep, sections=sections)
    return Correction(temperature, biases, found[0], chosen, limit)
