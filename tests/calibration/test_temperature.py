"""The temperature on logits whose right temperature is known, and the biases."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from eseg_zoo.calibration import temperature
from eseg_zoo.calibration.temperature import label_weights


def fit_temperature(
    logits: NDArray[np.float64], labels: NDArray[np.int64], strokes: NDArray[np.int64] | None = None
) -> float:
    return temperature.fit_temperature(logits, labels, label_weights(labels, strokes))


def fit_biases(
    logits: NDArray[np.float64], labels: NDArray[np.int64], strokes: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    return temperature.fit_biases(logits, labels, label_weights(labels, strokes))


def labelled_logits(pixels: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits, and labels drawn from their softmax: the temperature is 1."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (pixels, 3))
    return logits, (rng.random((pixels, 1)) > softmax(logits, axis=1).cumsum(1)[:, :2]).sum(1)


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_temperature_takes_back_a_factor_on_the_logits(factor: float) -> None:
    logits, labels = labelled_logits()
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.03)


def test_without_labels_the_temperature_is_1() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1


def test_one_confident_mistake_does_not_flatten_everything() -> None:
    assert fit_temperature(np.array([[20.0, 0]]), np.array([1])) < 10


def test_the_biases_take_back_what_was_added_to_the_logits_of_a_class() -> None:
    logits, labels = labelled_logits()
    found = fit_biases(logits - [0.5, 0, -1], labels)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    # Drawn balanced, so weighting each class the same leaves the biases as they are.
    np.testing.assert_allclose(found - found[1], [0.5, 0, -1], atol=0.06)


def test_how_often_a_class_is_labelled_says_nothing_of_its_bias() -> None:
    logits, labels = labelled_logits()
    kept = (labels != 0) | (np.arange(len(labels)) % 4 == 0)
    np.testing.assert_allclose(fit_biases(logits[kept], labels[kept]), fit_biases(logits, labels), atol=0.05)


def test_few_labels_move_the_biases_little_and_none_not_at_all() -> None:
    assert np.abs(fit_biases(np.array([[9.0, 0, 0]]), np.array([1]))).max() < 0.2
    np.testing.assert_array_equal(fit_biases(np.zeros((0, 3)), np.zeros(0, int)), np.zeros(3))


def test_a_class_without_labels_gets_no_bias_and_the_others_theirs() -> None:
    logits, labels = labelled_logits()
    there = labels != 2
    found = fit_biases(logits[there] - [1, 0, 0], labels[there])
    assert found[2] == 0
    assert found[0] + found[1] == pytest.approx(0, abs=1e-9)
    # As if the third class did not exist: among the other two their logits say everything.
    np.testing.assert_allclose(found[:2], fit_biases(logits[there, :2] - [1, 0], labels[there]), atol=1e-9)
    assert found[0] - found[1] == pytest.approx(1, abs=0.1)


def test_labels_of_one_class_give_no_bias() -> None:
    np.testing.assert_array_equal(fit_biases(np.array([[0.0, 3], [0, 4]] * 50), np.zeros(100, int)), np.zeros(2))


@pytest.mark.parametrize("mistakes", [0, 1])
def test_one_label_of_a_class_among_hundreds_hardly_moves_the_biases(mistakes: int) -> None:
    logits, labels = labelled_logits(2000)
    common = np.flatnonzero(labels < 2)
    rare = np.flatnonzero((labels == 2) & ((logits.argmax(1) != 2) == mistakes))[0]
    chosen = [*common, rare]
    assert np.abs(fit_biases(logits[chosen], labels[chosen])).max() < 0.1


def test_the_pixels_of_a_stroke_say_as_much_as_one_label() -> None:
    np.testing.assert_allclose(label_weights(np.array([0, 0, 0, 1]), np.array([7, 7, 7, 2])), [1 / 3, 1 / 3, 1 / 3, 1])
    np.testing.assert_array_equal(label_weights(np.array([0, 1]), None), [1, 1])
    logits, labels = labelled_logits(40)
    often, strokes = np.repeat(np.arange(40), 25), np.repeat(np.arange(40), 25)
    for fit in (fit_temperature, fit_biases):
        of_strokes = fit(3 * logits[often], labels[often], strokes)
        np.testing.assert_allclose(of_strokes, fit(3 * logits, labels), rtol=1e-4, atol=1e-6)
        assert np.abs(of_strokes - fit(3 * logits[often], labels[often])).max() > 0.01


def test_the_fewer_strokes_the_closer_is_the_temperature_to_1() -> None:
    logits, labels = labelled_logits(900)
    found = [fit_temperature(3 * logits, labels, np.arange(900) // each) for each in (300, 30, 3, 1)]
    assert 1 < found[0] < found[1] < found[2] < found[3]
    assert found[3] == pytest.approx(3, rel=0.15)
    assert found[0] < 2
