"""A package of other software: a network of one image and one output, run by bioimageio.core as its description says.

Axes, sizes, blocks, halo, pre- and postprocessing are bioimageio.core's business. Here it is decided what is run, and
what a class map is. Only formats that cannot start programs are run: ONNX, which is a graph, and TorchScript, which is
a language of its own. Python code in a package is never executed, nor is anything fetched from elsewhere.
"""

from __future__ import annotations

import logging
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint, Class
from eseg_zoo.colours import class_colours
from eseg_zoo.errors import CheckpointError, EsegError, InputError, shown
from eseg_zoo.inference.network import preferred_device
from eseg_zoo.model.architecture import Geometry
from eseg_zoo.names import plain_name
from eseg_zoo.package_file import PackageFile, is_package

if TYPE_CHECKING:
    from bioimageio.core import PredictionPipeline
    from bioimageio.spec.model.v0_5 import InputTensorDescr, ModelDescr, OutputTensorDescr

log = logging.getLogger(__name__)

WeightsFormat = Literal["onnx", "torchscript"]
RUN: tuple[WeightsFormat, ...] = get_args(WeightsFormat)  # the weights that are run, the safer ones first
# Sides of a block, at most: of what the description lets grow.
BLOCK_SIDES = {2: 1024, 3: 96}
# Probabilities may leave 0..1 by so much, by rounding.
_ROUNDING = 1e-3
# Of the sum of all channels: from here on they leave room for something else.
_REST = 0.05
# What TorchScript has for reading and writing files: no network needs it.
_FILES = re.compile(rb"\b(from_file|save|load)\s*\(")
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}


@dataclass(frozen=True)
class ForeignNetwork:
    """What prediction must know of a network that was not trained here."""

    package: PackageFile
    weights_format: WeightsFormat
    dims: int
    channel_names: tuple[str, ...]
    classes: tuple[Class, ...]  # of equal frequency: nothing is known of it
    voxel_size: dict[str, float]
    digest: str

    architecture = None
    """Its shape is not known, so it is given whole sections."""
    image_dtype = ""
    """Its description says how pixels are to be converted."""

    @property
    def axes(self) -> str:
        """Axes of an image that states none."""
        return "zyx" if len(self.channel_names) == 1 else "zcyx" if self.dims == 2 else "czyx"

    @property
    def geometry(self) -> Geometry:
        """No margin and no grid: bioimageio.core sees to both."""
        return Geometry.of([[1] * self.dims], [[1] * self.dims])

    @classmethod
    def open(cls, package: PackageFile) -> ForeignNetwork:
        """Return the network of a package; raises `CheckpointError`, with the reason, where it cannot be run."""
        weights_format = _runnable(package)
        weights = package.read(package.at("weights", weights_format, "source"))
        if weights_format == "torchscript":
            _refuse_file_access(package.path, weights)
        with _described(package.path) as model:
            image, output = _tensors(package.path, model)
            read: Any = getattr(model.weights, weights_format)
            if str(read.sha256) != sha256(weights).hexdigest():
                raise CheckpointError(f"{package.path} has a description that can be read in two ways")
            network = cls(
                package,
                weights_format,
                _dims(package.path, image, output),
                _channels(image),
                _classes(package.path, _channels(output)),
                _voxel_size(image),
                sha256(weights + repr(package.rdf).encode()).hexdigest(),
            )
        _tell(network)
        return network

    def predictor(self, *, device: str | None, tta: bool) -> ForeignPredictor:
        """Return the network ready to predict; raises `InputError` for what it cannot do."""
        if tta:
            raise InputError(f"{self.package.path} is of other software, which --tta cannot average; leave it out")
        return ForeignPredictor(self, device)


