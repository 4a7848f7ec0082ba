"""Planted faults: each is caught by its measured number, and leaves no package behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from eseg_export import package, to_onnx, to_torchscript
from eseg_export.package import export_package
from torch import Tensor

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ExportError
from eseg_zoo.model.dense import DenseSegmenter

Fault = Callable[[DenseSegmenter], None]


def one_weight_changed(segmenter: DenseSegmenter) -> None:
    weight = segmenter.classifier.recognition.stem.weight
    assert isinstance(weight, Tensor)
    weight[0, 0, 0, 0] += 0.1


def softmax_missing(segmenter: DenseSegmenter) -> None:
    def logits(padded: Tensor) -> Tensor:
        result: Tensor = segmenter.classifier(segmenter.normalise(padded)) + segmenter.log_prior_shift
        return result

    segmenter.probabilities = logits  # type: ignore[method-assign]


def classes_swapped(segmenter: DenseSegmenter) -> None:
    right = segmenter.probabilities
    segmenter.probabilities = lambda padded: right(padded)[:, [1, 0, 2]]  # type: ignore[method-assign]


def not_a_number(segmenter: DenseSegmenter) -> None:
    segmenter.log_prior_shift[0, 0] = torch.nan


def correction_missing(segmenter: DenseSegmenter) -> None:
    segmenter.log_prior_shift.zero_()


def temperature_missing(segmenter: DenseSegmenter) -> None:
    segmenter.temperature.fill_(1)


FAULTS = [one_weight_changed, softmax_missing, classes_swapped, not_a_number, correction_missing, temperature_missing]


def plant(monkeypatch: pytest.MonkeyPatch, fault: Fault, module: object) -> None:
    folded = to_onnx.folded_segmenter

    def faulty(checkpoint: Checkpoint) -> DenseSegmenter:
        segmenter = folded(checkpoint)
        fault(segmenter)
        return segmenter

    monkeypatch.setattr(module, "folded_segmenter", faulty)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("module", [to_torchscript, to_onnx], ids=["torchscript", "onnx"])
def test_a_planted_fault_is_caught_and_leaves_no_package(
    monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path, fault: Fault, module: object
) -> None:
    plant(monkeypatch, fault, module)
    name = "onnx" if module is to_onnx else "torchscript"
    with pytest.raises(ExportError, match=rf"{name} at 1 x 512 x 512 differs .* by [\w.-]+ in .* the limit is 1e-05"):
        export_package(model_path, tmp_path / "package.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_shape_is_caught_by_its_shape(
    monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path
) -> None:
    def uncropped(segmenter: DenseSegmenter) -> None:
        segmenter.forward = lambda image: segmenter.probabilities(segmenter.reflect(image))  # type: ignore[method-assign]

    plant(monkeypatch, uncropped, to_onnx)
    with pytest.raises(
        ExportError, match=r"onnx at 1 x 301 x 411 returns shape 1 x 3 x [\d x]+, not 1 x 3 x 301 x 411"
    ):
        export_package(model_path, tmp_path / "package.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_state_dict_that_does_not_fit_its_architecture_is_caught(
    monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path
) -> None:
    write = package.to_state_dict

    def without_one(checkpoint: Checkpoint, folder: Path) -> object:
        state = {name: value for name, value in checkpoint.segmenter_state.items() if name != "std"}
        return write(replace(checkpoint, segmenter_state=state), folder)

    monkeypatch.setattr(package, "to_state_dict", without_one)
    with pytest.raises(ExportError, match=r"pytorch_state_dict does not fit its architecture.*std"):
        export_package(model_path, tmp_path / "package.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_fails_the_zoos_own_test_is_not_left(
    monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path
) -> None:
    write = package._write_zip

    def other_weights(content: dict[str, bytes], path: Path) -> None:
        write(content | {"weights.onnx": b"not a network"}, path)

    monkeypatch.setattr(package, "_write_zip", other_weights)
    with pytest.raises(ExportError, match=r"the zoo does not accept the package: .*SHA256 mismatch"):
        export_package(model_path, tmp_path / "package.zip")
    assert list(tmp_path.iterdir()) == []
