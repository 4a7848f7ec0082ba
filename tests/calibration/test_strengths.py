"""Strengths on data whose Dice can be calculated with the truth at hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm

from eseg_zoo.calibration.frequencies import log_prior_shift
from eseg_zoo.calibration.strengths import (
    BELIEVED,
    INDIFFERENT,
    LEAST_GAIN,
    LEAST_SEEN,
    MOST_LOST,
    SPREAD,
    Belief,
    Pixels,
    choose_strengths,
    expected_dice,
    kept_in_images,
)
from eseg_zoo.metrics import Confusion

FREQUENCIES = np.array([0.85, 0.12, 0.03])


def drawn(
    frequencies: NDArray[np.float64],
    *,
    pixels: int = 20_000,
    distance: float = 2.0,
    sharpness: float = 1,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Balanced logits of pixels of these frequencies, `sharpness` times the right ones, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, pixels, p=frequencies)
    centres = distance * np.arange(3)
    return sharpness * norm.logpdf(rng.normal(centres[labels])[:, None], centres), labels


def known(each: int, **changes: float) -> Pixels:
    logits, labels = drawn(np.full(3, 1 / 3), pixels=30 * max(each, 1), seed=1, **changes)
    chosen = np.concatenate([np.flatnonzero(labels == index)[:each] for index in range(3)])
    return Pixels(logits[chosen], np.eye(3)[labels[chosen]])


def believed(logits: NDArray[np.float64], frequencies: NDArray[np.float64] = FREQUENCIES) -> Belief:
    return Belief(frequencies, Pixels(logits, softmax(logits + log_prior_shift(frequencies), axis=1)))


def dice_of(logits: NDArray[np.float64], labels: NDArray[np.int64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    return Confusion.of(labels, (logits + shift).argmax(1), classes=3).dice


@pytest.mark.parametrize("strength", [0, 0.5, 1])
@pytest.mark.parametrize("each", [0, 2000])
def test_the_expected_dice_of_a_calibrated_network_is_the_true_one(each: int, strength: float) -> None:
    logits, labels = drawn(FREQUENCIES)
    shift = log_prior_shift(FREQUENCIES, strengths=strength)
    found = expected_dice(known(each), believed(logits), shift)
    np.testing.assert_allclose(found, dice_of(logits, labels, shift), atol=0.06)


def test_the_expected_dice_is_hand_worked() -> None:
    # Two classes of 0.8 and 0.2. Labels: 10 of each, all right but 5 of the second. Belief: all right.
    logits = np.array([[1.0, 0], [0, 1]])
    labelled = Pixels(logits[[0, 1, 0]], np.array([[10.0, 0], [0, 5], [0, 5]]))
    belief = Belief(np.array([0.8, 0.2]), Pixels(logits, np.eye(2)))
    found = expected_dice(labelled, belief, np.zeros(2))
    missed = 5 / (10 + BELIEVED) * 0.2
    np.testing.assert_allclose(found, [1.6 / (1.6 + missed), 2 * (0.2 - missed) / (0.4 - missed)])


def test_a_calibrated_network_takes_one_strength_near_the_best() -> None:
    logits, labels = drawn(FREQUENCIES, distance=3)
    found = choose_strengths(known(50, distance=3), [believed(logits)])
    assert np.ptp(found.values) == 0
    tried = [dice_of(logits, labels, log_prior_shift(FREQUENCIES, strengths=s)).mean() for s in np.linspace(0, 1, 11)]
    reached = dice_of(logits, labels, log_prior_shift(FREQUENCIES, strengths=found.values)).mean()
    assert reached > max(tried) - 0.015
    assert reached > tried[0] + 0.03


@pytest.mark.parametrize("each", [0, 1, 5, 100])
@pytest.mark.parametrize("sharpness", [0.2, 0.5, 1])
def test_no_class_is_lost_from_the_map_however_weak_the_network_and_few_the_labels(each: int, sharpness: float) -> None:
    logits, labels = drawn(FREQUENCIES, distance=1.5, sharpness=sharpness)
    whole = log_prior_shift(FREQUENCIES)
    none = dice_of(logits, labels, 0 * whole)
    if sharpness < 1:
        assert dice_of(logits, labels, whole).min() < 0.06  # what is guarded against
    found = choose_strengths(known(each, distance=1.5, sharpness=sharpness), [believed(logits)])
    reached = dice_of(logits, labels, log_prior_shift(FREQUENCIES, strengths=found.values))
    assert (reached > 0.75 * none).all()
    assert reached.mean() > none.mean() - 0.01
    assert (found.chosen >= (1 - MOST_LOST) * found.none - 1e-9).all()


def test_many_labels_outweigh_what_the_network_believes() -> None:
    # Sharp on the unlabelled pixels, soft where it is labelled: only the labels know that a class would be lost.
    logits, _ = drawn(FREQUENCIES, distance=6)
    assert (choose_strengths(known(0), [believed(logits)]).values == 1).all()
    wary = choose_strengths(known(500, distance=1.5, sharpness=0.5), [believed(logits)])
    assert wary.values.min() < 1
    assert wary.full.min() < (1 - MOST_LOST) * wary.none[wary.full.argmin()]


@pytest.mark.parametrize("limit", [0, 0.4])
def test_no_strength_is_above_the_limit(limit: float) -> None:
    logits, _ = drawn(FREQUENCIES, sharpness=0.5)
    found = choose_strengths(known(5, sharpness=0.5), [believed(logits)], limit=limit)
    assert found.values.max() <= limit
    assert found.values.min() >= 0


def test_equal_frequencies_ask_for_no_shift_and_nothing_is_weakened() -> None:
    logits, _ = drawn(FREQUENCIES)
    found = choose_strengths(known(5), [believed(logits, np.full(3, 1 / 3))])
    np.testing.assert_array_equal(found.values, 1)


def test_a_gain_must_hold_by_every_belief() -> None:
    logits, _ = drawn(FREQUENCIES, distance=2)
    sure = believed(logits)
    unsure = Belief(FREQUENCIES, Pixels(logits, softmax(0.2 * logits + log_prior_shift(FREQUENCIES), axis=1)))
    both = choose_strengths(known(0), [sure, unsure])
    alone = [choose_strengths(known(0), [belief]) for belief in (sure, unsure)]
    for belief in (sure, unsure):
        shifts = [log_prior_shift(FREQUENCIES, strengths=strengths) for strengths in (both.values, np.zeros(3))]
        dice, none = (expected_dice(known(0), belief, shift) for shift in shifts)
        assert (dice >= (1 - MOST_LOST) * none - 1e-9).all()
        assert dice.mean() >= none.mean() - 1e-9
    assert (alone[0].values != alone[1].values).any()


def test_a_weakened_shift_gains_enough_to_be_worth_its_risk_or_there_is_none() -> None:
    outcomes = set()
    for distance in (0.5, 1, 1.5, 2, 3):
        for sharpness in (0.2, 0.5, 0.8, 1, 1.5):
            logits, _ = drawn(FREQUENCIES, distance=distance, sharpness=sharpness)
            found = choose_strengths(known(5, distance=distance, sharpness=sharpness), [believed(logits)])
            gain = (found.chosen - found.none).mean()
            outcome = "none" if not found.values.any() else "whole" if (found.values == 1).all() else "weakened"
            outcomes.add(outcome)
            assert gain >= {"none": 0, "whole": -INDIFFERENT, "weakened": LEAST_GAIN}[outcome]
    assert outcomes == {"none", "whole", "weakened"}


# Of ten pixels predicted as the third class, six are but a little surer of it than of the first.
HALF_SURE = np.repeat([[4.0, 0, 0], [0, 4, 0], [0, 0, 4], [0, -4, 1]], [90, 10, 4, 6], axis=0)
RARE = np.array([0.9, 0.05, 0.05])


def test_a_shift_that_takes_too_many_pixels_of_a_class_is_left_out() -> None:
    belief = Belief(RARE, Pixels(HALF_SURE, np.eye(3)[np.repeat([0, 1, 2, 0], [90, 10, 4, 6])]))
    nothing = Pixels(np.zeros((0, 3)), np.zeros((0, 3)))
    most, some = (choose_strengths(nothing, [belief], trust=0.5, keep=keep) for keep in (0.41, 0.4))
    assert most.kept is not None
    np.testing.assert_allclose(most.kept, [96 / 90, 1, 0.4])
    np.testing.assert_array_equal(most.values, 0)
    np.testing.assert_array_equal(most.chosen, most.none)
    assert some.kept is None
    np.testing.assert_array_equal(some.values, 0.5)


def test_what_a_class_keeps_in_an_image_is_less_where_sections_differ() -> None:
    half = log_prior_shift(RARE, strengths=0.5)
    np.testing.assert_allclose(kept_in_images(HALF_SURE, half), [96 / 90, 1, 0.4])
    # Of the third class one section keeps all of 10 pixels, one 4 of 10, and one has too few to tell.
    sure = np.repeat([[4.0, 0, 0], [0, 0, 4]], [5, 10], axis=0)
    lots = [sure, HALF_SURE, HALF_SURE[-9:]]
    sections = np.repeat([0, 1, 2], [15, 110, 9])
    shares = np.array([1, 0.4])
    kept = kept_in_images(np.concatenate(lots), half, sections)
    assert kept[2] == pytest.approx(shares.mean() - SPREAD * shares.std())
    assert kept[1] == pytest.approx(1), "only one section has enough of it"
    assert LEAST_SEEN == 10, "which the sections above are made for"


def test_a_class_that_is_nowhere_loses_nothing() -> None:
    np.testing.assert_array_equal(kept_in_images(np.tile([[3.0, 0, 0]], (50, 1)), np.array([1.0, 0, -1])), 1)
