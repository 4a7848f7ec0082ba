"""Seconds and peak memory of `eseg predict` on OME-Zarr volumes of growing size, with one worker and with two.

    python benchmarks/volumes.py [--ckpt model.pt] [--shapes 2x1024x1024 4x2048x2048] [--workers 0 1 2]

Memory is the largest sum of the resident sizes of the command and its processes (`peak.py`). 0 workers is the command
alone, without a cluster: as many chunks side by side as there are cores. Without a checkpoint
the network of the small preset has random weights. The sum of its tiles is the time that the passes of the network
over all chunks take by themselves, on one thread, from memory to memory: the command divides it among the cores and
adds the start, reading, writing and the coarser levels. The overhead per chunk is that of the graph and its scheduling.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from math import prod
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.executors import open_executor
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import tile_size
from peak import run
from stores import write_ome_zarr
from ways import untrained

EMPTY_TASKS = 2000


def sum_of_tiles(checkpoint: Checkpoint, shape: tuple[int, ...], side: int | None) -> float:
    """Return the seconds of the passes over all chunks of a stack of slices, one after the other on one thread."""
    predictor = Predictor(checkpoint, device="cpu")
    tile = tile_size(checkpoint.architecture, shape[1:], shape[0], side=side)
    sides = [n + 2 * margin for n, margin in zip(tile, checkpoint.geometry.margin, strict=True)]
    padded = np.random.default_rng(0).uniform(0, 255, (1, *sides)).astype(np.float32)
    times = []
    for _ in range(6):
        started = time.perf_counter()
        predictor.probabilities(padded)
        times.append(time.perf_counter() - started)
    chunks = shape[0] * prod(-(-n // side) for n, side in zip(shape[1:], tile, strict=True))
    return chunks * min(times[1:])


def nothing(level: int, index: tuple[int, ...]) -> None:
    """Make no chunk: what is left is the overhead."""


def overhead(workers: int | None) -> float:
    """Return milliseconds per chunk that the graph and its scheduling take."""
    with open_executor(None, workers) as where:
        where.run(nothing, 0, ((number,) for number in range(10)), lambda: None)
        started = time.perf_counter()
        where.run(nothing, 0, ((number,) for number in range(EMPTY_TASKS)), lambda: None)
        return (time.perf_counter() - started) / EMPTY_TASKS * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path)
    parser.add_argument("--shapes", nargs="+", default=["1x1024x1024", "4x2048x2048", "16x4096x4096"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tile", type=int, help="side of the tiles in pixels; by default that of the command")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    columns = ("volume (z y x)", "workers", "seconds", "sum of its tiles", "megapixels/s", "peak memory, MB")
    table = Table(*columns, title="eseg predict")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.ckpt or folder / "model.pt"
        if not options.ckpt:
            untrained(5).save(model)
        checkpoint = Checkpoint.load(model)
        assert checkpoint.dims == 2, "the volumes are stacks of slices"
        for shape in options.shapes:
            sizes = tuple(map(int, shape.split("x")))
            write_ome_zarr(folder / f"{shape}.ome.zarr", sizes, (1, 512, 512))
            tiles = sum_of_tiles(checkpoint, sizes, options.tile)
            for workers in options.workers:
                out = folder / f"{shape}_{workers}.ome.zarr"
                command = ["predict", str(model), str(folder / f"{shape}.ome.zarr"), "--out", str(out), "--axes", "zyx"]
                command += ["--workers", str(workers)] if workers else []
                command += ["--tile", str(options.tile)] if options.tile else []
                seconds, peak = run([sys.executable, "-c", "from eseg_zoo.cli import main; main()", *command])
                rate = np.prod(sizes) / 1e6 / seconds
                times = (f"{seconds:.1f}", f"{tiles:.1f}", f"{rate:.2f}")
                table.add_row(shape.replace("x", " x "), str(workers), *times, f"{peak:.0f}")
    console = Console(width=100)
    console.print(table)
    for workers in options.workers:
        console.print(f"overhead with {workers} workers: {overhead(workers or None):.2f} ms per chunk")


if __name__ == "__main__":
    main()
