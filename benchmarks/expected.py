"""How far the time and memory that are told before a training are from those that it takes.

    OMP_NUM_THREADS=1 python benchmarks/expected.py [--steps 12]

Networks of several shapes are trained on noise for a few steps, each in a process of its own. Time is CPU time, which
on one thread is the time that an idle machine takes, of all steps of a stage but the first, which is slow; memory is
the most that the process had. The constants of `eseg_zoo/training/expected.py` are chosen so that the columns 'told /
taken' are near 1. Both clocks count the CPU time of this process, so that others disturb less.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.config import Run
from eseg_zoo.images.opening import open_image
from eseg_zoo.machine import multiply_adds_per_second
from eseg_zoo.progress import Progress, Watch
from eseg_zoo.training.data import open_pairs
from eseg_zoo.training.expected import expected, step_work
from eseg_zoo.training.plans import plans
from eseg_zoo.training.run import train_run

CASES: dict[str, dict[str, Any]] = {
    "2D small": {"preset": "small"},
    "2D, half as wide": {"preset": "small", "network": {"width": 16, "latents": 8}},
    "2D default": {"preset": "default"},
    "3D small, fine z": {"preset": "small", "network": {"dims": 3}, "voxel_size": {"z": 1.0, "y": 1.0, "x": 1.0}},
    "3D small, coarse z": {"preset": "small", "network": {"dims": 3}, "voxel_size": {"z": 9.0, "y": 1.0, "x": 1.0}},
}
CLASSES = {1: "one", 2: "two", 3: "three"}
SHAPE = (16, 256, 256)
LABELLED = 0.001


@dataclass(frozen=True)
class Taken:
    """What a stage took, and what was told before."""

    stage: str
    seconds: float  # a step
    told_seconds: float
    memory: float  # bytes, of the whole training so far
    told_memory: float


def measure(case: dict[str, Any], steps: int) -> list[Taken]:
    """Train for a few steps in each stage; return what they took."""
    logging.disable(logging.WARNING)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, SHAPE, dtype=np.uint8)
    labels = (rng.integers(1, 4, SHAPE) * (rng.random(SHAPE) < LABELLED)).astype(np.uint8)
    times: dict[str, list[tuple[int, float]]] = {}
    with tempfile.TemporaryDirectory() as out:
        run = Run.checked(_settings(case, steps, Path(out)), "the case")
        arrays = [open_image(image, axes="zyx")], [open_image(labels, axes="zyx")]
        before = multiply_adds_per_second(time.process_time)

        def note(progress: Progress) -> None:
            times.setdefault(progress.what, []).append((progress.done, time.process_time()))

        train_run(run, open_pairs(run, *arrays), watch=Watch(note))
        rate = max(before, multiply_adds_per_second(time.process_time))
    shape = run.network.architecture(
        channels=1, classes=len(CLASSES), voxel_size={str(axis): size for axis, size in run.voxel_size.items()}
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = []
    for plan in plans(run):
        (first, began), (last, ended) = times[plan.name][0], times[plan.name][-1]
        told = step_work(plan, run, shape) / rate
        seconds = (ended - began) / (last - first)
        found.append(Taken(plan.name, seconds, told, memory, expected(run, shape).memory + image.nbytes))
    return found


def _settings(case: dict[str, Any], steps: int, out: Path) -> dict[str, Any]:
    training = {"steps": steps, "epoch_steps": steps, "validation_fraction": 0, "accelerator": "cpu"}
    given = {"images": "images[0]", "labels": "labels[0]", "axes": "zyx", "classes": CLASSES, "out": str(out)}
    return {**given, "training": training, "semi_supervised": {"steps": steps}, **case}


def main() -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="in each stage")
    options = parser.parse_args()
    print("| network | stage | CPU s a step | told / taken | memory, GB | told / taken |\n|---|---|---|---|---|---|")
    for name, case in CASES.items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            for one in pool.apply(measure, (case, options.steps)):
                cells = f"{one.seconds:.2f} | {one.told_seconds / one.seconds:.2f} | {one.memory / 1e9:.2f}"
                print(f"| {name} | {one.stage} | {cells} | {one.told_memory / one.memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
