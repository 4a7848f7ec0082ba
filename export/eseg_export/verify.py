"""Proof that every weights file equals the checkpoint: names, then shapes, then values; then the zoo's own tests."""

from __future__ import annotations

import runpy
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import torch
from bioimageio.core import test_description
from bioimageio.core.common import SupportedWeightsFormat
from bioimageio.spec import InvalidDescr, ValidationSummary, load_description
from bioimageio.spec._internal.constants import KNOWN_GITHUB_USERS
from bioimageio.spec._internal.field_validation import validate_github_user
from bioimageio.spec.model.v0_5 import (
    ArchitectureFromFileDescr,
    OnnxWeightsDescr,
    PytorchStateDictWeightsDescr,
    TorchscriptWeightsDescr,
    WeightsDescr,
)
from torch import Tensor

from eseg_export.sample import image_of_size
from eseg_export.to_onnx import INPUT, OUTPUT
from eseg_export.tracing import known_warnings
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ExportError

# Of a probability. Sums in another order change it by 1e-7 in float32, and by 2e-6 where the network is very sure; a
# wrong weight, class or axis by 1e-3 and more.
TOLERANCE = 1e-5

# (batch, *space): large, more than a tile of TorchScript, awkward, smaller than the margin, and two images at once. The
# first is timed.
SIZES = {
    2: ((1, 512, 512), (1, 640, 640), (1, 301, 411), (1, 77, 64), (1, 40, 40), (2, 40, 40)),
    3: ((1, 32, 128, 128), (1, 13, 41, 30), (1, 3, 8, 8), (2, 8, 16, 16)),
}
_TIMED_RUNS = 3
FORMATS: tuple[SupportedWeightsFormat, ...] = ("pytorch_state_dict", "torchscript", "onnx")

Runtime = Callable[[Tensor], Tensor]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measurement:
    """What was measured of one weights file."""

    weights_format: str
    difference: float  # largest difference of a probability from the checkpoint's, over all sizes
    seconds: float  # per million pixels (or voxels), on one thread


def measure(checkpoint: Checkpoint, weights: WeightsDescr, progress: Progress) -> tuple[Measurement, ...]:
    """Compare every weights file, loaded from disk, with the checkpoint; raises `ExportError` for any difference."""
    files = weights.available_formats
    with one_thread(), known_warnings(), torch.inference_mode():
        runtimes: dict[str, Runtime] = {name: load_runtime(files[name]) for name in FORMATS}
        differences = dict.fromkeys(runtimes, 0.0)
        segmenter = checkpoint.segmenter()
        for size in SIZES[checkpoint.dims]:
            progress(f"comparing {', '.join(runtimes)} with the checkpoint at {_text(size)}")
            image = _batch(checkpoint, size)
            expected = segmenter(image)
            for name, runtime in runtimes.items():
                difference = _difference(name, size, runtime(image), expected)
                differences[name] = max(differences[name], difference)
        progress("timing on one thread")
        timed = _batch(checkpoint, SIZES[checkpoint.dims][0])
        return tuple(Measurement(name, differences[name], _seconds(runtimes[name], timed)) for name in runtimes)


def run_zoo_tests(package: Path) -> None:
    """Run bioimageio's tests of the finished package with every format; raises `ExportError` unless all pass."""
    # Opened here, file and archive, because bioimageio leaves both open.
    with package.open("rb") as file, zipfile.ZipFile(file) as archive, known_warnings():
        model = load_description(archive, perform_io_checks=True)
        if isinstance(model, InvalidDescr):
            raise ExportError(f"the zoo does not accept the package: {_reasons(model.validation_summary)}")
        for name in FORMATS:
            # On the CPU, and for ONNX Runtime in its own word: it tries every GPU it was built for, and complains.
            device = "CPUExecutionProvider" if name == "onnx" else "cpu"
            summary = test_description(model, weight_format=name, devices=[device])
            if summary.status != "passed":
                raise ExportError(f"the zoo's own test of {name} says {summary.status}: {_reasons(summary)}")


