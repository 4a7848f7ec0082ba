"""Dice and the confusion matrix against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from eseg_zoo.metrics import Confusion, soft_dice


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
