"""Planted faults: each is caught by its measured number or its rule, and leaves no package behind.

`pytest tests/export/test_faults.py -rP` lists them, each with the message that a person would see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import yaml
from bioimageio.spec.model import v0_5 as spec
from eseg_export import package, rdf, to_onnx, to_torchscript
from eseg_export.package import export
from eseg_export.tiling import TilingAxis
from eseg_export.to_state_dict import to_state_dict
from eseg_export.tracing import folded_segmenter
from torch import Tensor

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ExportError
from eseg_zoo.model.architecture import AxisGeometry
from eseg_zoo.model.dense import DenseSegmenter

pytestmark = pytest.mark.slow  # every fault is an export

Plant = Callable[[pytest.MonkeyPatch], None]
Content = dict[str, bytes]


@dataclass(frozen=True)
class Fault:
    plant: Plant
    message: str  # regular expression


# ------------------------------------------------------------------------------------------- faults of the network


def one_weight_changed(segmenter: DenseSegmenter, checkpoint: Checkpoint) -> None:
    weight = segmenter.classifier.recognition.stem.weight
    assert isinstance(weight, Tensor)
    weight[0, 0, 0, 0] += 1e-2


def last_layer(segmenter: DenseSegmenter) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the layer that the correction is folded into."""
    weight, bias = segmenter.classifier.head.classify.weight, segmenter.classifier.head.classify.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return weight, bias


def classes_swapped(segmenter: DenseSegmenter, checkpoint: Checkpoint) -> None:
    for part in last_layer(segmenter):
        part.copy_(part[[1, 0, 2]].clone())


def wrong_mean(segmenter: DenseSegmenter, checkpoint: Checkpoint) -> None:
    segmenter.mean += 1


def not_a_number(segmenter: DenseSegmenter, checkpoint: Checkpoint) -> None:
    last_layer(segmenter)[1][0] = torch.nan


def correction_missing(segmenter: DenseSegmenter, checkpoint: Checkpoint) -> None:
    last_layer(segmenter)[1].sub_(checkpoint.segmenter_state["log_prior_shift"].flatten())


def temperature_missing(segmenter: DenseSegmenter, checkpoint: Checkpoint) -> None:
    weight, bias = last_layer(segmenter)
    temperature, shift = (checkpoint.segmenter_state[key] for key in ("temperature", "log_prior_shift"))
    weight.mul_(temperature)
    bias.sub_(shift.flatten()).mul_(temperature).add_(shift.flatten())


def in_network(fault: Callable[[DenseSegmenter, Checkpoint], None], module: object) -> Plant:
    """Let one of the exported formats be made of a faulty network."""

    def faulty(checkpoint: Checkpoint) -> DenseSegmenter:
        segmenter = folded_segmenter(checkpoint)
        fault(segmenter, checkpoint)
        return segmenter

    return lambda monkeypatch: monkeypatch.setattr(module, "folded_segmenter", faulty)


def in_graph(faulty: Callable[[DenseSegmenter, Tensor], Tensor], module: object) -> Plant:
    """Let one of the exported formats compute something else of the right network."""
    return lambda monkeypatch: monkeypatch.setattr(module, "_probabilities", faulty)


def logits_of_cells(segmenter: DenseSegmenter, padded: Tensor) -> Tensor:
    return segmenter.logits(padded)


def logits_of_image(segmenter: DenseSegmenter, image: Tensor) -> Tensor:
    return segmenter.cropped(segmenter.logits(segmenter.reflect(image)), image)


def output_uncropped(segmenter: DenseSegmenter, image: Tensor) -> Tensor:
    return segmenter.probabilities(segmenter.reflect(image))


MODULES = (("torchscript", to_torchscript), ("onnx", to_onnx))
DIFFERS = r"{} at 1 x 512 x 512 differs .* by [\w.-]+ in .* the limit is 1e-05"
NETWORK_FAULTS = {
    f"{fault.__name__}, {name}": Fault(in_network(fault, module), DIFFERS.format(name))
    for fault in (
        one_weight_changed, classes_swapped, wrong_mean, not_a_number, correction_missing, temperature_missing,
    )
    for name, module in MODULES
} | {
    f"softmax_missing, {name}": Fault(in_graph(fault, module), DIFFERS.format(name))
    for fault, (name, module) in zip((logits_of_cells, logits_of_image), MODULES, strict=True)
}  # fmt: skip


def state_dict_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_one(checkpoint: Checkpoint, folder: Path) -> object:
        state = {name: value for name, value in checkpoint.segmenter_state.items() if name != "std"}
        return to_state_dict(replace(checkpoint, segmenter_state=state), folder)

    monkeypatch.setattr(package, "to_state_dict", without_one)


# ------------------------------------------------------------------------------------------- faults of the package


