"""EM on data whose true frequencies and posteriors are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm

from eseg_zoo.calibration.frequencies import (
    COLLAPSED,
    FEWEST_LABELS,
    SMALLEST_FREQUENCY,
    _mean_dice,
    _resampled_weights,
    consistent_frequencies,
    estimate_frequencies,
    kept_share,
    largest_strength,
    log_prior_shift,
    supported_strength,
)
from eseg_zoo.metrics import Confusion


def exact_posteriors(frequencies: list[float], *, pixels: int = 40_000, distance: float = 2.0) -> NDArray[np.float64]:
    """Posteriors, as if all classes were equally frequent, of pixels that are not; classes are unit Gaussians."""
    rng = np.random.default_rng(0)
    centres = distance * np.arange(len(frequencies))
    labels = rng.choice(len(frequencies), size=pixels, p=frequencies)
    joint = norm.pdf(rng.normal(centres[labels])[:, None], centres)
    return joint / joint.sum(1, keepdims=True)


@pytest.mark.parametrize("frequencies", [[0.7, 0.25, 0.05], [0.02, 0.08, 0.9], [1 / 3] * 3], ids=str)
def test_em_recovers_the_frequencies_of_the_data(frequencies: list[float]) -> None:
    found = estimate_frequencies(exact_posteriors(frequencies))
    np.testing.assert_allclose(found, frequencies, atol=0.01)
    assert found.sum() == pytest.approx(1)


def test_averaging_the_posteriors_would_not_recover_them() -> None:
    posteriors = exact_posteriors([0.7, 0.25, 0.05])
    assert np.abs(posteriors.mean(0) - [0.7, 0.25, 0.05]).max() > 0.05


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_no_frequency_falls_below_the_floor(classes: int) -> None:
    posteriors = np.full((50, classes), 1e-9)
    posteriors[:, 0] = 1 - 1e-9 * (classes - 1)
    found = estimate_frequencies(posteriors)
    np.testing.assert_allclose(found[1:], SMALLEST_FREQUENCY)
    assert found.min() >= SMALLEST_FREQUENCY
    assert found.sum() == pytest.approx(1)


def test_the_floor_does_not_change_the_proportions_of_the_other_classes() -> None:
    posteriors = np.repeat(np.eye(3)[:2], [30, 10], axis=0)  # the third class is nowhere
    found = estimate_frequencies(posteriors)
    np.testing.assert_allclose(found, [0.75, 0.25, SMALLEST_FREQUENCY], atol=1e-3)


def test_sure_posteriors_are_counted() -> None:
    posteriors = np.repeat(np.eye(2, dtype=np.float32), [90, 10], axis=0)
    np.testing.assert_allclose(estimate_frequencies(posteriors), [0.9, 0.1], atol=1e-6)


def test_uninformative_posteriors_leave_all_classes_equally_frequent() -> None:
    np.testing.assert_allclose(estimate_frequencies(np.full((9, 4), 0.25)), np.full(4, 0.25))


def test_the_log_shift_turns_balanced_posteriors_into_those_of_the_data() -> None:
    shifted = softmax(np.log([[0.3, 0.7]]) + log_prior_shift(np.array([0.9, 0.1])), axis=1)
    np.testing.assert_allclose(shifted, [[0.3 * 0.9 / (0.3 * 0.9 + 0.7 * 0.1), 0.7 * 0.1 / (0.3 * 0.9 + 0.7 * 0.1)]])


def test_the_log_shift_of_equal_frequencies_is_zero() -> None:
    np.testing.assert_array_equal(log_prior_shift(np.full(3, 1 / 3)), np.zeros(3))


# ------------------------------------------------------------------------------------------------------ collapse

RARE = [0.79, 0.2, 0.01]


def test_a_calibrated_network_gets_the_frequencies_of_em_at_its_temperature() -> None:
    logits = 1.6 * np.log(exact_posteriors(RARE, distance=4))  # too sure by a factor that T takes back
    found = consistent_frequencies(logits, temperature=1.6)
    np.testing.assert_array_equal(found, estimate_frequencies(softmax(logits / 1.6, axis=1)))
    np.testing.assert_allclose(found, RARE, atol=0.003)


def test_a_rare_class_that_em_explains_away_at_the_fitted_temperature_is_kept() -> None:
    logits = np.log(exact_posteriors(RARE))
    too_soft = 1.8  # fits labels with a few confident mistakes, not the likelihoods of most pixels
    assert estimate_frequencies(softmax(logits / too_soft, axis=1))[2] < 0.002
    found = consistent_frequencies(logits, temperature=too_soft)
    assert 0.005 < found[2] < 0.02


def test_a_temperature_below_1_is_used_as_it_is() -> None:
    logits = 0.5 * np.log(exact_posteriors(RARE, distance=4))
    found = consistent_frequencies(logits, temperature=0.5)
    np.testing.assert_allclose(found, RARE, atol=0.003)


def test_the_kept_share_is_hand_worked() -> None:
    # Predicted without a shift: 5, 3, 2 of 10 pixels; the shift takes two pixels from the second class.
    logits = np.zeros((10, 3))
    logits[:5, 0], logits[5:8, 1], logits[8:, 2] = 3, [1, 1, 3], 3
    shift = np.array([2.0, 0, 0])
    assert kept_share(logits, shift, frequencies=np.array([0.6, 0.2, 0.2])) == pytest.approx(0.1 / 0.2)
    assert kept_share(logits, shift, frequencies=np.array([0.3, 0.5, 0.2])) == pytest.approx(0.1 / 0.3)
    assert kept_share(logits, np.zeros(3), frequencies=np.array([0.1, 0.1, 0.8])) == 1


def test_a_class_that_is_never_predicted_cannot_be_lost() -> None:
    logits = np.tile([1.0, 0.5, 0.0], (20, 1))
    assert kept_share(logits, np.array([0.0, -1, -5]), frequencies=np.array([0.8, 0.1, 0.1])) == pytest.approx(1 / 0.8)


def test_the_whole_shift_is_applied_when_no_class_collapses() -> None:
    logits = np.log(exact_posteriors(RARE, distance=4))
    assert largest_strength(logits, np.array(RARE)) == 1
    assert largest_strength(logits, np.array(RARE), limit=0.4) == 0.4


def test_a_shift_that_would_remove_a_class_is_weakened_until_half_of_it_stays() -> None:
    frequencies = np.array(RARE)
    logits = 0.4 * np.log(exact_posteriors(RARE))  # far too soft for the whole shift
    assert kept_share(logits, log_prior_shift(frequencies), frequencies=frequencies) == 0
    strength = largest_strength(logits, frequencies)
    assert 0.2 < strength < 0.8
    kept, beyond = (
        kept_share(logits, log_prior_shift(frequencies, strength=s), frequencies=frequencies)
        for s in (strength, strength + 0.1)
    )
    assert beyond < COLLAPSED <= kept


def test_the_strength_scales_the_log_shift() -> None:
    whole, half = (log_prior_shift(np.array(RARE), strength=s) for s in (1, 0.5))
    np.testing.assert_allclose(half, whole / 2)
    assert not log_prior_shift(np.array(RARE), strength=0).any()


def labelled_logits(labels_per_class: int, *, sharpness: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Balanced logits of as many labelled pixels of each class, `sharpness` times the right ones."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), labels_per_class)
    centres = 2.0 * np.arange(3)
    return sharpness * norm.logpdf(rng.normal(centres[labels])[:, None], centres), labels


def supported(labels_per_class: int, *, sharpness: float, limit: float = 1) -> float:
    logits, labels = labelled_logits(labels_per_class, sharpness=sharpness)
    rng = np.random.default_rng(0)
    return supported_strength(logits, labels, np.array(RARE), limit=limit, rng=rng)


def test_labels_support_the_shift_of_a_calibrated_network() -> None:
    assert supported(300, sharpness=1) >= 0.9
    assert supported(300, sharpness=1, limit=0.7) == 0.7


def test_many_labels_weaken_a_shift_that_is_too_much_for_soft_logits_and_few_do_not() -> None:
    assert supported(300, sharpness=0.3) < 0.7
    assert supported(FEWEST_LABELS - 1, sharpness=0.3) == 1


def test_without_labels_the_limit_stays() -> None:
    nothing = np.zeros((0, 3)), np.zeros(0, np.int64)
    rng = np.random.default_rng(0)
    assert supported_strength(*nothing, np.array(RARE), limit=0.8, rng=rng) == 0.8


def test_the_weights_of_labels_bring_their_dice_to_the_frequencies() -> None:
    # Half of the 40 labels of the rare class and none of the common class's are mistaken for the other.
    logits = np.repeat([[1.0, 0], [1, 0], [0, 1]], [40, 20, 20], axis=0)
    labels = np.repeat([0, 1], 40)
    repeated = np.repeat(np.arange(80), np.repeat([9, 1], 40))  # nine pixels of the common class for one of the rare
    expected = Confusion.of(labels[repeated], logits.argmax(1)[repeated], classes=2).mean_dice
    weights = _resampled_weights(labels, np.array([0.9, 0.1]), np.random.default_rng(0))
    found = _mean_dice(labels, logits.argmax(1), weights)
    assert found[0] == pytest.approx(expected)
    assert found[1:].std() > 0.01
    np.testing.assert_allclose(weights[:, :40].sum(1), 0.9)
