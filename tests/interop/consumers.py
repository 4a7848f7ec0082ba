"""The consumers: each runs a probe in its own environment and its answer is compared with the checkpoint."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from eseg_export.sample import image_of_size
from eseg_export.verify import FORMATS

from interop.cases import Cases, Subject, network_cases, package_cases, predicted, tiled_cases
from interop.compare import Array, Result, Row, Verdict, compare
from interop.environments import (
    Environment,
    Missing,
    debian_torch,
    find_python,
    run,
    this_python,
    virtual_environment,
)

PROBES = Path(__file__).parent / "probes"
TIMEOUT = 300  # seconds for one consumer's answer
ILASTIK_FORMATS = ("torchscript", "pytorch_state_dict")  # in the order of its preference; it never takes ONNX
# Off the grid a tile cuts the network's cells elsewhere; of the label map this much must not notice. The project's
# requirement is 2 % of changed labels at every offset; benchmarks/offsets.py measures 1 % on average.
SAME_LABELS = 0.98


@dataclass(frozen=True)
class Consumer:
    """A name, where it runs, and how it is asked."""

    name: str
    environment: Environment | Missing
    ask: Callable[[Environment, Subject, Path], Verdict]

    def row(self, subject: Subject) -> Row:
        """Return its verdict on the model; skipped means, and only means, that it is missing."""
        if isinstance(self.environment, Missing):
            return Row(self.name, "", subject.name, Result.SKIPPED, None, self.environment.reason)
        with tempfile.TemporaryDirectory() as folder:  # its own: an answer of the consumer before is no answer
            verdict = self.ask(self.environment, subject, Path(folder))
        return Row(
            self.name, self.environment.version, subject.name, verdict.result, verdict.difference, verdict.reason
        )


def consumers(folder: Path) -> Iterator[Consumer]:
    """Yield every consumer, with its environment made in `folder`, or missing."""
    yield Consumer("libtorch, of deepImageJ: weights.pt", debian_torch(), ask_libtorch)
    for version in ("1.12.1", "1.13.1"):
        found = find_python("3.10")  # the newest that has wheels of them
        if isinstance(found, Path):
            environment = virtual_environment(f"onnxruntime-{version}", folder, version, python=found)
        else:
            environment = Missing(f"onnxruntime {version}: {found.reason}")
        yield Consumer("ONNX Runtime, of deepImageJ: weights.onnx", environment, ask_onnx_runtime)
    lent = f"torch {torch.__version__}"
    python = Path(sys.executable).resolve()
    ilastik = virtual_environment(
        "ilastik", folder, f"core 0.10.2, spec 0.5.9.1, {lent}", python=python, lend_torch=True
    )
    yield Consumer("ilastik's loader: one format, tile with halo", ilastik, ask_ilastik)
    zoo = virtual_environment("zoo", folder, f"core 0.10.4, spec 0.5.10.2, {lent}", python=python, lend_torch=True)
    yield Consumer("the zoo's test runner: every format", zoo, ask_test)
    core = importlib.metadata.version("bioimageio.core")
    here = this_python(f"core {core}, spec {importlib.metadata.version('bioimageio.spec')}, {lent}")
    yield Consumer("bioimageio test --weight-format all", here, ask_test)
    yield Consumer("bioimageio predict-block-artifacts, on the grid", here, ask_block_artifacts)
    yield Consumer("bioimageio predict --blockwise, off the grid", here, ask_blockwise)


def ask_libtorch(environment: Environment, subject: Subject, folder: Path) -> Verdict:
    return _probe(environment, "libtorch.py", subject.weights / "weights.pt", network_cases(subject), folder)


def ask_onnx_runtime(environment: Environment, subject: Subject, folder: Path) -> Verdict:
    return _probe(environment, "onnx_runtime.py", subject.weights / "weights.onnx", network_cases(subject), folder)


def ask_ilastik(environment: Environment, subject: Subject, folder: Path) -> Verdict:
    return _probe(environment, "pipeline.py", subject.package, tiled_cases(subject), folder, ILASTIK_FORMATS)


def ask_test(environment: Environment, subject: Subject, folder: Path) -> Verdict:
    """Ask for the status of `bioimageio test`, and then for the numbers behind it."""
    report = folder / "summary.json"
    arguments: list[str | Path] = ["test", subject.package, "--weight-format", "all", "--summary", report]
    done = _bioimageio(environment, arguments, folder)
    if done or not report.exists():
        return Verdict(Result.FAILED, None, done or "wrote no summary")
    status = json.loads(report.read_text(encoding="utf-8"))["status"]
    if status != "passed":  # `valid-format` is what it says when weights fail
        return Verdict(Result.FAILED, None, f"bioimageio test says {status}")
    return _probe(environment, "pipeline.py", subject.package, package_cases(subject), folder, FORMATS)


def ask_block_artifacts(environment: Environment, subject: Subject, folder: Path) -> Verdict:
    """Ask for whole minus tiled, and for tiled itself, with every tile on the network's grid."""
    image = _uneven_image(subject, on_grid=True)
    found = {}
    for verb in ("predict-block-artifacts", "predict"):
        found[verb], complaint = _tiled(environment, verb, subject, image, folder)
        if complaint:
            return Verdict(Result.FAILED, None, complaint)
    expected = predicted(subject, image)
    return compare(found, {"predict-block-artifacts": np.zeros_like(expected), "predict": expected})


