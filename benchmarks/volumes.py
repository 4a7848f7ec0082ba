"""Seconds and peak memory of `eseg predict` on OME-Zarr volumes of growing size, with one worker and with two.

    python benchmarks/volumes.py [--ckpt model.pt] [--shapes 2x1024x1024 4x2048x2048] [--workers 0 1 2]

Memory is the largest sum of the resident sizes of the command and all its processes, looked at ten times a second;
0 workers is the command alone, without a cluster. Without a checkpoint the network of the small preset has random
weights. The overhead per chunk is the time of the finest level's chunks with a network that does next to nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import zarr
from ome_zarr.format import FormatV04
from ome_zarr.writer import write_multiscales_metadata
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.cluster import place
from speed import untrained

EMPTY_TASKS = 2000


def write_volume(path: Path, shape: tuple[int, ...]) -> None:
    """Write noise as an OME-Zarr of one level, a plane at a time."""
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    chunks = (1, *(min(512, n) for n in shape[1:]))
    array = group.create_array("0", shape=shape, chunks=chunks, dtype="u1")
    generator = np.random.default_rng(0)
    for z in range(shape[0]):
        array[z] = generator.integers(0, 255, shape[1:], dtype=np.uint8)
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}]
    axes = [{"name": axis, "type": "space"} for axis in "zyx"]
    write_multiscales_metadata(group, datasets, fmt=FormatV04(), axes=axes)


def run(command: list[str]) -> tuple[float, float]:
    """Return seconds and the largest memory of a command and its children, in MB."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen([sys.executable, "-c", "from eseg_zoo.cli import main; main()", *command])
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(resident(one) for one in family))
        time.sleep(0.1)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - started, peak / 1e6


def resident(process: psutil.Process) -> int:
    """Return the resident memory of a process in bytes, 0 when it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def nothing(level: int, index: tuple[int, ...]) -> None:
    """Make no chunk: what is left is the overhead."""


def overhead(workers: int | None) -> float:
    """Return milliseconds per chunk that the graph and its scheduling take."""
    with place(None, workers) as where:
        where.run(nothing, 0, ((number,) for number in range(10)), lambda: None)
        started = time.perf_counter()
        where.run(nothing, 0, ((number,) for number in range(EMPTY_TASKS)), lambda: None)
        return (time.perf_counter() - started) / EMPTY_TASKS * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path)
    parser.add_argument("--shapes", nargs="+", default=["1x1024x1024", "2x1024x1024", "2x2048x2048"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tile", type=int)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    table = Table("volume (z y x)", "workers", "seconds", "megapixels/s", "peak memory, MB", title="eseg predict")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.ckpt or folder / "model.pt"
        if not options.ckpt:
            untrained(5).save(model)
        assert Checkpoint.load(model).dims == 2, "the volumes are stacks of slices"
        for shape in options.shapes:
            sizes = tuple(map(int, shape.split("x")))
            write_volume(folder / f"{shape}.ome.zarr", sizes)
            for workers in options.workers:
                out = folder / f"{shape}_{workers}.ome.zarr"
                command = ["predict", str(model), str(folder / f"{shape}.ome.zarr"), "--out", str(out), "--axes", "zyx"]
                command += ["--workers", str(workers)] if workers else []
                command += ["--tile", str(options.tile)] if options.tile else []
                seconds, peak = run(command)
                rate = np.prod(sizes) / 1e6 / seconds
                table.add_row(shape.replace("x", " x "), str(workers), f"{seconds:.1f}", f"{rate:.3f}", f"{peak:.0f}")
    console = Console(width=100)
    console.print(table)
    for workers in options.workers:
        console.print(f"overhead with {workers} workers: {overhead(workers or None):.2f} ms per chunk")


if __name__ == "__main__":
    main()
