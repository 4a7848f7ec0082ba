"""Seconds and memory of the ways to run a network and of what people use instead, and how both grow with the image.

    python benchmarks/speed.py [--ckpt model.pt] [--sides 1024 2048 4096 8192]

Patch by patch is what the published ε-Seg code does: one patch, one pixel. Eager is the checkpoint as it is, the whole
image at once; `eseg predict` is what the command does with one section on one thread. `Model.predict` is the whole of
the command in memory: of eight planes, or of a volume, a pass of the network on each core. The U-Net has the
multiply-adds of the small preset, the random forest is the one of the accuracy benchmark. Without a checkpoint the
networks of the small preset have random weights, which the time does not depend on: for planes (1024 x 1024), for
volumes whose z is as fine as y and x, and for volumes of thick sections (64 x 256 x 256). Read the ratios: seconds
differ between machines.

Every measurement has a process of its own, so that none sees the memory or the settings of another. Memory is what the
runs add at most to the process (Linux). The share compares multiply-adds per second with what a plain 3x3 convolution
of the first level's width reaches on a tensor of that level's size. Bytes are those that operations write eagerly.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import prod
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.network import prepare
from multiply_adds import bytes_written, multiply_adds
from ways import PEERS, WAYS, Way, eseg_predict, patch_by_patch, plain_convolution, predict_stack, untrained

SPACE = {2: (1024, 1024), 3: (64, 256, 256)}
REPEATS = {2: 3, 3: 1}
# Voxels of the untrained networks of volumes, z as a multiple of y and x.
VOLUMES = {"volume, fine z": 1.0, "volume, coarse z": 5.0}


# What is compared on one thread and two.
THREADED: dict[str, Way] = {
    "`Model.predict`": predict_stack,
    **{name: WAYS[name] for name in ("TorchScript", "ONNX Runtime")},
}


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
            # Most of what patches compute is not needed; the peers have other multiply-adds, or none.
            has_share = name in WAYS and way is not patch_by_patch
            share = f"{cost * 1e6 / found.per_million / rate:.0%}" if has_share else ""
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
    image = torch.rand(1, checkpoint.architecture.channels, *padded)
    counted = multiply_adds(segmenter.classifier, image), bytes_written(segmenter.probabilities, image)
    return counted[0] / prod(space), counted[1] / prod(space)


def table_of_threads(checkpoints: dict[str, Checkpoint], console: Console) -> None:
    """Print what a second thread brings; the command runs a pass of the network on each, and the files share one."""
    table = Table("network", "way to run", "one thread", "two threads", "times faster", title="seconds per million")
    for network, checkpoint in checkpoints.items():
        for name, way in THREADED.items():
            one, two = (
                measure(way, checkpoint, SPACE[checkpoint.dims], threads=n, repeats=REPEATS[checkpoint.dims])
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
