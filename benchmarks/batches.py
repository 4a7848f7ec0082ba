"""Milliseconds to cut one batch of patches: on one core and with worker processes, from memory and from an OME-Zarr.

    python benchmarks/batches.py [--batches 16] [--presets default small] [--workers 0 1 2]

The images are a stack of 14 x 1024 x 1024 bytes of texture: in memory, as images are that fit, and as a compressed
OME-Zarr, of which the chunks read last are kept, as of images that do not fit. Batches of the supervised stage have
labelled patches, those of the semi-supervised stage unlabelled ones too. 0 workers is the training process itself, on
one thread; with workers it is the time between two batches that arrive from them, where nothing else is done. Each
figure is the mean of the best of five rounds, and has a process of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise, product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.config import Run
from eseg_zoo.images.blocks import keep_blocks
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.sections import sections_of
from eseg_zoo.patches.source import PatchSource
from eseg_zoo.patches.survey import Statistics
from eseg_zoo.training.batches import StepBatches
from eseg_zoo.training.data import KEPT_BYTES
from stores import texture, write_ome_zarr

SHAPE, CHUNKS = (14, 1024, 1024), (1, 256, 256)
CLASSES = {1: "a", 2: "b", 3: "c", 4: "d", 5: "e"}
ANCHORS = 3000
WARM, ROUNDS = 8, 5  # batches before those that are measured, as workers have two each ready; rounds of them
STAGES = ("supervised", "semi_supervised")


def batches_of(image: Image, preset: str, stage: str) -> StepBatches:
    """Return the batches of a stage with the preset's network, around anchors at random places of a stack of slices."""
    run = Run.model_validate({"images": "i", "labels": "l", "classes": CLASSES, "out": "o", "preset": preset})
    geometry = run.network.architecture(channels=1, classes=len(CLASSES)).geometry
    sections = sections_of(image, 2)
    rng = np.random.default_rng(0)
    shape = [len(sections), *sections[0].space]
    numbers = rng.choice(np.prod(shape), ANCHORS, replace=False)
    anchors = AnchorSet.of(np.stack(np.unravel_index(numbers, shape), 1), rng.integers(len(CLASSES), size=ANCHORS))
    source = PatchSource(
        PatchGeometry(geometry.stride, geometry.margin),
        sections,
        [section.whole for section in sections],
        Statistics(np.array([127.0]), np.array([60.0])),
    )
    counts = (run.training.batch_size, 0)
    if stage == "semi_supervised":
        counts = (run.semi_supervised.labelled, run.semi_supervised.unlabelled)
    return StepBatches(
        source, list(range(len(sections))), anchors, run, stage=stage, labelled=counts[0], unlabelled=counts[1]
    )


def milliseconds(preset: str, stage: str, zarr: Path | None, *, count: int, workers: int) -> float:
    """Return the time from one batch to the next in the best of the rounds of `count` batches, in this process.

    The images are those of the OME-Zarr, or of an array where there is none.
    """
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command does
    image = open_image(texture(SHAPE), axes="zyx") if zarr is None else keep_blocks(open_image(zarr), KEPT_BYTES)
    context = "fork" if workers else None
    loader = DataLoader(
        batches_of(image, preset, stage), None, sampler=range(WARM + ROUNDS * count), num_workers=workers,
        multiprocessing_context=context,
    )  # fmt: skip
    arrived = [time.perf_counter() for _ in loader][WARM - 1 :: count]
    return min(after - before for before, after in pairwise(arrived)) / count * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=16, help="of a round")
    parser.add_argument("--presets", nargs="+", default=["default", "small"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    columns = [f"{n} workers" for n in options.workers]
    table = Table("preset", "stage", "images", *columns, title="ms from one batch to the next")
    with tempfile.TemporaryDirectory() as name:
        zarr = Path(name) / "raw.ome.zarr"
        write_ome_zarr(zarr, SHAPE, CHUNKS)
        for preset, stage, path in product(options.presets, STAGES, (None, zarr)):
            cells = []
            for workers in options.workers:
                with ProcessPoolExecutor(1, get_context("spawn")) as process:
                    work = partial(milliseconds, preset, stage, path, count=options.batches, workers=workers)
                    cells.append(f"{process.submit(work).result():.1f}")
            table.add_row(preset, stage, "OME-Zarr" if path else "in memory", *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
