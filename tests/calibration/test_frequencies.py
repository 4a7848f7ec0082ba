"""EM on data whose true frequencies and posteriors are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm

from eseg_zoo.calibration.frequencies import PRIOR_SHARE, estimate_frequencies, log_prior_shift


def exact_posteriors(frequencies: list[float], *, pixels: int = 40_000, distance: float = 2.0) -> NDArray[np.float64]:
    """Posteriors, as if all classes were equally frequent, of pixels that are not; classes are unit Gaussians."""
    rng = np.random.default_rng(0)
    centres = distance * np.arange(len(frequencies))
    labels = rng.choice(len(frequencies), size=pixels, p=frequencies)
    joint = norm.pdf(rng.normal(centres[labels])[:, None], centres)
    return joint / joint.sum(1, keepdims=True)


@pytest.mark.parametrize("frequencies", [[0.7, 0.25, 0.05], [0.05, 0.15, 0.8], [1 / 3] * 3], ids=str)
def test_em_recovers_the_frequencies_of_the_data(frequencies: list[float]) -> None:
    found = estimate_frequencies(exact_posteriors(frequencies))
    with_prior = (np.array(frequencies) + PRIOR_SHARE) / (1 + 3 * PRIOR_SHARE)
    np.testing.assert_allclose(found, with_prior, atol=0.01)
    assert found.sum() == pytest.approx(1)


def test_averaging_the_posteriors_would_not_recover_them() -> None:
    posteriors = exact_posteriors([0.7, 0.25, 0.05])
    assert np.abs(posteriors.mean(0) - [0.7, 0.25, 0.05]).max() > 0.05


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_every_class_keeps_the_share_of_the_prior(classes: int) -> None:
    posteriors = np.full((50, classes), 1e-9)
    posteriors[:, 0] = 1 - 1e-9 * (classes - 1)
    found = estimate_frequencies(posteriors)
    np.testing.assert_allclose(found[1:], PRIOR_SHARE / (1 + classes * PRIOR_SHARE), rtol=1e-3)
    assert found.sum() == pytest.approx(1)


def test_sure_posteriors_are_counted_with_the_pixels_of_the_prior() -> None:
    posteriors = np.repeat(np.eye(2, dtype=np.float32), [90, 10], axis=0)
    found = estimate_frequencies(posteriors)
    np.testing.assert_allclose(found, [91 / 102, 11 / 102], atol=1e-6)


def test_the_estimate_is_the_mode_of_the_posterior() -> None:
    posteriors = exact_posteriors([0.6, 0.35, 0.05], pixels=2000, distance=1)

    def log_posterior(frequencies: NDArray[np.float64]) -> float:
        prior = PRIOR_SHARE * len(posteriors) * np.log(frequencies).sum()
        return float(np.log(posteriors @ frequencies).sum() + prior)

    found = estimate_frequencies(posteriors, iterations=5000)
    best = log_posterior(found)
    for step in np.random.default_rng(0).normal(0, 0.01, (50, 3)):
        other = np.abs(found + step)
        assert log_posterior(other / other.sum()) < best


def test_a_rare_class_that_the_likelihoods_alone_explain_away_is_kept() -> None:
    soft = exact_posteriors([0.79, 0.2, 0.01]) ** 0.5
    assert estimate_frequencies(soft / soft.sum(1, keepdims=True))[2] >= PRIOR_SHARE / (1 + 3 * PRIOR_SHARE) - 1e-6


def test_uninformative_posteriors_leave_all_classes_equally_frequent() -> None:
    np.testing.assert_allclose(estimate_frequencies(np.full((9, 4), 0.25)), np.full(4, 0.25))


def test_the_log_shift_turns_balanced_posteriors_into_those_of_the_data() -> None:
    shifted = softmax(np.log([[0.3, 0.7]]) + log_prior_shift(np.array([0.9, 0.1])), axis=1)
    np.testing.assert_allclose(shifted, [[0.3 * 0.9 / (0.3 * 0.9 + 0.7 * 0.1), 0.7 * 0.1 / (0.3 * 0.9 + 0.7 * 0.1)]])


def test_the_log_shift_of_equal_frequencies_is_zero() -> None:
    np.testing.assert_array_equal(log_prior_shift(np.full(3, 1 / 3)), np.zeros(3))


def test_strengths_scale_the_log_shift_of_all_classes_or_of_each() -> None:
    frequencies = np.array([0.79, 0.2, 0.01])
    whole = log_prior_shift(frequencies)
    np.testing.assert_allclose(log_prior_shift(frequencies, strengths=0.5), whole / 2)
    strengths = np.array([0, 0.2, 1])
    np.testing.assert_allclose(log_prior_shift(frequencies, strengths=strengths), [0, 0.2 * whole[1], whole[2]])
