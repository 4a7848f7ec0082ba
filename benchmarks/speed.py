"""Seconds per megapixel of the exported formats on one thread, beside a patch-by-patch run of the same network.

    python benchmarks/speed.py [--ckpt model.pt]

Patch by patch is what the published ε-Seg code does: one patch, one pixel. Without a checkpoint the network of the
small preset has random weights; the time does not depend on them. Read the ratios: seconds differ between machines.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch and onnxruntime are imported

import onnxruntime
import torch
from eseg_export.package import write_weights
from eseg_export.tracing import known_warnings
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint, TrainingRecord
from eseg_zoo.config import PRESETS, NetworkSettings
from eseg_zoo.inference.volume import predict_section, prepare
from eseg_zoo.model.dense import DenseSegmenter

SIDE = 1024
PATCHES, PATCH_BATCH = 256, 64
REPEATS = 3


def untrained(classes: int) -> Checkpoint:
    """Return a checkpoint of the small preset with random weights."""
    architecture = NetworkSettings(**PRESETS["small"]["network"]).architecture(channels=1, classes=classes)
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
        axes="yx",
        voxel_size={},
        image_dtype="uint8",
        sample=torch.randint(0, 255, (1, 512, 512), dtype=torch.uint8),
        settings={},
        training=TrainingRecord(0, 0, {}, 0, {}, {}, {}),
    )


def seconds(call: Callable[[], object]) -> float:
    """Return the shortest of several calls, after one to warm up."""
    call()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def measure(checkpoint: Checkpoint, folder: Path) -> dict[str, float]:
    """Return seconds per megapixel of each way to run the network."""
    image = torch.rand(1, checkpoint.architecture["channels"], SIDE, SIDE) * 255
    megapixels = SIDE * SIDE / 1e6
    segmenter = prepare(checkpoint.segmenter(), torch.device("cpu"))
    write_weights(checkpoint, folder)
    with known_warnings():
        script = torch.jit.load(folder / "weights.pt")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "weights.onnx", options, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    size = [s + 2 * m for s, m in zip(segmenter.geometry.stride, segmenter.geometry.margin, strict=True)]
    patches = torch.rand(PATCH_BATCH, image.shape[1], *size) * 255

    def patch_by_patch() -> None:
        for _ in range(PATCHES // PATCH_BATCH):
            segmenter.probabilities(patches)

    with torch.inference_mode():
        return {
            "patch by patch": seconds(patch_by_patch) / PATCHES * 1e6,
            "eseg predict": seconds(lambda: predict_section(segmenter, image[0].numpy())) / megapixels,
            "TorchScript": seconds(lambda: script(image)) / megapixels,
            "ONNX Runtime": seconds(lambda: session.run(None, {name: image.numpy()})) / megapixels,
        }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = Checkpoint.load(options.ckpt) if options.ckpt else untrained(5)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(checkpoint, Path(folder))
    slowest = found["patch by patch"]
    table = Table("way to run", "s per megapixel", "times faster", title=f"one thread, {_processor()}")
    for way, value in found.items():
        table.add_row(way, f"{value:.3g}", f"{slowest / value:,.0f}")
    Console(width=100).print(table)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
