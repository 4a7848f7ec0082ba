"""EM on data whose true frequencies and posteriors are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from eseg_zoo.frequencies import SMALLEST_FREQUENCY, estimate_frequencies, log_prior_shift


def exact_posteriors(
    frequencies: list[float], training: NDArray[np.float64], *, pixels: int = 40_000, distance: float = 2.0
) -> NDArray[np.float64]:
    """Posteriors, under `training` frequencies, of pixels drawn with other frequencies; classes are unit Gaussians."""
    rng = np.random.default_rng(0)
    centres = distance * np.arange(len(frequencies))
    labels = rng.choice(len(frequencies), size=pixels, p=frequencies)
    joint = training * norm.pdf(rng.normal(centres[labels])[:, None], centres)
    return joint / joint.sum(1, keepdims=True)


@pytest.mark.parametrize("frequencies", [[0.7, 0.25, 0.05], [0.02, 0.08, 0.9], [1 / 3] * 3], ids=str)
@pytest.mark.parametrize("training", [[1 / 3] * 3, [0.5, 0.3, 0.2]], ids=["balanced", "unbalanced"])
def test_em_recovers_the_frequencies_of_the_data(frequencies: list[float], training: list[float]) -> None:
    posteriors = exact_posteriors(frequencies, np.array(training))
    found = estimate_frequencies(posteriors, training=np.array(training))
    np.testing.assert_allclose(found, frequencies, atol=0.01)
    assert found.sum() == pytest.approx(1)


def test_averaging_the_posteriors_would_not_recover_them() -> None:
    posteriors = exact_posteriors([0.7, 0.25, 0.05], np.full(3, 1 / 3))
    assert np.abs(posteriors.mean(0) - [0.7, 0.25, 0.05]).max() > 0.05


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_no_frequency_falls_below_the_floor(classes: int) -> None:
    posteriors = np.full((50, classes), 1e-9)
    posteriors[:, 0] = 1 - 1e-9 * (classes - 1)
    found = estimate_frequencies(posteriors, training=np.full(classes, 1 / classes))
    np.testing.assert_allclose(found[1:], SMALLEST_FREQUENCY)
    assert found.min() >= SMALLEST_FREQUENCY
    assert found.sum() == pytest.approx(1)


def test_the_floor_does_not_change_the_proportions_of_the_other_classes() -> None:
    posteriors = np.repeat(np.eye(3)[:2], [30, 10], axis=0)  # the third class is nowhere
    found = estimate_frequencies(posteriors, training=np.full(3, 1 / 3))
    np.testing.assert_allclose(found, [0.75, 0.25, SMALLEST_FREQUENCY], atol=1e-3)


def test_sure_posteriors_are_counted() -> None:
    posteriors = np.repeat(np.eye(2, dtype=np.float32), [90, 10], axis=0)
    np.testing.assert_allclose(estimate_frequencies(posteriors, training=np.array([0.5, 0.5])), [0.9, 0.1], atol=1e-6)


def test_uninformative_posteriors_leave_the_training_frequencies() -> None:
    training = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(estimate_frequencies(np.tile(training, (9, 1)), training=training), training)


def test_the_log_shift_turns_balanced_posteriors_into_those_of_the_data() -> None:
    training, frequencies = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    logits = np.log([[0.3, 0.7]])
    shifted = softmax(logits + log_prior_shift(frequencies, training=training), axis=1)
    np.testing.assert_allclose(shifted, [[0.3 * 0.9 / (0.3 * 0.9 + 0.7 * 0.1), 0.7 * 0.1 / (0.3 * 0.9 + 0.7 * 0.1)]])


def test_the_log_shift_of_equal_frequencies_is_zero() -> None:
    training = np.exp(log_softmax([0.1, 0.7, -2]))
    np.testing.assert_array_equal(log_prior_shift(training, training=training), np.zeros(3))