def in_package(fault: Callable[[Content], None]) -> Plant:
    """Let the content of the package be changed after its files were hashed."""
    write = package._write_zip

    def faulty(content: Content, path: Path) -> None:
        fault(content)
        write(content, path)

    return lambda monkeypatch: monkeypatch.setattr(package, "_write_zip", faulty)


def file_missing(content: Content) -> None:
    del content["sample_input.tif"]


def file_truncated(content: Content) -> None:
    content["weights.pt"] = content["weights.pt"][:-1000]


def file_replaced(content: Content) -> None:
    content["weights.onnx"] = b"not a network"


def description_missing(content: Content) -> None:
    del content["rdf.yaml"]


def axis_renamed(content: Content) -> None:
    description = yaml.safe_load(content["rdf.yaml"])
    description["inputs"][0]["axes"][3]["id"] = "column"
    description["outputs"][0]["axes"][3]["size"]["axis_id"] = "column"
    content["rdf.yaml"] = yaml.safe_dump(description, sort_keys=False).encode()


def class_names_swapped(content: Content) -> None:
    description = yaml.safe_load(content["rdf.yaml"])
    names = description["outputs"][0]["axes"][1]["channel_names"]
    names[0], names[1] = names[1], names[0]
    content["rdf.yaml"] = yaml.safe_dump(description, sort_keys=False).encode()


def documentation_as_a_map(content: Content) -> None:
    description = yaml.safe_load(content["rdf.yaml"])
    description["documentation"] = {"source": "README.md"}
    content["rdf.yaml"] = yaml.safe_dump(description, sort_keys=False).encode()


def halo_below_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(axis: AxisGeometry) -> TilingAxis:
        return TilingAxis(halo=40, min=136, stride=axis.stride)

    monkeypatch.setattr(TilingAxis, "of", small)


def wrong_opset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_onnx, "OPSET", 18)


def softmax_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_softmax(*arguments: object) -> spec.OutputTensorDescr:
        return output(*arguments).model_copy(update={"postprocessing": [spec.SoftmaxDescr()]})  # type: ignore[arg-type]

    output = rdf._output
    monkeypatch.setattr(rdf, "_output", with_softmax)


FAULTS = NETWORK_FAULTS | {
    "output_uncropped, onnx": Fault(
        in_graph(output_uncropped, to_onnx),
        r"onnx at 1 x 301 x 411 returns shape 1 x 3 x [\d x]+, not 1 x 3 x 301 x 411",
    ),
    "state_dict_incomplete": Fault(
        state_dict_incomplete, r"pytorch_state_dict does not fit its architecture.*std"
    ),
    "halo_below_the_margin": Fault(
        halo_below_the_margin, r"the halo of y is 40; the network needs 59 pixels.*ilastik, deepImageJ"
    ),
    "axis_renamed": Fault(
        in_package(axis_renamed), r"input has an axis column; axes must be batch, .* \(stops ilastik\)"
    ),
    "class_names_swapped": Fault(
        in_package(class_names_swapped), r"the output's channels are cytoplasm, membrane, .* classes are membrane, cy"
    ),
    "documentation_as_a_map": Fault(
        in_package(documentation_as_a_map), r"documentation is a map .* \(stops ilastik, deepImageJ, QuPath, the zoo"
    ),
    "softmax_declared": Fault(
        softmax_declared, r"output asks for softmax, which deepImageJ skips or refuses"
    ),
    "wrong_opset": Fault(
        wrong_opset, r"weights\.onnx has opset 18 and IR version 8; the newest that deepImageJ loads are 17 and 8"
    ),
    "file_missing": Fault(
        in_package(file_missing), r"sample_input\.tif is named in rdf\.yaml and missing in the package"
    ),
    "file_truncated": Fault(
        in_package(file_truncated), r"weights\.pt has the sha256 \w{8}\.\.\., rdf\.yaml says \w{8}\.\.\.: it changed"
    ),
    "file_replaced": Fault(
        in_package(file_replaced), r"weights\.onnx has the sha256 \w{8}.*; weights\.onnx is not a readable ONNX file"
    ),
    "description_missing": Fault(
        in_package(description_missing), r"the package has no rdf\.yaml; it holds cover\.png, "
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_and_leaves_no_package(
    monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path, name: str
) -> None:
    FAULTS[name].plant(monkeypatch)
    with pytest.raises(ExportError, match=FAULTS[name].message) as caught:
        export(model_path, tmp_path / "package.zip")
    print(f"{name} -> {caught.value}")  # noqa: T201
    assert list(tmp_path.iterdir()) == []


def test_the_zoos_own_tests_are_the_last_net(monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(package, "refuse_faults", lambda _: None)
    in_package(file_replaced)(monkeypatch)
    with pytest.raises(ExportError, match=r"the zoo does not accept the package: .*SHA256 mismatch"):
        export(model_path, tmp_path / "package.zip")
    assert list(tmp_path.iterdir()) == []