class ForeignPredictor:
    """A network of other software on one device; it is given whole sections."""

    views = None

    def __init__(self, network: ForeignNetwork, device: str | None):
        self.checkpoint, self.device = network, preferred_device(device)
        self._pipeline = _pipeline(network, self.device.type)
        self._told = False

    def probabilities(self, section: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a value from 0 to 1 for each class (classes, *space) of a section (c, *space).

        Raises `InputError` where the network refuses the section, or returns something that is no segmentation of it.
        """
        found = self._scores(section)
        if len(found) > 1:
            found = found if _is_within(found) else _softmax(found)
            self._tell_rest(found)
            return found
        if not _is_within(found):
            raise InputError(
                f"{self.checkpoint.package.path} returns values from {found.min():.3g} to {found.max():.3g} in its one "
                "channel, which are no probabilities: there is no class map at a threshold of 0.5"
            )
        return np.concatenate([1 - found, found])

    def _tell_rest(self, found: NDArray[np.float32]) -> None:
        """Log, once, where the channels leave room for what is none of them."""
        if not self._told and np.abs(found.sum(0) - 1).max() > _REST:
            self._told = True
            log.warning(
                "%s: its channels do not add up to 1, so there is no background: each pixel gets the class of the "
                "highest, even where all are low.",
                self.checkpoint.package.path,
            )

    def _scores(self, section: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the output (channels, *space)."""
        name = self.checkpoint.package.path
        try:
            output = _run(self._pipeline, section)
        except Exception as error:  # whatever it is that the package makes bioimageio.core raise
            raise InputError(f"{name} cannot be applied to a section of {_sides(section)}: {_line(error)}") from error
        if output.shape[1:] != section.shape[1:]:
            raise InputError(f"{name} makes {_sides(output)} of {_sides(section)}; a class map has the image's size")
        return output


def open_model(path: Path) -> Checkpoint | ForeignNetwork:
    """Return the model in a file: a checkpoint, also out of a package of ours, or the network of another package.

    Raises `CheckpointError` for any other file.
    """
    if is_package(path):
        package = PackageFile.open(path)
        if not package.is_ours:
            return ForeignNetwork.open(package)
    return Checkpoint.load(path)


# ------------------------------------------------------------------------------------------------ what is run at all


def _runnable(package: PackageFile) -> WeightsFormat:
    """Return the format of weights that is run; raises `CheckpointError` where there is none."""
    weights = package.at("weights")
    formats = [name for name in weights if isinstance(name, str)] if isinstance(weights, Mapping) else []
    tensors = package.at("inputs")
    if isinstance(tensors, list) and any(isinstance(one, dict) and one.get("output_of") for one in tensors):
        raise CheckpointError(f"{package.path} takes what another model returns; a model must take an image")
    for name in RUN:
        if name in formats and not package.at("weights", name, "external_data"):
            return name
    why = "its network is Python code, which is never run" if "pytorch_state_dict" in formats else "they may run code"
    raise CheckpointError(
        f"{package.path} has weights as {shown(', '.join(formats) or 'nothing')}; {why}: a package is applied by its "
        f"weights as {' or '.join(RUN)}, in one file"
    )


def _refuse_file_access(path: Path, weights: bytes) -> None:
    """Raise `CheckpointError` for TorchScript that reads or writes files, and for what is none."""
    try:
        with zipfile.ZipFile(BytesIO(weights)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(weights):
                raise CheckpointError(f"{path}: its TorchScript is compressed, which torch never does")
            for name in archive.namelist():
                if name.endswith(".py") and (found := _FILES.search(archive.read(name))):
                    raise CheckpointError(
                        f"{path}: its TorchScript accesses files ({found[1].decode()}); it is not run"
                    )
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise CheckpointError(f"{path}: its TorchScript is damaged: {_line(error)}") from error


@contextmanager
def _described(path: Path) -> Iterator[ModelDescr]:
    """Give the description as bioimageio.spec understands it, as long as its files can be read.

    Nothing is asked of the network. What else is wrong with the package is a `CheckpointError`.
    """
    from bioimageio.spec import load_model_description

    try:
        # Opened here, file and archive, because bioimageio leaves both open.
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield load_model_description(archive, format_version="latest", perform_io_checks=False)
    except EsegError:
        raise
    except Exception as error:  # whatever it is that the package makes bioimageio raise
        raise CheckpointError(f"{path} cannot be read by bioimageio.core: {_line(error)}") from error


def _tensors(path: Path, model: ModelDescr) -> tuple[InputTensorDescr, OutputTensorDescr]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        counts = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise CheckpointError(f"{path} has {counts}; a class map is made of one image and one output")
    output = model.outputs[0]
    if not hasattr(output.data, "type") or hasattr(output.data, "values"):
        raise CheckpointError(f"{path} returns {shown(output.data)}, not a value for each class")
    return model.inputs[0], output


def _dims(path: Path, image: InputTensorDescr, output: OutputTensorDescr) -> int:
    """Return the spatial rank; raises `CheckpointError` for axes that an image or its class map does not have."""
    space = {"yx": 2, "zyx": 3}
    found = []
    for kind, tensor in (("takes", image), ("returns", output)):
        axes = [str(axis.id) for axis in tensor.axes]
        spatial = "".join(sorted((axis for axis in axes if axis in ("z", "y", "x")), reverse=True))
        if spatial not in space or set(axes) - {"batch", "channel", *spatial}:
            raise CheckpointError(f"{path} {kind} the axes {', '.join(axes)}; batch, channel, z, y and x are known")
        found.append(space[spatial])
    if found[0] != found[1]:
        raise CheckpointError(f"{path} takes {found[0]}D images, but returns {found[1]}D ones")
    return found[0]


# --------------------------------------------------------------------------------------------- what a class map is


def _channels(tensor: InputTensorDescr | OutputTensorDescr) -> tuple[str, ...]:
    """Return the names of the channels, one where there is no such axis."""
    names = [str(name) for axis in tensor.axes for name in getattr(axis, "channel_names", ())]
    return tuple(names or ["intensity"])


def _classes(path: Path, channels: tuple[str, ...]) -> tuple[Class, ...]:
    """Return a class for each channel, from label value 1. A single channel is a mask, and 0 the background."""
    names, first = channels, 1
    if len(channels) == 1:
        names, first = ("background", "foreground" if channels[0] in ("intensity", "background") else channels[0]), 0
    try:
        names = tuple(plain_name(name) for name in names)
    except ValueError as error:
        raise CheckpointError(f"{path}: the name of a channel {error}") from error
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path} has channels of the same name: {shown(', '.join(names))}")
    colours = class_colours(len(names))
    return tuple(
        Class(name, value, 1 / len(names), colour)
        for value, (name, colour) in enumerate(zip(names, colours, strict=True), start=first)
    )


def _voxel_size(image: InputTensorDescr) -> dict[str, float]:
    """Return the micrometres per pixel that the description states."""
    stated = {}
    for axis in image.axes:
        factor = _MICROMETRES.get(str(getattr(axis, "unit", None)))
        if factor is not None:
            stated[str(axis.id)] = float(getattr(axis, "scale", 1.0)) * factor
    return {axis: size for axis, size in stated.items() if axis in ("z", "y", "x")}


def _tell(network: ForeignNetwork) -> None:
    """Log what is run, and how a class map is made of what it returns."""
    names = [one.name for one in network.classes]
    if network.classes[0].value == 0:
        rule = f"{names[1]} is where its one channel is above 0.5"
    else:
        rule = f"each pixel gets the highest of its channels, {', '.join(names)}"
    path = network.package.path
    log.info("%s is of other software and run as %s: %s.", path, network.weights_format, rule)
    if network.weights_format == "torchscript":
        log.warning(
            "%s has no ONNX. Its TorchScript cannot start programs, but it is a program itself: run only what comes "
            "from people whom you trust.",
            path,
        )


def _is_within(scores: NDArray[np.float32]) -> bool:
    """Say whether all are from 0 to 1."""
    return bool(scores.min() >= -_ROUNDING and scores.max() <= 1 + _ROUNDING)


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores (channels, ...) beyond 0 to 1 as probabilities with the same order."""
    powers = np.exp(scores - scores.max(0))
    return np.asarray(powers / powers.sum(0), np.float32)


# ---------------------------------------------------------------------------------------------------- how it is run


def _pipeline(network: ForeignNetwork, device: str) -> PredictionPipeline:
    """Return bioimageio.core's pipeline with the weights loaded."""
    from bioimageio.core import _prediction_pipeline, create_prediction_pipeline

    # A bar of blocks would run across our own, and there is no option for that.
    names = vars(_prediction_pipeline)
    names["tqdm"] = partial(names["tqdm"], disable=True)
    if network.weights_format == "onnx":  # ONNX Runtime has words of its own
        device = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device, device)
    with _described(network.package.path) as model, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated")  # bioimageio.core loads with it
        return create_prediction_pipeline(model, devices=[device], weights_format=network.weights_format)


