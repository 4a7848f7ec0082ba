"""The correction of a trained classifier agrees with its parts, and says why it is weaker than asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from eseg_zoo.calibration.correction import DOUBTED, LEAST_KEPT, LEAST_TRUST, Correction, HeldOut, fit_correction
from eseg_zoo.calibration.frequencies import PRIOR_SHARE, estimate_frequencies
from eseg_zoo.calibration.strengths import Strengths
from eseg_zoo.calibration.temperature import fit_biases, fit_temperature

RARE = np.array([0.05, 0.25, 0.7])
RARE_WITH_PRIOR = (RARE + PRIOR_SHARE) / (1 + 3 * PRIOR_SHARE)


def logits_of(labels: NDArray[np.int64], *, sharpness: float = 1, distance: float = 2.0, seed: int = 0) -> Any:
    """The exact balanced log posteriors of one noisy value a pixel, times `sharpness`."""
    centres = distance * np.arange(3)
    values = np.random.default_rng(seed).normal(centres[labels])
    return sharpness * log_softmax(norm.logpdf(values[:, None], centres), axis=1)


def held_out(each: int = 200, **changes: Any) -> HeldOut:
    labels = np.repeat(np.arange(3), each)
    return HeldOut(logits_of(labels, **changes), labels)


def unlabelled(**changes: Any) -> list[NDArray[np.float64]]:
    logits = logits_of(np.random.default_rng(5).choice(3, 4000, p=RARE), seed=7, **changes)
    return [logits[:1500], logits[1500:]]


def correction(strengths: NDArray[np.float64], *, limit: float = 1, **dice: list[float]) -> Correction:
    expected = {"none": [0.5] * 3, "chosen": [0.5] * 3, "full": [0.5] * 3} | dice
    none, chosen, full = (np.array(expected[name]) for name in ("none", "chosen", "full"))
    weakened = Strengths(strengths, none, chosen, full)
    return Correction(1.5, np.array([0.1, 0.2, -0.3]), RARE, weakened, limit)


def test_the_correction_agrees_with_its_parts() -> None:
    known, seen = held_out(sharpness=2), unlabelled(sharpness=2)
    found = fit_correction(known, seen)
    weights = np.ones(len(known.labels))
    temperature = fit_temperature(known.logits, known.labels, weights)
    biases = fit_biases(known.logits / temperature, known.labels, weights)
    frequencies = estimate_frequencies(softmax(np.concatenate(seen) / temperature, axis=1))
    assert found.temperature == pytest.approx(temperature, rel=1e-6)
    np.testing.assert_allclose(found.frequencies, frequencies, rtol=1e-4)
    np.testing.assert_allclose(found.biases, biases, atol=1e-6)
    assert found.temperature == pytest.approx(2, rel=0.15)
    np.testing.assert_allclose(found.frequencies, RARE_WITH_PRIOR, atol=0.02)


def test_the_shift_is_each_classs_strength_times_the_log_ratio_of_its_frequency() -> None:
    strengths = np.array([0.4, 1, 0])
    np.testing.assert_allclose(correction(strengths).shift, strengths * np.log(RARE / (1 / 3)))


@pytest.mark.parametrize("shape", [(), (6,), (4, 5), (2, 3, 4)], ids=str)
def test_calibrating_divides_by_the_temperature_and_adds_each_class_its_bias(shape: tuple[int, ...]) -> None:
    logits = np.random.default_rng(0).normal(size=(3, *shape))
    expected = [logits[0] / 1.5 + 0.1, logits[1] / 1.5 + 0.2, logits[2] / 1.5 - 0.3]
    np.testing.assert_allclose(correction(np.ones(3)).calibrate(logits), expected)


def test_a_class_that_the_classifier_is_blind_to_in_unseen_images_gets_its_frequency_back() -> None:
    blind = np.array([0, -1.5, 0])
    known, seen = held_out(1000), [one + blind for one in unlabelled()]
    found = fit_correction(HeldOut(known.logits + blind, known.labels), seen)
    np.testing.assert_allclose((found.biases - found.biases[0]) * found.temperature, -blind, atol=0.35)


def test_the_temperature_of_a_calibrated_classifier_is_1() -> None:
    found = fit_correction(held_out(), unlabelled())
    assert found.temperature == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(found.frequencies, RARE_WITH_PRIOR, atol=0.02)


def test_a_constant_added_to_the_logits_of_a_pixel_changes_nothing() -> None:
    known, seen = held_out(), unlabelled()
    constants = np.random.default_rng(0).normal(0, 5, len(known.labels))[:, None]
    found = fit_correction(HeldOut(known.logits + constants, known.labels), [one + 3 for one in seen])
    expected = fit_correction(known, seen)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-6)
    np.testing.assert_allclose(found.frequencies, expected.frequencies, rtol=1e-4)
    np.testing.assert_array_equal(found.strengths, expected.strengths)


def test_given_frequencies_are_taken_as_they_are() -> None:
    given = np.array([0.2, 0.3, 0.5])
    found = fit_correction(held_out(distance=4), unlabelled(distance=4), frequencies=given)
    assert found.frequencies is given
    assert found.tell_weakening("abc") == ""
    np.testing.assert_allclose(found.shift, np.log(given * 3))


@pytest.mark.parametrize("limit", [0, 0.3, 1])
def test_the_limit_is_the_strength_when_nothing_speaks_against_it(limit: float) -> None:
    found = fit_correction(held_out(200, distance=6), unlabelled(distance=6), limit=limit)
    np.testing.assert_allclose(found.strengths, limit * 200 / (200 + DOUBTED))
    assert found.tell_weakening("abc") == ""


def test_few_held_out_strokes_weaken_the_shift_to_estimated_frequencies_and_it_is_said() -> None:
    seen, few = unlabelled(distance=6), held_out(4, distance=6)
    found = fit_correction(few, seen)
    np.testing.assert_allclose(found.strengths, 4 / (4 + DOUBTED))
    assert found.tell_weakening("abc") == f"{4 / (4 + DOUBTED):.2f}: few strokes are held out"
    np.testing.assert_allclose(fit_correction(few, seen, frequencies=RARE).strengths, 1)


@pytest.mark.parametrize(("strokes", "strength"), [(1, 0.5), (2, 0.5), (3, 0.5), (4, 4 / 7), (27, 0.9)])
def test_half_of_the_shift_is_taken_at_least(strokes: int, strength: float) -> None:
    found = fit_correction(held_out(strokes, distance=6), unlabelled(distance=6))
    np.testing.assert_allclose(found.strengths, strength)


def test_a_shift_that_would_erase_a_class_is_weakened_and_the_class_named() -> None:
    found = fit_correction(held_out(5), unlabelled(sharpness=0.3), frequencies=np.array([1e-4, 0.3, 0.6999]))
    assert found.strengths.min() < 1
    told = found.tell_weakening(["synapse", "glia", "membrane"])
    assert "at 1.00 the Dice of synapse would fall from " in told


def test_the_reason_names_each_strength_and_the_class_that_would_lose_most() -> None:
    found = correction(np.array([0.25, 0.5, 1]), limit=1, none=[0.4, 0.5, 0.9], full=[0.3, 0.1, 0.95])
    assert found.tell_weakening(["a", "b", "c"]) == (
        "0.25 for a, 0.50 for b, 1.00 for c: at 1.00 the Dice of b would fall from 0.50 to 0.10"
    )


def section(sure: int, half_sure: int) -> NDArray[np.float64]:
    """Logits in which so many pixels of the third class are certain, and so many hardly differ from the first."""
    rows = np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4], [0, -4, 0.3]])
    return np.repeat(rows, [900, 200, sure, half_sure], axis=0)


def test_where_little_is_held_out_there_is_no_shift_that_takes_a_class_from_an_image() -> None:
    nothing, differing = held_out(0), [section(20, 0), section(20, 60)]
    assert fit_correction(nothing, [np.concatenate(differing)]).strengths.min() > 0, "of all images it takes 60 %"
    found = fit_correction(nothing, differing)
    np.testing.assert_array_equal(found.strengths, 0)
    assert found.chosen.kept is not None
    assert found.chosen.kept[2] < LEAST_KEPT
    assert "% of c, and few strokes are held out" in found.tell_weakening("abc")
    assert fit_correction(nothing, differing, frequencies=np.array([0.8, 0.17, 0.03])).chosen.kept is None
    assert fit_correction(held_out(100, distance=6), differing).chosen.kept is None


def test_a_class_that_would_lose_most_of_its_pixels_is_named() -> None:
    expected = {name: np.full(3, 0.5) for name in ("none", "chosen", "full")}
    none = Strengths(np.zeros(3), **expected, trust=0.5, kept=np.array([1.1, 0.375, 0.9]))
    told = Correction(1, np.zeros(3), RARE, none, 1).tell_weakening("abc")
    assert told == "0.00: in some images it would leave 38% of b, and few strokes are held out"


def test_where_no_class_would_be_lost_the_reason_is_the_mean() -> None:
    found = correction(np.full(3, 0.4), limit=0.8, chosen=[0.6, 0.7, 0.8], full=[0.5, 0.6, 0.7])
    assert found.tell_weakening("abc") == "0.40: a mean Dice of 0.700 is expected with it, 0.600 at 0.80"
    assert correction(np.full(3, 0.8), limit=0.8).tell_weakening("abc") == ""


def test_the_pixels_of_a_stroke_count_once() -> None:
    known, seen = held_out(10, sharpness=3), unlabelled(sharpness=3)
    often = np.repeat(np.arange(30), 20)
    repeated = fit_correction(HeldOut(known.logits[often], known.labels[often], often), seen)
    once = fit_correction(known, seen)
    assert repeated.temperature == pytest.approx(once.temperature, rel=1e-4)
    np.testing.assert_allclose(repeated.strengths, once.strengths)


def test_without_labels_the_temperature_is_1_and_the_frequencies_are_found() -> None:
    nothing = HeldOut(np.zeros((0, 3)), np.zeros(0, np.int64))
    found = fit_correction(nothing, unlabelled(distance=4))
    assert found.temperature == 1
    np.testing.assert_allclose(found.strengths, LEAST_TRUST)
    np.testing.assert_allclose(found.frequencies, RARE_WITH_PRIOR, atol=0.02)
