"""Tiny packages as other software makes them: a pointwise network, so that what it returns is known by hand."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from bioimageio.spec import ValidationContext, get_package_content
from bioimageio.spec.common import FileDescr
from bioimageio.spec.model import v0_5 as spec
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

NAMES = ("dark", "middle", "bright")


class Pointwise(torch.nn.Module):
    """Channel k is k * x, and then their softmax; of one channel the sigmoid of x."""

    def __init__(self, channels: int, dims: int, final: str):
        super().__init__()
        self.scale = torch.nn.Buffer(
            torch.arange(1.0, channels + 1).view(1, channels, *[1] * dims) - (channels + 1) / 2
        )
        if channels == 1:
            self.scale.add_(1)
        self.final = final

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * self.scale
        if self.final == "none":
            return y
        return torch.softmax(y, 1) if self.final == "softmax" else torch.sigmoid(y)


def by_hand(image: NDArray[Any], names: tuple[str, ...] = NAMES, final: str = "softmax") -> NDArray[np.float32]:
    """Return what the network makes of a section (*space) that was standardised before: (channels, *space)."""
    x = (image - image.mean()) / (image.std() + 1e-6)
    scale = np.arange(1.0, len(names) + 1) - (len(names) + 1) / 2 + (len(names) == 1)
    y = scale.reshape(-1, *[1] * image.ndim) * x
    powers = np.exp(y)
    return np.asarray(powers / powers.sum(0) if final == "softmax" else 1 / (1 + np.exp(-y)), np.float32)


def write_onnx(path: Path, network: Pointwise, dims: int) -> None:
    """Write the same network as ONNX, put together by hand."""
    scale = numpy_helper.from_array(network.scale.numpy(), "scale")
    final = {"softmax": [helper.make_node("Softmax", ["y"], ["output"], axis=1)]}.get(
        network.final, [helper.make_node("Sigmoid" if network.final == "sigmoid" else "Identity", ["y"], ["output"])]
    )
    sides = [f"side{axis}" for axis in range(dims)]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input", "scale"], ["y"]), *final],
        "pointwise",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["b", 1, *sides])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", network.scale.shape[1], *sides])],
        [scale],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_script(path: Path, network: torch.nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network).save(str(path))


def package(
    path: Path, *, weights: str = "onnx", script: torch.nn.Module | None = None, names: tuple[str, ...] = NAMES,
    final: str = "softmax", dims: int = 2, size: Any = None, halo: int = 0, architecture: str = "", **changes: Any,
) -> Path:  # fmt: skip
    """Write a package; `changes` replace fields of its description, `script` is run in place of the network."""
    with ValidationContext(perform_io_checks=False):  # which would leave files open
        return _package(path, weights, script, names, final, dims, size, halo, architecture, changes)


def _package(
    path: Path, weights: str, script: torch.nn.Module | None, names: tuple[str, ...], final: str, dims: int, size: Any,
    halo: int, architecture: str, changes: Mapping[str, Any],
) -> Path:  # fmt: skip
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    network, space = Pointwise(len(names), dims, final), "zyx"[-dims:]
    example = torch.rand((1, 1, *[32] * dims), generator=torch.Generator().manual_seed(0))
    np.save(folder / "input.npy", example.numpy())
    np.save(folder / "output.npy", network(example).numpy())
    (folder / "README.md").write_text("# A model of others\n")
    files = {name: FileDescr(**file_of(folder / name)) for name in ("input.npy", "output.npy", "README.md")}
    size = size or spec.ParameterizedSize(min=16, step=4)
    described: dict[str, Any] = {
        "name": "A model of others",
        "description": "pointwise",
        "authors": [spec.Author(name="A")],
        "license": "MIT",
        "cite": [spec.CiteEntry(text="a", url="https://example.org")],
        "documentation": files["README.md"],
        "inputs": [
            spec.InputTensorDescr(
                id="input",
                axes=[spec.BatchAxis(), spec.ChannelAxis(channel_names=["raw"])]
                + [spec.SpaceInputAxis(id=axis, size=size, unit="nanometer", scale=8) for axis in space],
                test_tensor=files["input.npy"],
                preprocessing=[spec.ZeroMeanUnitVarianceDescr(kwargs={"axes": ["channel", *space]})],
            )
        ],
        "outputs": [
            spec.OutputTensorDescr(
                id="output",
                axes=[spec.BatchAxis(), spec.ChannelAxis(channel_names=list(names))]
                + [_returned(axis, halo) for axis in space],
                test_tensor=files["output.npy"],
            )
        ],
        "weights": _weights(folder, weights, script or network, dims, architecture),
    }
    content = get_package_content(spec.ModelDescr(**{**described, **changes}), bioimageio_yaml_file_name="rdf.yaml")
    with zipfile.ZipFile(path, "w") as archive:  # bioimageio's own function leaves files open
        for name, one in content.items():
            data = yaml.safe_dump(one) if isinstance(one, dict) else Path(str(one.source)).read_bytes()
            archive.writestr(name, data)
    return path


def file_of(path: Path) -> dict[str, Any]:
    """Return how a description names a file."""
    return {"source": path, "sha256": sha256(path.read_bytes()).hexdigest()}


def _returned(axis: str, halo: int) -> Any:
    size = spec.SizeReference(tensor_id="input", axis_id=axis)
    if halo:
        return spec.SpaceOutputAxisWithHalo(id=axis, size=size, halo=halo, unit="nanometer", scale=8)
    return spec.SpaceOutputAxis(id=axis, size=size, unit="nanometer", scale=8)


def _weights(folder: Path, kind: str, network: Any, dims: int, architecture: str) -> spec.WeightsDescr:
    if kind == "onnx":
        write_onnx(folder / "w.onnx", network, dims)
        return spec.WeightsDescr(onnx=spec.OnnxWeightsDescr(**file_of(folder / "w.onnx"), opset_version=17))
    if kind == "torchscript":
        write_script(folder / "w.pt", network)
        traced = spec.TorchscriptWeightsDescr(**file_of(folder / "w.pt"), pytorch_version="2.5.0")
        return spec.WeightsDescr(torchscript=traced)
    (folder / "net.py").write_text(architecture)
    torch.save(network.state_dict(), folder / "w.pt")
    source = spec.ArchitectureFromFileDescr(**file_of(folder / "net.py"), callable="Net")
    described = spec.PytorchStateDictWeightsDescr(source=folder / "w.pt", architecture=source, pytorch_version="2.5.0")
    return spec.WeightsDescr(pytorch_state_dict=described)


def edited(path: Path, *, files: Mapping[str, bytes] | None = None, **fields: Any) -> Path:
    """Replace files and fields of the description in a package, as somebody who means harm would; None removes one."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | dict(files or {})
    name = next(one for one in content if one in ("rdf.yaml", "bioimageio.yaml"))
    rdf = {key: one for key, one in (yaml.safe_load(content[name]) | fields).items() if one is not None}
    with zipfile.ZipFile(path, "w") as archive:
        for one, data in (content | {name: yaml.safe_dump(rdf).encode()}).items():
            archive.writestr(one, data)
    return path
