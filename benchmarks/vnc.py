"""Dice on whole unseen slices of the Drosophila VNC data: this project's small preset against a random forest.

    python benchmarks/vnc.py DATA [--out runs/vnc]

DATA holds `raw.tif`, `labels_points.tif` and `labels_dense.tif` (14 slices, 1024 x 1024, five classes). Both methods
learn from the same points of slices 0-11 and get the same class-frequency correction: a temperature fitted on the
points of slices 12-13, then EM over unlabelled pixels of slices 0-11. Slices 12-13 are judged on every pixel.

Data: S. Gerhard, J. Funke, J. Martel, A. Cardona, R. Fetter, "Segmented anisotropic ssTEM dataset of neural tissue",
figshare, doi:10.6084/m9.figshare.856713 (2013). It is not part of this repository.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import torch
import yaml
from forest import PixelForest
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from eseg_zoo.calibration import fit_temperature
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import load_run
from eseg_zoo.frequencies import consistent_frequencies, largest_strength, log_prior_shift, supported_strength
from eseg_zoo.inference.predict import Predictor
from eseg_zoo.inference.volume import predict_section
from eseg_zoo.metrics import Confusion
from eseg_zoo.training.run import train

CLASSES = {1: "membrane", 2: "glia", 3: "mitochondrion", 4: "synapse", 5: "intracellular"}
TRAINING, UNSEEN = range(12), range(12, 14)
BALANCED = np.full(len(CLASSES), 1 / len(CLASSES))


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    method: str
    corrected: bool
    seconds: float  # of training, wall clock
    confusion: Confusion


def judge(logits: NDArray[np.floating], truth: NDArray[np.uint8]) -> Confusion:
    """Return the confusion of logits (slices, classes, y, x) with dense labels 1..5."""
    return Confusion.of(truth.astype(np.int16) - 1, logits.argmax(1), classes=len(CLASSES))


def run_network(data: Path, out: Path, seed: int) -> list[Row]:
    """Train the small preset as a user would, and judge it with and without its own correction."""
    settings = {
        "images": str((data / "raw.tif").resolve()),
        "labels": str((data / "labels_points.tif").resolve()),
        "axes": "zyx",
        "classes": CLASSES,
        "preset": "small",
        "out": str(out.resolve()),
        "slices": {"training": "0-11", "validation": "12-13"},
        "seed": seed,
    }
    out.mkdir(parents=True, exist_ok=True)
    run = out / "run.yaml"
    run.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    model = out / "model.pt"
    if not model.exists():
        train(load_run(run))
    predictor = Predictor(Checkpoint.load(model), device="cpu")
    seconds = predictor.checkpoint.training.seconds
    raw, truth = tifffile.imread(data / "raw.tif"), tifffile.imread(data / "labels_dense.tif")[list(UNSEEN)]
    rows = []
    for corrected in (False, True):
        if not corrected:
            shift = predictor.segmenter.log_prior_shift.clone()
            predictor.segmenter.log_prior_shift.zero_()
        else:
            predictor.segmenter.log_prior_shift.copy_(shift)
        found = np.stack([predict_section(predictor.segmenter, raw[z][None]) for z in UNSEEN])
        rows.append(Row("ε-Seg, small preset", corrected, seconds, judge(found, truth)))
    return rows


def run_forest(data: Path, seed: int) -> list[Row]:
    """Train the random forest on the same points and give it the same correction."""
    raw, points = tifffile.imread(data / "raw.tif"), tifffile.imread(data / "labels_points.tif")
    truth = tifffile.imread(data / "labels_dense.tif")[list(UNSEEN)]
    started = time.monotonic()
    forest = PixelForest(seed=seed, n_jobs=torch.get_num_threads())
    forest.fit(raw[list(TRAINING)], points[list(TRAINING)], len(CLASSES))
    seconds = time.monotonic() - started
    unseen = np.log(np.stack([forest.predict_probabilities(raw[z]) for z in UNSEEN]) + 1e-6)
    labelled = points[list(UNSEEN)] > 0
    held_out = points[list(UNSEEN)][labelled].astype(np.int64) - 1
    temperature = fit_temperature(np.moveaxis(unseen, 1, -1)[labelled], held_out)
    seen = [np.log(forest.predict_probabilities(raw[z]) + 1e-6)[:, 128:-128, 128:-128] for z in (0, 4, 7, 11)]
    pixels = np.concatenate([s.reshape(len(CLASSES), -1).T for s in seen])
    frequencies = consistent_frequencies(pixels, temperature=temperature, training=BALANCED)  # all as training does
    safe = largest_strength(pixels / temperature, frequencies, training=BALANCED)
    labelled_logits, rng = np.moveaxis(unseen, 1, -1)[labelled] / temperature, np.random.default_rng(seed)
    strength = supported_strength(labelled_logits, held_out, frequencies, training=BALANCED, limit=safe, rng=rng)
    shift = log_prior_shift(frequencies, training=BALANCED, strength=strength)[None, :, None, None]
    return [
        Row("random forest", False, seconds, judge(unseen, truth)),
        Row("random forest", True, seconds, judge(unseen / temperature + shift, truth)),
    ]


def main() -> None:
    """Print the table, and write it as JSON beside the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/vnc"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = run_forest(options.data, options.seed) + run_network(options.data, options.out, options.seed)
    table = Table("method", "correction", *CLASSES.values(), "mean Dice", "training, s")
    for row in rows:
        dice = [f"{value:.3f}" for value in row.confusion.dice]
        mean, seconds = f"{row.confusion.mean_dice:.3f}", f"{row.seconds:.0f}"
        table.add_row(row.method, "yes" if row.corrected else "no", *dice, mean, seconds)
    Console(width=140).print(table)
    figures = [
        {
            "method": row.method,
            "corrected": row.corrected,
            "training_seconds": row.seconds,
            "dice": dict(zip(CLASSES.values(), row.confusion.dice.tolist(), strict=True)),
            "mean_dice": row.confusion.mean_dice,
        }
        for row in rows
    ]
    (options.out / "table.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
