from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

import vnc
from eseg_zoo.calibration.correction import Correction
from eseg_zoo.calibration.strengths import Strengths
from vnc import CLASSES, UNSEEN, Volume, common_correction, judge, judge_method, thin_labels


def points(per_class: int, side: int = 64) -> NDArray[np.uint8]:
    """14 slices with `per_class` pixels of each class at random places."""
    rng = np.random.default_rng(0)
    labels = np.zeros((14, side, side), np.uint8)
    for section in labels:
        section.flat[rng.choice(side * side, 5 * per_class, replace=False)] = np.repeat(list(CLASSES), per_class)
    return labels


def counts(labels: NDArray[np.uint8]) -> list[list[int]]:
    return [[int((section == value).sum()) for value in CLASSES] for section in labels]


def test_a_draw_has_as_many_pixels_of_each_class_in_each_slice_and_leaves_other_slices_whole() -> None:
    labels = points(20)
    drawn = thin_labels(labels, range(12), 3, draw=0)
    assert counts(drawn) == [[3] * 5] * 12 + [[20] * 5] * 2
    assert np.array_equal(drawn[drawn > 0], labels[drawn > 0])
    assert counts(labels) == [[20] * 5] * 14, "the source is not changed"


def test_a_draw_is_repeatable_and_independent_of_other_draws_and_sizes() -> None:
    labels = points(20)
    first, again, other = (thin_labels(labels, range(12), 5, draw) for draw in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    smaller = thin_labels(labels, range(12), 2, draw=0)
    assert (smaller[:12][first[:12] == 0] > 0).any(), "a smaller draw is not a part of a larger one"


def test_every_pixel_is_equally_likely_to_be_drawn() -> None:
    labels = points(4, side=16)[:1]
    chosen = np.sum([thin_labels(labels, [0], 1, draw) > 0 for draw in range(800)], axis=0)
    share = chosen[labels[0][None] > 0] / 800
    assert np.abs(share - 0.25).max() < 0.06  # four standard deviations


def test_all_labels_are_kept_without_a_number_and_a_number_beyond_them_is_refused() -> None:
    labels = points(4)
    assert np.array_equal(thin_labels(labels, range(12), None, 0), labels)
    assert np.array_equal(thin_labels(labels, range(12), 4, 0), labels)
    with pytest.raises(ValueError, match="slice 0 has 4 pixels of label 1; 5 are wanted"):
        thin_labels(labels, range(12), 5, 0)


def test_every_kind_of_labels_is_validated_by_the_points() -> None:
    scribbles = np.ones_like(points(4))
    volume = Volume(Path("."), points(4), {"points": points(4), "scribbles": scribbles})
    drawn = volume.draw("scribbles", None, 0)
    assert (drawn[:12] == 1).all()
    assert np.array_equal(drawn[12:], points(4)[12:])


def test_judge_gives_the_dice_worked_by_hand() -> None:
    truth = np.array([[[1, 1, 2, 3], [4, 5, 5, 5]]], np.uint8)
    found = np.array([[[1, 2, 2, 3], [4, 5, 5, 1]]]) - 1
    scores = np.moveaxis(np.eye(5)[found], -1, 1)
    expected = [2 / 4, 2 / 3, 1, 1, 4 / 5]  # twice the hits over the pixels of both
    np.testing.assert_allclose(list(judge(scores, truth).values()), expected)
    assert list(judge(scores, truth)) == list(CLASSES.values())


@pytest.fixture
def noisy() -> tuple[Volume, vnc.LogitsOfSlice, NDArray[np.float64]]:
    """Classes at known frequencies, an image that is the class plus noise, and its exact log likelihoods."""
    frequencies = np.array([0.1, 0.05, 0.2, 0.05, 0.6])
    rng = np.random.default_rng(1)
    dense = rng.choice(np.arange(1, 6), size=(14, 96, 96), p=frequencies).astype(np.uint8)
    raw = (dense * 40 + rng.normal(0, 16, dense.shape)).clip(0, 255).astype(np.uint8)
    held_out = thin_labels(dense, range(14), 60, draw=0)

    def log_likelihood(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        means = np.arange(1, 6).reshape(-1, 1, 1) * 40
        return np.asarray(log_softmax(-((image.astype(float) - means) ** 2) / (2 * 16**2), axis=0))

    return Volume(Path("."), raw, {"points": held_out, "dense": dense}), log_likelihood, frequencies


def test_the_common_correction_finds_temperature_and_frequencies(
    noisy: tuple[Volume, vnc.LogitsOfSlice, NDArray[np.float64]],
) -> None:
    volume, exact, frequencies = noisy

    def overconfident(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.asarray(exact(image) / 0.5)

    held_out = np.stack([overconfident(volume.raw[z]) for z in (12, 13)])
    exact_held_out = np.stack([exact(volume.raw[z]) for z in (12, 13)])
    found = common_correction(exact, volume, held_out=exact_held_out)
    np.testing.assert_allclose(found.temperature, 1, atol=0.1)
    np.testing.assert_allclose(found.frequencies, frequencies, atol=0.02)
    np.testing.assert_allclose(found.shift, found.strengths * np.log(found.frequencies * 5))
    cautious = common_correction(overconfident, volume, held_out=held_out)
    np.testing.assert_allclose(cautious.temperature, 2, rtol=0.1)


def test_the_correction_raises_the_dice_of_a_balanced_method(
    noisy: tuple[Volume, vnc.LogitsOfSlice, NDArray[np.float64]],
) -> None:
    volume, exact, _ = noisy
    found = judge(np.stack([exact(volume.raw[z]) for z in UNSEEN]), volume.labels["dense"][list(UNSEEN)])
    corrected = judge_method(exact, volume).corrected
    assert np.mean(list(corrected.values())) > np.mean(list(found.values())) + 0.005


def test_the_correction_divides_and_then_adds_biases_and_shift(
    noisy: tuple[Volume, vnc.LogitsOfSlice, NDArray[np.float64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, exact, frequencies = noisy
    shift = np.log(frequencies / 0.2) / 2
    biases = np.array([0.2, -0.1, 0.3, 0, -0.4])
    dice = np.ones(5)
    correction = Correction(2.0, biases, frequencies, Strengths(np.full(5, 0.5), dice, dice, dice), 1)
    monkeypatch.setattr(vnc, "common_correction", lambda *_, **__: correction)
    corrected = np.stack([exact(volume.raw[z]) / 2 + (biases + shift)[:, None, None] for z in UNSEEN])
    assert judge_method(exact, volume).corrected == judge(corrected, volume.labels["dense"][list(UNSEEN)])
