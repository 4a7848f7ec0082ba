"""Seconds per megapixel of the exported formats on one thread, beside a patch-by-patch run of the same network.

    python benchmarks/speed.py [--ckpt model.pt]

Patch by patch is what the published ε-Seg code does: one patch, one pixel. Without a checkpoint the networks of the
small preset have random weights, which the time does not depend on: for planes (1024 x 1024), for volumes whose z is as
fine as y and x, and for volumes of thick sections (64 x 256 x 256). Read the ratios: seconds differ between machines.
Memory is what a run adds at most to the process (Linux).

The share compares multiply-adds per second with what a plain 3x3 convolution of the first level's width reaches on a
tensor of that level's size, in the same run on the same thread. Bytes are those that operations write in eager mode.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch and onnxruntime are imported

import onnxruntime
import torch
from eseg_export.package import write_weights
from eseg_export.tracing import known_warnings
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint, TrainingRecord
from eseg_zoo.config import PRESETS, VOLUME_PRESETS, NetworkSettings
from eseg_zoo.inference.volume import predict_section, prepare
from eseg_zoo.model.dense import DenseSegmenter, convolution
from multiply_adds import bytes_written, multiply_adds

SPACE = {2: (1024, 1024), 3: (64, 256, 256)}
PATCHES = {2: (256, 64), 3: (16, 8)}  # all, and in a batch
REPEATS = {2: 3, 3: 1}
# Voxels of the untrained networks of volumes, z as a multiple of y and x.
VOLUMES = {"volume, fine z": 1.0, "volume, coarse z": 5.0}


@dataclass(frozen=True)
class Way:
    """One way to run a network: seconds for a million pixels or voxels, and gigabytes at the peak."""

    name: str
    seconds: float
    gigabytes: float


def untrained(classes: int, *, dims: int = 2, z: float = 1.0) -> Checkpoint:
    """Return a checkpoint of the small preset with random weights; z is the size of a voxel along it, of y and x 1."""
    settings = NetworkSettings(dims=dims, **(PRESETS if dims == 2 else VOLUME_PRESETS)["small"]["network"])  # type: ignore[arg-type]
    voxel_size = {"z": z, "y": 1.0, "x": 1.0}
    architecture = settings.architecture(channels=1, classes=classes, voxel_size=voxel_size)
    names = tuple(f"class {i}" for i in range(classes))
    return Checkpoint(
        architecture=architecture,
        segmenter_state=DenseSegmenter(**architecture).state_dict(),
        generative_state={},
        class_names=names,
        class_values=tuple(range(1, classes + 1)),
        class_frequencies=(1 / classes,) * classes,
        frequency_source="balanced",
        channel_names=("intensity",),
        axes="zyx"[-dims:],
        voxel_size={},
        image_dtype="uint8",
        sample=torch.randint(0, 255, (1, *(128,) * dims), dtype=torch.uint8),
        settings={},
        training=TrainingRecord(0, 0, {}, 0, {}, {}, {}),
    )


def run(name: str, call: Callable[[], object], *, pixels: int, repeats: int) -> Way:
    """Return the shortest of several calls, after one to warm up, per million pixels."""
    before = _memory("VmRSS")
    _forget_peak()
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return Way(name, min(times) / pixels * 1e6, _memory("VmHWM") - before)


@dataclass(frozen=True)
class Cost:
    """What one pixel or voxel of a whole image costs, and how fast a plain convolution would be."""

    multiply_adds: float
    bytes: float
    plain: float  # multiply-adds per second of a plain convolution

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Cost:
        """Count it for a network, and measure the plain convolution."""
        space = SPACE[checkpoint.dims]
        segmenter = prepare(checkpoint.segmenter(), torch.device("cpu"))
        padded = [n + 2 * margin for n, margin in zip(space, segmenter.geometry.margin, strict=True)]
        image = torch.rand(1, checkpoint.architecture["channels"], *padded)
        width, step = checkpoint.architecture["filters"][0], checkpoint.architecture["strides"][0]
        layer = convolution(checkpoint.dims, width, width, checkpoint.architecture["kernels"][0])
        layout = torch.channels_last if checkpoint.dims == 2 else torch.channels_last_3d
        features = torch.rand(1, width, *(n // s for n, s in zip(space, step, strict=True))).to(memory_format=layout)
        layer.to(memory_format=layout)  # type: ignore[call-overload]
        with torch.inference_mode():
            seconds = run("plain", lambda: layer(features), pixels=1, repeats=5).seconds / 1e6
        return cls(
            multiply_adds(segmenter.classifier, image) / prod(space),
            bytes_written(segmenter.probabilities, image) / prod(space),
            multiply_adds(layer, features) / seconds,
        )

    def share(self, way: Way) -> float:
        """Return how near a way to run the network comes to the plain convolution, 0..1."""
        return self.multiply_adds * 1e6 / way.seconds / self.plain


def measure(checkpoint: Checkpoint, folder: Path) -> Iterator[Way]:
    """Yield the ways to run the network, patch by patch first."""
    dims, space = checkpoint.dims, SPACE[checkpoint.dims]
    pixels, repeats = prod(space), REPEATS[dims]
    image = torch.rand(1, checkpoint.architecture["channels"], *space) * 255
    segmenter = prepare(checkpoint.segmenter(), torch.device("cpu"))
    write_weights(checkpoint, folder)
    with known_warnings():
        script = torch.jit.load(folder / "weights.pt")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # gives memory back, so that the peak is that of one run
    session = onnxruntime.InferenceSession(folder / "weights.onnx", options, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    size = [s + 2 * m for s, m in zip(segmenter.geometry.stride, segmenter.geometry.margin, strict=True)]
    count, batch = PATCHES[dims]
    patches = torch.rand(batch, image.shape[1], *size) * 255

    def patch_by_patch() -> None:
        for _ in range(count // batch):
            segmenter.probabilities(patches)

    with torch.inference_mode():
        yield run("patch by patch", patch_by_patch, pixels=count, repeats=repeats)
        yield run("eseg predict", lambda: predict_section(segmenter, image[0].numpy()), pixels=pixels, repeats=repeats)
        yield run("TorchScript", lambda: script(image), pixels=pixels, repeats=repeats)
        yield run("ONNX Runtime", lambda: session.run(None, {name: image.numpy()}), pixels=pixels, repeats=repeats)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.ckpt:
        checkpoints = {options.ckpt.name: Checkpoint.load(options.ckpt)}
    else:
        volumes = {name: untrained(5, dims=3, z=z) for name, z in VOLUMES.items()}
        checkpoints = {"planes": untrained(5)} | volumes
    columns = ("network", "way to run", "s per million", "million per s", "times faster", "share", "GB")
    table = Table(*columns, title=f"pixels or voxels, one thread, {_processor()}")
    notes = []
    for network, checkpoint in checkpoints.items():
        with tempfile.TemporaryDirectory() as folder:
            ways = list(measure(checkpoint, Path(folder)))
        cost = Cost.of(checkpoint)
        for way in ways:
            speed = (f"{way.seconds:.3g}", f"{1 / way.seconds:.2g}", f"{ways[0].seconds / way.seconds:,.0f}")
            share = f"{cost.share(way):.0%}" if way is not ways[0] else ""  # most of whose work is not needed
            table.add_row(network, way.name, *speed, share, f"{way.gigabytes:.2f}")
        counted = f"{cost.multiply_adds:,.0f} multiply-adds and {cost.bytes:,.0f} bytes written"
        notes.append(f"{network}: {counted} per pixel or voxel; a plain convolution {cost.plain / 1e9:.0f} G/s")
    console = Console(width=120)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def _memory(field: str) -> float:
    """Return gigabytes of this process: VmRSS now, VmHWM at the peak; NaN where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found[0]) * 1024 / 1e9 if found else float("nan")


def _forget_peak() -> None:
    """Let VmHWM start anew."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
