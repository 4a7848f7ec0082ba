"""Seconds and memory of the ways to run a network and of what people use instead, and how both grow with the image.

    python benchmarks/speed.py [--ckpt model.pt] [--sides 1024 2048 4096 8192]

Patch by patch is what the published ε-Seg code does: one patch, one pixel. Eager is the checkpoint as it is, the whole
image at once; `eseg predict` is what the command does with one section. The U-Net has the multiply-adds of the small
preset, the random forest is the one of the accuracy benchmark. Without a checkpoint the networks of the small preset
have random weights, which the time does not depend on: for planes (1024 x 1024), for volumes whose z is as fine as y
and x, and for volumes of thick sections (64 x 256 x 256). Read the ratios: seconds differ between machines.

Every measurement has a process of its own, so that none sees the memory or the settings of another. Memory is what the
runs add at most to the process (Linux). The share compares multiply-adds per second with what a plain 3x3 convolution
of the first level's width reaches on a tensor of that level's size. Bytes are those that operations write eagerly.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import prod
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import unet
from eseg_zoo.checkpoint import Checkpoint, TrainingRecord
from eseg_zoo.config import PRESETS, VOLUME_PRESETS, NetworkSettings
from eseg_zoo.data.phantom import em_phantom, sparse_strokes
from eseg_zoo.inference.volume import predict_section, prepare
from eseg_zoo.model.dense import DenseSegmenter, convolution
from forest import PixelForest
from multiply_adds import bytes_written, multiply_adds, prediction_cost

SPACE = {2: (1024, 1024), 3: (64, 256, 256)}
PATCHES = {2: (256, 64), 3: (16, 8)}  # all, and in a batch
REPEATS = {2: 3, 3: 1}
# Voxels of the untrained networks of volumes, z as a multiple of y and x.
VOLUMES = {"volume, fine z": 1.0, "volume, coarse z": 5.0}


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


# --------------------------------------------------------------------------------------------- the ways to run it

Call = Callable[[], object]


def patch_by_patch(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call that predicts the centres of some patches, and how many."""
    segmenter = prepare(checkpoint.segmenter(), torch.device("cpu"))
    size = [s + 2 * m for s, m in zip(segmenter.geometry.stride, segmenter.geometry.margin, strict=True)]
    count, batch = PATCHES[checkpoint.dims]
    patches = torch.rand(batch, checkpoint.architecture["channels"], *size) * 255
    return lambda: [segmenter.probabilities(patches) for _ in range(count // batch)], count


def eager(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the checkpoint's network as it is on a whole image."""
    segmenter, image = checkpoint.segmenter().eval(), _image(checkpoint, space)
    return lambda: segmenter(image), prod(space)


def eseg_predict(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of what `eseg predict` does with one section."""
    segmenter, image = prepare(checkpoint.segmenter(), torch.device("cpu")), _image(checkpoint, space)[0].numpy()
    return lambda: predict_section(segmenter, image), prod(space)


def torchscript(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the exported TorchScript weights."""
    from eseg_export.package import write_weights
    from eseg_export.tracing import known_warnings

    image = _image(checkpoint, space)
    with tempfile.TemporaryDirectory() as folder, known_warnings():
        write_weights(checkpoint, Path(folder))
        script = torch.jit.load(Path(folder) / "weights.pt")
    return lambda: script(image), prod(space)


def onnx_runtime(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the exported ONNX weights."""
    import onnxruntime
    from eseg_export.package import write_weights

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        write_weights(checkpoint, Path(folder))
        session = onnxruntime.InferenceSession(
            Path(folder) / "weights.onnx", options, providers=["CPUExecutionProvider"]
        )
    feed = {session.get_inputs()[0].name: _image(checkpoint, space).numpy()}
    return lambda: session.run(None, feed), prod(space)


def plain_unet(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of a plain U-Net of equal multiply-adds on a whole image."""
    classes = checkpoint.architecture["classes"]
    network = unet.UNet(unet.width_for(prediction_cost(checkpoint.architecture), classes), classes)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained, image = unet.TrainedUNet(network, 128, 50), _image(checkpoint, space)[0, 0].numpy()
    return lambda: trained.logits(image), prod(space)


def random_forest(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of the random forest, trained on 300 or so labels of an EM phantom, on an image of that kind."""
    generator = np.random.default_rng(0)
    phantom = em_phantom((4, 256, 256), rng=generator)
    labels = sparse_strokes(phantom.truth, fraction=0.001, rng=generator)
    forest = PixelForest().fit(phantom.image, labels, len(np.unique(phantom.truth)))
    image = np.tile(phantom.image[0], [n // 256 for n in space])
    return lambda: forest.predict_probabilities(image), prod(space)


def plain_convolution(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[Call, int]:
    """Return a call of one convolution of the first level's width on as many pixels, and its multiply-adds."""
    width, step = checkpoint.architecture["filters"][0], checkpoint.architecture["strides"][0]
    layer = convolution(checkpoint.dims, width, width, checkpoint.architecture["kernels"][0])
    layout = torch.channels_last if checkpoint.dims == 2 else torch.channels_last_3d
    features = torch.rand(1, width, *(n // s for n, s in zip(space, step, strict=True))).to(memory_format=layout)
    layer.to(memory_format=layout)  # type: ignore[call-overload]
    return lambda: layer(features), multiply_adds(layer, features)


def _image(checkpoint: Checkpoint, space: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(1, checkpoint.architecture["channels"], *space) * 255


Way = Callable[[Checkpoint, tuple[int, ...]], tuple[Call, int]]
WAYS: dict[str, Way] = {
    "the same network, patch by patch": patch_by_patch,
    "eager": eager,
    "`eseg predict`": eseg_predict,
    "TorchScript": torchscript,
    "ONNX Runtime": onnx_runtime,
}
PEERS: dict[str, Way] = {"plain U-Net": plain_unet, "random forest": random_forest}


# ------------------------------------------------------------------------------------------------- measuring them


@dataclass(frozen=True)
class Measured:
    """Seconds of a call, the pixels (or multiply-adds) that it makes, and gigabytes at the peak."""

    seconds: float
    amount: int
    gigabytes: float

    @property
    def per_million(self) -> float:
        """Seconds for a million pixels or voxels."""
        return self.seconds / self.amount * 1e6


def measure(way: Way, checkpoint: Checkpoint, space: tuple[int, ...], *, threads: int, repeats: int) -> Measured:
    """Return the shortest of several calls, after one to warm up, in a process of its own."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by the process to come, before it imports torch
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_measure, way, checkpoint, space, repeats).result()


def _measure(way: Way, checkpoint: Checkpoint, space: tuple[int, ...], repeats: int) -> Measured:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    with torch.inference_mode():
        call, amount = way(checkpoint, space)
        before = _memory("VmRSS")
        _forget_peak()
        times = []
        for _ in range(1 + repeats):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
    return Measured(min(times[1:]), amount, _memory("VmHWM") - before)


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


# ---------------------------------------------------------------------------------------------------- the tables


def table_of_ways(checkpoints: dict[str, Checkpoint], console: Console) -> None:
    """Print every way to run each network, on one thread, and the peers on planes."""
    columns = ("network", "way to run", "s per million", "times faster", "share", "GB")
    table, notes = Table(*columns, title=f"pixels or voxels, one thread, {_processor()}"), []
    for network, checkpoint in checkpoints.items():
        space, repeats = SPACE[checkpoint.dims], REPEATS[checkpoint.dims]
        cost, written = costs(checkpoint, space)
        plain = measure(plain_convolution, checkpoint, space, threads=1, repeats=5)
        rate = plain.amount / plain.seconds
        slowest = 0.0
        for name, way in (WAYS | PEERS if checkpoint.dims == 2 else WAYS).items():
            found = measure(way, checkpoint, space, threads=1, repeats=repeats)
            slowest = slowest or found.per_million
            # Most of what patches compute is not needed, and a forest does not multiply.
            share = f"{cost * 1e6 / found.per_million / rate:.0%}" if way not in (patch_by_patch, random_forest) else ""
            speed = (f"{found.per_million:.3g}", f"{slowest / found.per_million:,.0f}")
            table.add_row(network, name, *speed, share, f"{found.gigabytes:.2f}")
        counted = f"{cost:,.0f} multiply-adds and {written:,.0f} bytes written"
        notes.append(f"{network}: {counted} per pixel or voxel; a plain convolution {rate / 1e9:.0f} G/s")
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def costs(checkpoint: Checkpoint, space: tuple[int, ...]) -> tuple[float, float]:
    """Return the multiply-adds and the written bytes of one pixel or voxel of a whole image."""
    segmenter = prepare(checkpoint.segmenter(), torch.device("cpu"))
    padded = [n + 2 * margin for n, margin in zip(space, segmenter.geometry.margin, strict=True)]
    image = torch.rand(1, checkpoint.architecture["channels"], *padded)
    counted = multiply_adds(segmenter.classifier, image), bytes_written(segmenter.probabilities, image)
    return counted[0] / prod(space), counted[1] / prod(space)


def table_of_threads(checkpoints: dict[str, Checkpoint], console: Console) -> None:
    """Print what a second thread brings."""
    table = Table("network", "way to run", "one thread", "two threads", "times faster", title="seconds per million")
    for network, checkpoint in checkpoints.items():
        for name in ("`eseg predict`", "TorchScript", "ONNX Runtime"):
            one, two = (
                measure(WAYS[name], checkpoint, SPACE[checkpoint.dims], threads=n, repeats=REPEATS[checkpoint.dims])
                for n in (1, 2)
            )
            seconds = (f"{one.per_million:.3g}", f"{two.per_million:.3g}")
            table.add_row(network, name, *seconds, f"{one.seconds / two.seconds:.2f}")
    console.print(table)


def table_of_sizes(checkpoint: Checkpoint, sides: list[int], console: Console) -> None:
    """Print seconds and memory of `eseg predict` on planes of growing size."""
    table = Table("megapixels", "s", "s per million", "GB", title="`eseg predict` on one plane, one thread")
    for side in sides:
        found = measure(eseg_predict, checkpoint, (side, side), threads=1, repeats=1)
        seconds = (f"{found.seconds:.2f}", f"{found.per_million:.3g}")
        table.add_row(f"{found.amount / 2**20:g}", *seconds, f"{found.gigabytes:.2f}")
    console.print(table)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="of growing planes")
    options = parser.parse_args()
    if options.ckpt:
        checkpoints = {options.ckpt.name: Checkpoint.load(options.ckpt)}
    else:
        volumes = {name: untrained(5, dims=3, z=z) for name, z in VOLUMES.items()}
        checkpoints = {"planes": untrained(5)} | volumes
    console = Console(width=120)
    table_of_ways(checkpoints, console)
    table_of_threads(checkpoints, console)
    for checkpoint in checkpoints.values():
        if checkpoint.dims == 2:
            table_of_sizes(checkpoint, options.sides, console)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
