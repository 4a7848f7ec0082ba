"""Dice, calibration and error ranking against scikit-learn, pixel by pixel, and by hand."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

from eseg_zoo.metrics import CONFIDENCE_BINS, Confusion, ErrorRanking, Reliability, soft_dice


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_dice_equals_the_f1_score_over_labelled_pixels(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(-1, classes, (6, 7)), rng.integers(0, classes, (6, 7))
    found = Confusion.of(truth, prediction, classes=classes)
    labelled = truth >= 0
    if not labelled.any():
        return
    pair, every = (truth[labelled], prediction[labelled]), list(range(classes))
    np.testing.assert_array_equal(found.counts, confusion_matrix(*pair, labels=every))
    expected = f1_score(*pair, labels=every, average=None, zero_division=np.nan)
    np.testing.assert_allclose(found.dice, expected)
    present = np.unique(truth[labelled])
    assert found.mean_dice == pytest.approx(np.mean([expected[i] for i in present]))


def test_dice_is_hand_worked() -> None:
    truth, prediction = np.array([0, 0, 0, 1, -1, -1]), np.array([0, 0, 1, 1, 1, 0])
    found = Confusion.of(truth, prediction, classes=2)
    assert found.counts.tolist() == [[2, 1], [0, 1]]
    assert found.pixels.tolist() == [3, 1]
    np.testing.assert_allclose(found.dice, [2 * 2 / (3 + 2), 2 * 1 / (1 + 2)])
    assert found.mean_dice == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_class_without_labels_is_not_in_the_mean() -> None:
    found = Confusion.of(np.array([0, 0, 1]), np.array([0, 2, 1]), classes=4)
    assert found.dice[2] == 0  # predicted, never labelled
    assert math.isnan(found.dice[3])  # neither
    assert found.mean_dice == pytest.approx((2 / 3 + 1) / 2)


def test_without_a_label_the_mean_is_not_a_number() -> None:
    assert math.isnan(Confusion.of(np.array([-1, -1]), np.array([0, 1]), classes=2).mean_dice)


def test_adding_confusions_counts_both_data_sets() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(-1, 3, (2, 50)), rng.integers(0, 3, (2, 50))
    parts = [Confusion.of(t, p, classes=3) for t, p in zip(truth, prediction, strict=True)]
    np.testing.assert_array_equal((parts[0] + parts[1]).counts, Confusion.of(truth, prediction, classes=3).counts)


def test_small_integer_types_do_not_overflow() -> None:
    truth, prediction = np.full(3, 100, np.int8), np.full(3, 120, np.uint8)
    assert Confusion.of(truth, prediction, classes=121).counts[100, 120] == 3


def test_soft_dice_of_certain_predictions_is_the_dice_of_counts() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 300))
    expected = Confusion.of(truth, prediction, classes=4).dice
    np.testing.assert_allclose(soft_dice(np.eye(4)[prediction], truth), expected)


def test_soft_dice_of_a_worked_example() -> None:
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])
    # class 0: 2 * 0.8 / (1.3 + 1); class 1: 2 * (0.6 + 0.9) / (1.7 + 2)
    np.testing.assert_allclose(soft_dice(probabilities, np.array([0, 1, 1])), [1.6 / 2.3, 3.0 / 3.7])


# --------------------------------------------------------------------------------------------------- calibration


def predictions(seed: int, *, classes: int = 4, pixels: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Truth (20, pixels / 20), a quarter of it not labelled, and probabilities (classes, 20, pixels / 20)."""
    rng = np.random.default_rng(seed)
    shape = (20, pixels // 20)
    truth = np.where(rng.random(shape) < 0.25, -1, rng.integers(0, classes, shape))
    return truth, np.moveaxis(rng.dirichlet([0.4] * classes, shape), -1, 0).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_the_calibration_error_is_that_of_a_loop_over_pixels_and_bins(seed: int) -> None:
    truth, probabilities = predictions(seed)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for y, x in np.argwhere(truth >= 0):
        column = probabilities[:, y, x].tolist()
        bins.setdefault(int(max(column) * 15), []).append((max(column), column.index(max(column)) == truth[y, x]))
    labelled = sum(len(pairs) for pairs in bins.values())
    expected = 0.0
    found = Reliability.of(truth, probabilities)
    for number, pairs in bins.items():
        confidence, accuracy = fmean(c for c, _ in pairs), fmean(r for _, r in pairs)
        expected += len(pairs) / labelled * abs(accuracy - confidence)
        assert found.confidence[number] == pytest.approx(confidence)
        assert found.accuracy[number] == pytest.approx(accuracy)
        assert found.pixels[number] == len(pairs)
    assert found.error == pytest.approx(expected)
    assert found.pixels.sum() == labelled


def test_the_calibration_error_is_hand_worked() -> None:
    # Two pixels at 0.9, one of them right; two at 0.6, both right: (2 |0.5 - 0.9| + 2 |1 - 0.6|) / 4.
    probabilities = np.array([[0.9, 0.1, 0.6, 0.4], [0.1, 0.9, 0.4, 0.6]])
    assert Reliability.of(np.array([0, 0, 0, 1]), probabilities).error == pytest.approx(0.4)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not() -> None:
    certain = np.eye(3)
    assert Reliability.of(np.arange(3), certain).error == 0
    assert Reliability.of(np.array([1, 2, 0]), certain).error == 1
    assert Reliability.of(np.arange(3), certain).pixels[CONFIDENCE_BINS - 1] == 3


def test_classes_drawn_from_the_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 3, 100_000)
    truth = (rng.random((100_000, 1)) > probabilities.cumsum(1)[:, :2]).sum(1)
    assert Reliability.of(truth, probabilities.T).error < 0.005


