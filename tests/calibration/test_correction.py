"""The correction of a trained classifier agrees with its parts, and says why it is weaker than asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import norm

from eseg_zoo.calibration.correction import Correction, HeldOut, fit_correction
from eseg_zoo.calibration.frequencies import consistent_frequencies, largest_strength, supported_strength
from eseg_zoo.calibration.temperature import fit_biases, fit_temperature

RARE = np.array([0.05, 0.25, 0.7])


def logits_of(labels: NDArray[np.int64], *, sharpness: float = 1, distance: float = 2.0, seed: int = 0) -> Any:
    """The exact balanced log posteriors of one noisy value a pixel, times `sharpness`."""
    centres = distance * np.arange(3)
    values = np.random.default_rng(seed).normal(centres[labels])
    return sharpness * log_softmax(norm.logpdf(values[:, None], centres), axis=1)


def held_out(each: int = 200, **changes: Any) -> HeldOut:
    labels = np.repeat(np.arange(3), each)
    return HeldOut(logits_of(labels, **changes), labels)


def unlabelled(**changes: Any) -> NDArray[np.float64]:
    return logits_of(np.random.default_rng(5).choice(3, 4000, p=RARE), seed=7, **changes)


def test_the_correction_agrees_with_its_parts() -> None:
    known, seen = held_out(sharpness=2), unlabelled(sharpness=2)
    found = fit_correction(known, seen, seed=3)
    temperature = fit_temperature(known.logits, known.labels)
    biases = fit_biases(known.logits / temperature, known.labels)
    frequencies = consistent_frequencies(seen, temperature=temperature)
    safe = largest_strength(seen / temperature + biases, frequencies, limit=1)
    rng = np.random.default_rng(3)
    strength = supported_strength(known.logits / temperature + biases, known.labels, frequencies, limit=safe, rng=rng)
    assert found.temperature == pytest.approx(temperature, rel=1e-6)
    np.testing.assert_allclose(found.frequencies, frequencies, rtol=1e-4)
    np.testing.assert_allclose(found.biases, biases, atol=1e-6)
    assert found.strength == strength
    assert found.temperature == pytest.approx(2, rel=0.15)
    np.testing.assert_allclose(found.frequencies, RARE, atol=0.03)


def test_the_shift_is_the_strength_times_the_log_ratio_of_the_frequencies() -> None:
    correction = Correction(1.5, np.array([0.1, 0.2, -0.3]), RARE, strength=0.4, reason="")
    np.testing.assert_allclose(correction.shift, 0.4 * np.log(RARE / (1 / 3)))


@pytest.mark.parametrize("shape", [(), (6,), (4, 5), (2, 3, 4)], ids=str)
def test_calibrating_divides_by_the_temperature_and_adds_each_class_its_bias(shape: tuple[int, ...]) -> None:
    correction = Correction(1.5, np.array([0.1, 0.2, -0.3]), RARE, strength=1, reason="")
    logits = np.random.default_rng(0).normal(size=(3, *shape))
    expected = [logits[0] / 1.5 + 0.1, logits[1] / 1.5 + 0.2, logits[2] / 1.5 - 0.3]
    np.testing.assert_allclose(correction.calibrate(logits), expected)


def test_a_class_that_the_classifier_is_blind_to_in_unseen_images_gets_its_frequency_back() -> None:
    blind = np.array([0, -1.5, 0])
    known, seen = held_out(1000), unlabelled() + blind
    found = fit_correction(HeldOut(known.logits + blind, known.labels), seen)
    np.testing.assert_allclose((found.biases - found.biases[0]) * found.temperature, -blind, atol=0.35)


def test_the_temperature_of_a_calibrated_classifier_is_1() -> None:
    found = fit_correction(held_out(), unlabelled())
    assert found.temperature == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(found.frequencies, RARE, atol=0.03)


def test_a_constant_added_to_the_logits_of_a_pixel_changes_nothing() -> None:
    known, seen = held_out(), unlabelled()
    constants = np.random.default_rng(0).normal(0, 5, len(known.labels))[:, None]
    found = fit_correction(HeldOut(known.logits + constants, known.labels), seen + 3)
    expected = fit_correction(known, seen)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-6)
    np.testing.assert_allclose(found.frequencies, expected.frequencies, rtol=1e-4)
    assert found.strength == expected.strength


def test_given_frequencies_are_taken_as_they_are() -> None:
    given = np.array([0.2, 0.3, 0.5])
    found = fit_correction(held_out(distance=4), unlabelled(distance=4), frequencies=given)
    assert found.frequencies is given
    assert (found.strength, found.reason) == (1, "")
    np.testing.assert_allclose(found.shift, np.log(given * 3))


@pytest.mark.parametrize("limit", [0, 0.3, 1])
def test_the_limit_is_the_strength_when_nothing_speaks_against_it(limit: float) -> None:
    few = held_out(10, distance=4)  # too few to speak
    found = fit_correction(few, unlabelled(distance=4), limit=limit)
    assert (found.strength, found.reason) == (limit, "")


def test_a_shift_that_would_erase_a_class_is_weakened_and_the_reason_given() -> None:
    found = fit_correction(held_out(5), unlabelled(sharpness=0.3), frequencies=np.array([1e-4, 0.3, 0.6999]))
    assert 0 < found.strength < 1
    assert found.reason == "more would erase a rare class"


def test_a_shift_that_held_out_labels_speak_against_is_weakened_and_the_reason_given() -> None:
    # Sharp where it sees the data, soft where it is labelled: only the labels can tell.
    known = held_out(300, sharpness=1)
    seen = unlabelled(distance=6)
    wrong = np.array([0.7, 0.29, 0.01])
    found = fit_correction(known, seen, frequencies=wrong)
    alone = largest_strength(seen / found.temperature, wrong)
    assert found.strength < alone
    assert found.reason == "more would cost Dice on the held-out labels"


def test_without_labels_the_temperature_is_1_and_the_frequencies_are_found() -> None:
    nothing = HeldOut(np.zeros((0, 3)), np.zeros(0, np.int64))
    found = fit_correction(nothing, unlabelled(distance=4))
    assert (found.temperature, found.strength, found.reason) == (1, 1, "")
    np.testing.assert_allclose(found.frequencies, RARE, atol=0.02)


def test_one_seed_gives_one_correction() -> None:
    first, again = (fit_correction(held_out(), unlabelled(), seed=4) for _ in range(2))
    assert (first.temperature, first.strength) == (again.temperature, again.strength)
    np.testing.assert_array_equal(first.frequencies, again.frequencies)