def _run(pipeline: PredictionPipeline, section: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the output (channels, *space) of a section (c, *space), predicted in blocks.

    A section that is smaller than a block, which bioimageio.core refuses, is continued by its reflection.
    """
    from bioimageio.core import Sample, Tensor

    model: Any = pipeline.model_description
    image, output = model.inputs[0], model.outputs[0]
    space, sides = "zyx"[1 - section.ndim :], section.shape[1:]
    growth, block = {}, {}
    for axis in image.axes:
        if str(axis.id) in space:
            wanted = min(sides[space.index(str(axis.id))], BLOCK_SIDES[len(space)])
            growth[image.id, axis.id] = _growth(axis.size, wanted)
            block[str(axis.id)] = _length(axis.size, growth[image.id, axis.id])
    beyond = [(0, max(block[axis] - side, 0)) for axis, side in zip(space, sides, strict=True)]
    pixels = np.pad(section, [(0, 0), *beyond], mode="symmetric")
    declared = {str(axis.id) for axis in image.axes}
    tensor: Any = Tensor(pixels[None], dims=("batch", "channel", *space))
    tensor = tensor[{axis: 0 for axis in ("batch", "channel") if axis not in declared}]
    sample = Sample(members={image.id: tensor}, stat={}, id="section")
    found: Any = pipeline.predict_sample_with_blocking(sample, ns=growth).members[output.id]
    values = np.asarray(found.transpose(("batch", "channel", *space)).to_numpy()[0], np.float32)
    smaller = (slice(0, side + values.shape[1 + n] - pixels.shape[1 + n]) for n, side in enumerate(sides))
    return values[(slice(None), *smaller)]


def _growth(size: Any, wanted: int) -> int:
    """Return by how many steps a side grows, so that it is no longer than wanted; 0 for a fixed one."""
    return max((wanted - size.min) // size.step, 0) if hasattr(size, "step") else 0


def _length(size: Any, growth: int) -> int:
    return int(size.get_size(growth)) if hasattr(size, "step") else int(size)


def _sides(section: NDArray[np.float32]) -> str:
    return " x ".join(str(side) for side in section.shape[1:])


def _line(error: BaseException) -> str:
    """Return what an error of other software says, on one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 200 else f"{said[:197]}..."