def test_adding_reliabilities_counts_both_data_sets() -> None:
    first, second = predictions(0), predictions(1)
    both = Reliability.of(*(np.concatenate(pair, axis=-1) for pair in zip(first, second, strict=True)))
    added = Reliability.of(*first) + Reliability.of(*second)
    np.testing.assert_array_equal(added.pixels, both.pixels)
    np.testing.assert_array_equal(added.right, both.right)
    assert added.error == pytest.approx(both.error)


def test_without_a_label_calibration_is_not_a_number() -> None:
    assert math.isnan(Reliability.of(np.array([-1]), np.array([[0.3], [0.7]])).error)


@pytest.mark.parametrize("sharpness", [0.02, 0.3, 3])
def test_the_auroc_of_binned_uncertainties_is_scikit_learns(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(50_000) < 0.1
    # At 0.02 half of the pixels are surer than 1e-15; a trained network's are often that sure.
    drawn = np.where(wrong, rng.beta(2 * sharpness, 2, wrong.size), rng.beta(sharpness, 3, wrong.size))
    uncertainty = drawn.astype(np.float32)
    found = ErrorRanking.of(uncertainty, wrong).auroc
    assert found == pytest.approx(roc_auc_score(wrong, uncertainty), abs=1e-3)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_the_auroc_counts_the_pairs_ranked_right_and_ties_half(pixels: list[tuple[int, bool]]) -> None:
    scores, wrong = np.array([score / 4 for score, _ in pixels]), np.array([error for _, error in pixels])
    pairs = [(w > r) + (w == r) / 2 for w in scores[wrong] for r in scores[~wrong]]
    found = ErrorRanking.of(scores, wrong).auroc
    assert found == pytest.approx(np.mean(pairs)) if pairs else math.isnan(found)


def test_adding_rankings_counts_both_data_sets() -> None:
    rng = np.random.default_rng(0)
    uncertainty, wrong = rng.random((2, 100)), rng.random((2, 100)) < 0.3
    parts = [ErrorRanking.of(u, w) for u, w in zip(uncertainty, wrong, strict=True)]
    assert (parts[0] + parts[1]).auroc == ErrorRanking.of(uncertainty.ravel(), wrong.ravel()).auroc
