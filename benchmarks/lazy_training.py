"""Peak memory of a training on an OME-Zarr of 20 GB, beside the same training on one small TIFF.

    python benchmarks/lazy_training.py [--gigabytes 20] [--depth 20] [--chunks 1x1024x1024] [--steps 20] [--folder /tmp]

The volume has `--depth` square slices of 8 bits, compressed chunks of texture, and strokes of three classes in four of
the slices; the label image has the shape of the volume, and no chunk where there is no stroke. The TIFF is one slice of
1024 x 1024 with the same strokes. On both the small preset is trained for `--steps` steps of each stage, on one thread.
Memory is the largest sum of the resident sizes of the process and its children (`peak.py`). The large image may take
2 GB more than the small one. Before the first step all files are opened, all labels are read, and all pixels of the
image are looked at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path

import numpy as np
import tifffile
import yaml
from rich.console import Console
from rich.table import Table

from peak import run
from stores import Stroke, texture, write_labels, write_ome_zarr

CLASSES = {1: "a", 2: "b", 3: "c"}
SIDE = 1024  # of the small image
MOST = 2000  # MB that the large image may take beside what the small one does


@dataclass(frozen=True)
class Trained:
    """What one training took."""

    megabytes: float  # at its peak
    before: float  # seconds until the first step
    step: float  # milliseconds of a step


def strokes(numbers: Sequence[int]) -> list[Stroke]:
    """Return windows (z, y, x) of strokes in these slices, within the first 1024 x 1024 pixels, and their classes."""
    rng = np.random.default_rng(0)
    found: list[Stroke] = []
    for z in numbers:
        for stroke in range(12):
            y, x = rng.integers(40, SIDE - 80, 2).tolist()
            found.append(((slice(z, z + 1), slice(y, y + 2), slice(x, x + 30)), 1 + stroke % len(CLASSES)))
    return found


def write_large(folder: Path, shape: Sequence[int], chunks: Sequence[int]) -> None:
    """Write the OME-Zarr and its labels."""
    write_ome_zarr(folder / "raw.ome.zarr", shape, chunks)
    numbers = np.linspace(0, shape[0] - 1, 4).astype(int).tolist()
    write_labels(folder / "labels.ome.zarr", shape, chunks, strokes(numbers))


def write_small(folder: Path) -> None:
    """Write the TIFF and its labels."""
    labels = np.zeros((1, SIDE, SIDE), np.uint8)
    for window, value in strokes([0]):
        labels[window] = value
    tifffile.imwrite(folder / "raw.tif", texture((SIDE, SIDE)), metadata={"axes": "YX"})
    tifffile.imwrite(folder / "labels.tif", labels[0], metadata={"axes": "YX"})


def train(folder: Path, files: Mapping[str, str], steps: int) -> Trained:
    """Return what the training on these files takes in a process of its own."""
    own = {"steps": steps, "epoch_steps": steps, "accelerator": "cpu"}
    settings = {
        **files, "axes": "zyx" if "zarr" in files["images"] else "yx", "classes": CLASSES, "preset": "small",
        "training": own, "semi_supervised": {"steps": steps}, "out": f"run_{Path(files['images']).stem}",
    }  # fmt: skip
    run_file = folder / "run.yaml"
    run_file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    _, peak = run([sys.executable, __file__, "--train", str(run_file)])
    found = json.loads(run_file.with_suffix(".json").read_text(encoding="utf-8"))
    return Trained(peak, found["before"], found["step"])


def train_here(run_file: Path) -> None:
    """Train as `eseg train` does, and leave the times beside the run."""
    import torch

    import eseg_zoo
    from eseg_zoo.allocator import keep_freed_memory
    from eseg_zoo.progress import Progress
    from eseg_zoo.training import data

    data.LOADED_SHARE = 0.0  # as where memory is short: nothing is loaded, however small
    keep_freed_memory()
    torch.set_num_threads(1)
    began, first = time.perf_counter(), 0.0

    def note(progress: Progress) -> None:
        nonlocal first
        first = first or time.perf_counter()

    model = eseg_zoo.train(run_file, force=True, progress=note)
    training = model.checkpoint.training
    times = {"before": first - began, "step": training.seconds / training.steps * 1e3}
    run_file.with_suffix(".json").write_text(json.dumps(times), encoding="utf-8")


def main() -> None:
    """Write both images, train on both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--depth", type=int, default=20, help="slices")
    parser.add_argument("--chunks", default="1x1024x1024", help="z, y and x of a chunk")
    parser.add_argument("--steps", type=int, default=20, help="of each stage")
    parser.add_argument("--folder", type=Path, help="where there is room for the volume; it is deleted afterwards")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train_here(options.train)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    side = round(sqrt(options.gigabytes * 1e9 / options.depth))
    shape, chunks = (options.depth, side, side), tuple(map(int, options.chunks.split("x")))
    console = Console(width=100)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, began = Path(name), time.perf_counter()
        write_small(folder)
        small = train(folder, {"images": "raw.tif", "labels": "labels.tif"}, options.steps)
        write_large(folder, shape, chunks)
        console.print(f"{prod(shape) / 1e9:.1f} GB written in {time.perf_counter() - began:.0f} s")
        large = train(folder, {"images": "raw.ome.zarr", "labels": "labels.ome.zarr"}, options.steps)
    table = Table("image", "peak memory, MB", "before the first step, s", "a step, ms")
    names = "TIFF, 1024 x 1024", f"OME-Zarr, {' x '.join(map(str, shape))}, chunks of {options.chunks}"
    for image, found in zip(names, (small, large), strict=True):
        table.add_row(image, f"{found.megabytes:,.0f}", f"{found.before:.1f}", f"{found.step:.0f}")
    console.print(table)
    more = large.megabytes - small.megabytes
    console.print(f"The large image takes {more:,.0f} MB more; {MOST:,} MB are allowed.")
    if more > MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
