"""Dice of 2D and 3D networks on a synthetic EM volume, from the same strokes, in one table.

    python benchmarks/volumes_3d.py [--steps 1500] [--fraction 0.0005] [--seeds 1]

Each network learns from the strokes of one phantom and is judged on every voxel of another. The phantom's sections are
three pixels thick. `3D` knows that; `3D, fine` is told that z is as fine as y and x, which is the network for isotropic
volumes: two levels that halve all three axes. `--steps` are those of each of the two stages of the 2D network; the 3D
ones take a third of them, as in their preset. Beside the Dice stand the seconds of the training, by the clock and
of all threads together.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from eseg_export.demo.em import CLASSES, em_phantom
from eseg_export.demo.phantom import SECTION, Phantom
from eseg_export.demo.strokes import sparse_strokes
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import predict_section
from eseg_zoo.metrics import Confusion
from eseg_zoo.patches.sections import sections_of
from eseg_zoo.training.run import train_run

TRAINING, TEST = (64, 256, 256), (20, 256, 256)


@dataclass(frozen=True)
class Row:
    """A network of the table: its rank, the thickness of a section that it is told, and its share of the steps."""

    name: str
    dims: int
    section: float
    share: float


ROWS = (Row("2D", 2, SECTION, 1), Row("3D", 3, SECTION, 1 / 3), Row("3D, fine", 3, 1, 1 / 3))


def settings(row: Row, folder: Path, *, steps: int, seed: int) -> Run:
    """Return the run of a row on the files in `folder`: the small preset with fewer steps."""
    own = {"steps": max(round(steps * row.share), 1)}
    return Run.model_validate(
        {
            "images": folder / "raw.tif",
            "labels": folder / "strokes.tif",
            "axes": "zyx",
            "classes": CLASSES,
            "preset": "small",
            "network": {"dims": row.dims},
            "voxel_size": {"z": row.section, "y": 1, "x": 1},
            "training": own,
            "semi_supervised": own,
            "seed": seed,
            "out": folder / f"{row.dims}d-{row.section}-{seed}",
        }
    )


def judge(checkpoint: Checkpoint, test: Phantom) -> Confusion:
    """Return the confusion over every voxel of the test volume."""
    predictor = Predictor(checkpoint, device="cpu")
    sections = sections_of(open_image(test.image, axes="zyx"), checkpoint.dims)
    found = np.stack([predict_section(predictor, section).argmax(0) for section in sections])
    indices = np.searchsorted([one.value for one in checkpoint.classes], test.truth)
    return Confusion.of(indices.ravel(), found.ravel(), classes=len(checkpoint.classes))


def measure(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, int, Confusion, str]]:
    """Yield (row, seed, confusion, seconds of the training and of its threads) for every row and seed."""
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        learnt, test = em_phantom(TRAINING, rng=rng), em_phantom(TEST, rng=rng)
        strokes = sparse_strokes(learnt.truth, fraction=options.fraction, rng=rng)
        tifffile.imwrite(folder / "raw.tif", learnt.image)
        tifffile.imwrite(folder / "strokes.tif", strokes)
        for row in ROWS:
            started, clock = time.process_time(), time.perf_counter()
            model = train_run(settings(row, folder, steps=options.steps, seed=seed))
            spent = f"{time.perf_counter() - clock:.0f}, {time.process_time() - started:.0f}"
            yield row.name, seed, judge(Checkpoint.load(model), test), spent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="steps of each stage of the 2D network")
    parser.add_argument("--fraction", type=float, default=0.0005, help="share of the voxels that is labelled")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("lightning").setLevel(logging.ERROR)
    columns: list[Any] = ["network", "seed", *CLASSES.values(), "mean Dice", "training, s and CPU-s"]
    table = Table(*columns, title=f"{options.steps} steps, {options.fraction:.2%} of {TRAINING} voxels labelled")
    with tempfile.TemporaryDirectory() as folder:
        for name, seed, confusion, spent in measure(options, Path(folder)):
            dice = (f"{value:.3f}" for value in confusion.dice)
            table.add_row(name, str(seed), *dice, f"{confusion.mean_dice:.3f}", spent)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