def ask_github(users: Sequence[str]) -> str | None:
    """Ask GitHub whether the users exist, as the zoo's tests would; raises `ExportError` when one does not.

    Returns what could not be asked: without network the zoo's tests would end here, so they are told not to ask.
    """
    unasked = []
    for user in users:
        try:
            validate_github_user(user)
        except ValueError as error:
            raise ExportError(f"github_user: {error}") from error
        except httpx.RequestError:
            unasked.append(user)
            KNOWN_GITHUB_USERS.add(user.lower())
    if not unasked:
        return None
    return f"without network GitHub could not be asked for {', '.join(unasked)}; `bioimageio test` asks, and fails here"


def load_runtime(description: object) -> Runtime:
    """Return the network in one weights file, run by its own runtime; checks names on the way."""
    match description:
        case PytorchStateDictWeightsDescr():
            return _state_dict(description)
        case TorchscriptWeightsDescr():
            return _torchscript(description)
        case OnnxWeightsDescr():
            return _onnx(description)
        case _:
            raise AssertionError(f"{description} has no runtime here")


def _state_dict(description: PytorchStateDictWeightsDescr) -> Runtime:
    architecture = description.architecture
    assert isinstance(architecture, ArchitectureFromFileDescr)
    network = runpy.run_path(str(architecture.source))[str(architecture.callable)](**architecture.kwargs)
    try:
        network.load_state_dict(torch.load(str(description.source), map_location="cpu", weights_only=True))
    except RuntimeError as error:  # names or shapes
        raise ExportError(
            f"pytorch_state_dict does not fit its architecture: {' '.join(str(error).split())}"
        ) from error
    runtime: Runtime = network.eval()
    return runtime


def _torchscript(description: TorchscriptWeightsDescr) -> Runtime:
    network = torch.jit.load(str(description.source), map_location="cpu")  # type: ignore[no-untyped-call]
    arguments = [argument.name for argument in network.forward.schema.arguments[1:]]
    if len(arguments) != 1:
        raise ExportError(f"torchscript takes {', '.join(arguments) or 'nothing'}; it must take one image")
    runtime: Runtime = network
    return runtime


def _onnx(description: OnnxWeightsDescr) -> Runtime:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(description.source), options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in (*session.get_inputs(), *session.get_outputs())]
    if names != [INPUT, OUTPUT]:
        raise ExportError(f"onnx has the tensors {', '.join(names)}; they must be {INPUT}, {OUTPUT}")
    return lambda image: torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])


def _batch(checkpoint: Checkpoint, size: tuple[int, ...]) -> Tensor:
    """Return `size[0]` different images of the checkpoint's sample."""
    image = image_of_size(checkpoint, size[1:])
    return torch.from_numpy(np.concatenate([np.flip(image, -1) if i % 2 else image for i in range(size[0])]))


def _difference(name: str, size: tuple[int, ...], found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        raise ExportError(f"{name} at {_text(size)} returns shape {_text(found.shape)}, not {_text(expected.shape)}")
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE:  # also true for NaN
        raise ExportError(
            f"{name} at {_text(size)} differs from the checkpoint by {difference:.3g} in a probability;"
            f" the limit is {TOLERANCE:g}"
        )
    return difference


def _seconds(runtime: Runtime, image: Tensor) -> float:
    durations = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        runtime(image)
        durations.append(time.perf_counter() - start)
    return min(durations) / image[:, 0].numel() * 1e6


def _reasons(summary: ValidationSummary) -> str:
    errors = [f"{'.'.join(map(str, entry.loc))}: {entry.msg}" for detail in summary.details for entry in detail.errors]
    return " ".join("; ".join(errors).split())


def _text(size: tuple[int, ...] | torch.Size) -> str:
    return " x ".join(map(str, size))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
