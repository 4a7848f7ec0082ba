"""How much of the shift to the data's class frequencies each class takes, so that none is lost from the map.

The whole shift makes the fewest errors of a calibrated network. A weak network is not calibrated, and its rare classes
then vanish; and where they do not, Dice, which weighs classes alike, may want less of the shift. So the Dice of each
class is estimated before the shift is chosen. Held-out labels say how often pixels of one class are predicted as
another, but a few labels say little. Unlabelled pixels say it too, each by the probabilities that the network itself
gives it; they know when a class vanishes. Both are blended. What the network believes may be wrong where its
temperature is; so the gain must hold by more than one belief, and be worth its risk.

All of this believes that the labels of a class show what the class looks like in the data. Strokes that were painted
where a map was wrong need not: the map may have about the right share of each class without a shift, and EM finds too
little of a rare one. What can be seen of that is that a part of the shift takes many pixels of the class, in some
images nearly all. So there is a share that each class must keep, where little is held out that would know better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.calibration.frequencies import log_prior_shift

# So many strokes of a class do the unlabelled pixels count for, beside those held out.
BELIEVED = 20
# A class's expected Dice may fall by this share against no shift, because others gain.
MOST_LOST = 0.1
# The expected mean Dice of all may fall by this with the whole shift: less than it is known by.
INDIFFERENT = 0.005
# Where the whole shift does harm, the network is not calibrated; what is left of the shift must then add this much.
LEAST_GAIN = 0.01
# What a class keeps of its pixels is the mean over the sections less so many standard deviations: sections differ, and
# unseen images will. Those count that have as many pixels of it.
SPREAD, LEAST_SEEN = 1.5, 10
# In so many steps a strength is lowered from the limit to 0.
STEPS = 10


@dataclass(frozen=True)
class Pixels:
    """Pixels, and how much each of them is of each class."""

    logits: NDArray[np.floating]  # (pixels, classes), calibrated, with every class equally frequent
    shares: NDArray[np.floating]  # (pixels, classes): weights of labels, or the probabilities of unlabelled ones


@dataclass(frozen=True)
class Belief:
    """What may be true of unlabelled pixels: how frequent the classes are (classes,), and which pixel is of which."""

    frequencies: NDArray[np.floating]
    pixels: Pixels


@dataclass(frozen=True)
class Strengths:
    """The strengths (classes,) that were chosen, and the Dice of each class (classes,) that is expected.

    Of several beliefs it is one by which a class would be lost, or else that by which the chosen strengths gain least.
    """

    values: NDArray[np.float64]
    none: NDArray[np.float64]  # without a shift
    chosen: NDArray[np.float64]
    full: NDArray[np.float64]  # with the whole shift, as far as the limit allows it
    trust: float = 1.0  # what all strengths were multiplied by, 0..1
    kept: NDArray[np.float64] | None = None  # what each class might have kept of its pixels, where that was too little


def choose_strengths(
    held_out: Pixels,
    beliefs: Sequence[Belief],
    *,
    limit: float = 1,
    trust: float = 1,
    keep: float = 0,
    sections: NDArray[np.integer] | None = None,
) -> Strengths:
    """Return the largest strengths up to `limit` (0..1) of the shift to the first belief's frequencies that do no harm.

    All are at the limit where, by no belief, the expected Dice of a class falls by more than `MOST_LOST` of what it is
    without a shift, nor the mean of all by more than `INDIFFERENT`. Otherwise the strength of a class that would lose
    too much is lowered, and where that does not help, those of all, until by each belief no class loses too much and
    the mean rises by `LEAST_GAIN`; or else there is no shift. What is found is multiplied by `trust` (0..1).
    There is no shift either where it might then leave a class less than the share `keep` of the pixels that are
    predicted as it in an image; `sections` are which section each of the beliefs' pixels is of, by default one.
    """
    frequencies = beliefs[0].frequencies

    def expect(strengths: NDArray[np.floating]) -> NDArray[np.float64]:
        shift = log_prior_shift(frequencies, strengths=strengths)
        return np.array([expected_dice(held_out, belief, shift) for belief in beliefs])

    steps = np.full(len(frequencies), STEPS)
    none, full = expect(0.0 * steps), expect(limit * steps / STEPS)
    dice, needed = full, -INDIFFERENT
    while steps.any():
        lost = (dice < (1 - MOST_LOST) * none - 1e-9).any(0)
        if not lost.any() and (dice - none).mean(1).min() >= needed:
            break
        needed = LEAST_GAIN
        own = lost & (steps > 0)
        steps = np.maximum(steps - (own if own.any() else 1), 0)
        dice = expect(limit * steps / STEPS)
    values = trust * limit * steps / STEPS
    kept = kept_in_images(beliefs[0].pixels.logits, log_prior_shift(frequencies, strengths=values), sections)
    if harms := bool((kept < keep).any()):
        values = 0.0 * values
    chosen = expect(values)
    wary = int((chosen - none).mean(1).argmin())
    vanishing = (full < (1 - MOST_LOST) * none).any(1)
    wary = int(vanishing.argmax()) if vanishing.any() else wary
    return Strengths(values, none[wary], chosen[wary], full[wary], trust, kept if harms else None)


def kept_in_images(
    logits: NDArray[np.floating], shift: NDArray[np.floating], sections: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Return what each class might keep, with this shift, of its pixels in an image, as a share (classes,).

    It is the mean over the sections that have `LEAST_SEEN` pixels of it, less `SPREAD` standard deviations, and 1 where
    none has. `logits` are those of pixels (pixels, classes), `sections` which section each is of, by default one.
    """
    classes = len(shift)
    numbers = np.zeros(len(logits), np.int64) if sections is None else sections
    size = (int(numbers.max(initial=0)) + 1) * classes
    without, left = (
        np.bincount(numbers * classes + (logits + amounts).argmax(1), minlength=size).reshape(-1, classes)
        for amounts in (0.0, shift)
    )
    kept = np.ones(classes)
    for index, seen in enumerate((without >= LEAST_SEEN).T):
        if seen.any():
            shares = left[seen, index] / without[seen, index]
            kept[index] = shares.mean() - SPREAD * shares.std()
    return kept


def expected_dice(held_out: Pixels, belief: Belief, shift: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the Dice of each class (classes,) that is expected by a belief, with this shift.

    A row of the confusion matrix is the mean of what held-out labels say and what the unlabelled pixels' probabilities
    do, the latter with the weight of `BELIEVED` labels; each row weighs as much as the frequency of its class.
    """
    labelled, believed = (_confusion(pixels, shift) for pixels in (held_out, belief.pixels))
    believed = believed / np.maximum(believed.sum(1, keepdims=True), 1e-12)
    rows = (labelled + BELIEVED * believed) / (labelled.sum(1, keepdims=True) + BELIEVED)
    confusion = rows * np.asarray(belief.frequencies)[:, None]
    return np.asarray(2 * np.diag(confusion) / (confusion.sum(0) + confusion.sum(1)))


def _confusion(pixels: Pixels, shift: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how much of each class (rows) is predicted as each (columns)."""
    predicted = (pixels.logits + shift).argmax(1)
    columns = [np.bincount(predicted, share, len(shift)) for share in pixels.shares.T]
    return np.array(columns, np.float64)
