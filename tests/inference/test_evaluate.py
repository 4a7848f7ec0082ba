"""The evaluation of files against one calculated from the whole prediction at once."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import OutputError
from eseg_zoo.inference.evaluate import Evaluation, evaluate_files
from eseg_zoo.inference.maps import entropy
from eseg_zoo.inference.predict import Predictor, WantedMaps, predict_file
from eseg_zoo.inference.reliability import write_reliability_plot
from eseg_zoo.metrics import Confusion, Reliability

STACK = np.random.default_rng(0).integers(0, 255, (3, 40, 56), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 4, STACK.shape, dtype=np.uint8)  # 0: not labelled
LABELS[1] = 0


@pytest.fixture(scope="module")
def predictor(checkpoint: Checkpoint) -> Predictor:
    return Predictor(checkpoint, device="cpu")


@pytest.fixture
def evaluation(predictor: Predictor, tmp_path: Path) -> Evaluation:
    for name, array in {"image": STACK, "labels": LABELS}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", array, photometric="minisblack")
    pair = (tmp_path / "image.tif", tmp_path / "labels.tif")
    return evaluate_files(predictor, [pair], slices=None, unlabelled=None, axes=None)


def whole(checkpoint: Checkpoint, *, temperature: float | None = None) -> np.ndarray:
    """Probabilities (classes, 3, 40, 56) of the stack, straight from the network."""
    segmenter = copy.deepcopy(checkpoint.segmenter())
    if temperature is not None:
        segmenter.temperature.fill_(temperature)
    with torch.inference_mode():
        return segmenter(torch.from_numpy(STACK[:, None].astype(np.float32))).numpy().swapaxes(0, 1)


@pytest.mark.parametrize(("dtype", "told"), [("uint16", 1), ("int8", 1), ("uint8", 0)])
def test_another_type_than_that_of_training_is_told_once_for_a_file(
    predictor: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: str, told: int
) -> None:
    tifffile.imwrite(tmp_path / "image.tif", STACK.astype(dtype), photometric="minisblack")
    list(predict_file(predictor, tmp_path / "image.tif", tmp_path, axes=None, wanted=WantedMaps(), force=False))
    message = (
        f"{tmp_path / 'image.tif'} holds {dtype} pixels, but the model was trained on uint8: "
        "its map is only right if the values mean the same"
    )
    assert [record.getMessage() for record in caplog.records] == [message] * told
    tifffile.imwrite(tmp_path / "labels.tif", LABELS, photometric="minisblack")
    pair = (tmp_path / "image.tif", tmp_path / "labels.tif")
    evaluate_files(predictor, [pair], slices=None, unlabelled=None, axes=None)
    assert [record.getMessage() for record in caplog.records] == [message] * 2 * told


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