def ask_blockwise(environment: Environment, subject: Subject, folder: Path) -> Verdict:
    """Ask for the tiled prediction of an image that is no multiple of the stride: its last tiles are off the grid."""
    image = _uneven_image(subject, on_grid=False)
    found, complaint = _tiled(environment, "predict", subject, image, folder)
    expected = predicted(subject, image)
    if complaint or found.shape != expected.shape:
        return Verdict(Result.FAILED, None, complaint or f"returns shape {found.shape}, not {expected.shape}")
    same = float((found.argmax(1) == expected.argmax(1)).mean())
    result = Result.PASSED if same >= SAME_LABELS else Result.FAILED
    reason = f"judged by labels, {same:.2%} are the whole image's; the limit is {SAME_LABELS:.0%}"
    return Verdict(result, float(np.abs(found - expected).max()), reason)


def _uneven_image(subject: Subject, *, on_grid: bool) -> Array:
    """Return an image of several tiles, a different number of pixels along each axis."""
    size = []
    for i, axis in enumerate(subject.tiling, start=1):
        several = axis.min + _larger(subject) + 2 * axis.stride
        if subject.checkpoint.dims == 2:
            several = max(2 * axis.min, several)
        size.append(several // axis.stride * axis.stride + (axis.stride if on_grid else 1) * i)
    return image_of_size(subject.checkpoint, tuple(size))


def _larger(subject: Subject) -> int:
    """Return the pixels by which tiles are larger than the smallest: --blockwise=N."""
    stride = max(axis.stride for axis in subject.tiling)
    return 8 * stride if subject.checkpoint.dims == 2 else stride  # the smallest tiles of a volume are large


def _tiled(environment: Environment, verb: str, subject: Subject, image: Array, folder: Path) -> tuple[Array, str]:
    """Return what a tiling command of bioimageio wrote, and why it wrote nothing."""
    source, target = folder / "image.npy", folder / f"{verb}.npy"
    np.save(source, image)
    arguments: list[str | Path] = [verb, subject.package, "--inputs", json.dumps([str(source)]), "--outputs", target]
    arguments += ["--blockwise", str(_larger(subject)), "--weight-format", "torchscript", "--devices", '["cpu"]']
    complaint = _bioimageio(environment, arguments, folder)
    if not complaint and not target.exists():
        complaint = f"bioimageio {verb} wrote nothing"
    return (np.empty(0, np.float32) if complaint else np.load(target)), complaint


def _bioimageio(environment: Environment, arguments: list[str | Path], folder: Path) -> str:
    """Run bioimageio's command; returns its complaint, empty when it has none."""
    command = [environment.python, "-m", "bioimageio.core", *arguments]
    done = run(command, seconds=TIMEOUT, cache=folder / "cache")
    return f"bioimageio {arguments[0]}: {done.last_line}" if done.code else ""


def _probe(
    environment: Environment, probe: str, source: Path, cases: Cases, folder: Path, formats: tuple[str, ...] = ()
) -> Verdict:
    """Run a probe on the cases' images and compare what it wrote."""
    images, answers = folder / "images.npz", folder / "found.npz"
    np.savez(images, **cases.images)  # type: ignore[arg-type]
    command: list[str | Path] = [environment.python, PROBES / probe, source, images, answers, *formats]
    done = run(command, seconds=TIMEOUT, cache=folder / "cache")
    if done.code or not answers.exists():
        return Verdict(Result.FAILED, None, done.last_line if done.code else "wrote nothing")
    with np.load(answers) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return compare(found, cases.repeated(formats) if formats else cases.expected)
