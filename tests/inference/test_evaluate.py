"""The evaluation of files against one calculated from the whole prediction at once."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import InputError, OutputError
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.evaluate import Evaluation
from eseg_zoo.inference.reliability import write_reliability_plot
from eseg_zoo.labels.landmarks import landmarks_of
from eseg_zoo.metrics import Confusion, Reliability, entropy
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import sections_of

STACK = np.random.default_rng(0).integers(0, 255, (3, 40, 56), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 4, STACK.shape, dtype=np.uint8)  # 0: not labelled
LABELS[1] = 0


@pytest.fixture(scope="module")
def evaluation(checkpoint: Checkpoint) -> Evaluation:
    return Model(checkpoint).evaluate(STACK, LABELS, axes="zyx", device="cpu")


def whole(checkpoint: Checkpoint, *, temperature: float | None = None) -> np.ndarray:
    """Probabilities (classes, 3, 40, 56) of the stack, straight from the network."""
    segmenter = copy.deepcopy(checkpoint.segmenter())
    if temperature is not None:
        segmenter.temperature.fill_(temperature)
    with torch.inference_mode():
        return segmenter(torch.from_numpy(STACK[:, None].astype(np.float32))).numpy().swapaxes(0, 1)


@pytest.mark.parametrize("tile", [8, 16, 1000])
def test_the_figures_do_not_depend_on_the_tiles(checkpoint: Checkpoint, evaluation: Evaluation, tile: int) -> None:
    tiled = Model(checkpoint).evaluate(STACK, LABELS, axes="zyx", tile=tile, device="cpu")
    np.testing.assert_array_equal(tiled.confusion.counts, evaluation.confusion.counts)
    assert tiled.reliability.error == pytest.approx(evaluation.reliability.error, abs=1e-6)


def test_chosen_slices_are_judged_alone(checkpoint: Checkpoint, evaluation: Evaluation) -> None:
    first, last = (
        Model(checkpoint).evaluate(STACK, LABELS, axes="zyx", slices=slices, device="cpu") for slices in ("0-1", "2-2")
    )
    np.testing.assert_array_equal((first + last).confusion.counts, evaluation.confusion.counts)
    with pytest.raises(InputError, match="no pixel is labelled"):
        Model(checkpoint).evaluate(STACK, LABELS, axes="zyx", slices="1-1", device="cpu")


def test_the_figures_over_sections_are_those_of_the_whole_stack(checkpoint: Checkpoint, evaluation: Evaluation) -> None:
    truth, probabilities = LABELS.astype(int) - 1, whole(checkpoint)
    expected = Confusion.of(truth, probabilities.argmax(0), classes=3)
    np.testing.assert_array_equal(evaluation.confusion.counts, expected.counts)
    assert evaluation.reliability.error == pytest.approx(Reliability.of(truth, probabilities).error, abs=1e-5)
    labelled = truth >= 0
    wrong = (probabilities.argmax(0) != truth)[labelled]
    assert evaluation.ranking.auroc == pytest.approx(roc_auc_score(wrong, entropy(probabilities)[labelled]), abs=1e-3)


def test_the_error_without_the_temperature_is_that_of_a_network_without_one(
    checkpoint: Checkpoint, evaluation: Evaluation
) -> None:
    expected = Reliability.of(LABELS.astype(int) - 1, whole(checkpoint, temperature=1)).error
    assert evaluation.reliability_without_temperature.error == pytest.approx(expected, abs=1e-4)
    assert abs(expected - evaluation.reliability.error) > 0.01  # the temperature of this checkpoint is 1.7


def test_the_figures_are_json_and_repeat_the_evaluation(evaluation: Evaluation) -> None:
    figures = json.loads(json.dumps(evaluation.figures(), allow_nan=False))
    assert figures["calibration_error"] == evaluation.reliability.error
    assert figures["uncertainty_auroc"] == evaluation.ranking.auroc
    assert sum(bin_["pixels"] for bin_ in figures["reliability"]) == (LABELS > 0).sum()
    error = sum(b["pixels"] * abs(b["accuracy"] - b["confidence"]) for b in figures["reliability"])
    assert error / (LABELS > 0).sum() == pytest.approx(figures["calibration_error"])


def test_the_reliability_plot_is_a_picture_and_not_overwritten(evaluation: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "plots" / "reliability.png"
    write_reliability_plot(path, evaluation, force=False)
    with Image.open(path) as picture:
        assert min(picture.size) > 400
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    with pytest.raises(OutputError, match="exists already"):
        write_reliability_plot(path, evaluation, force=False)


def test_labels_that_the_model_was_trained_on_are_told(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    labelled = np.argwhere(LABELS[2] > 0)[::40]
    anchors = AnchorSet.of(np.insert(labelled, 0, 2, axis=1), LABELS[2][tuple(labelled.T)].astype(np.int64) - 1)
    landmarks = landmarks_of(sections_of(open_image(STACK, axes="zyx"), 2), anchors)
    trained = Model(replace(checkpoint, training=replace(checkpoint.training, landmarks=landmarks)))
    unseen = trained.evaluate(STACK, LABELS, axes="zyx", slices="0-1", device="cpu")
    assert not unseen.familiar
    assert not unseen.figures()["trained_on"]
    assert not caplog.messages
    both = trained.evaluate(STACK, LABELS, axes="zyx", tile=16, device="cpu")
    assert both.familiar == set(range(len(landmarks)))
    assert both.figures()["trained_on"]
    (line,) = caplog.messages
    count = len(landmarks)
    assert line == (
        f"The model was trained on some of these labels ({count} of the {count} that it remembers), so the figures "
        "are too good; evaluate it on other images or slices"
    )
