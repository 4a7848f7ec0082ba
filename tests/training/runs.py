"""A small stack that trains in seconds, its run files, and the pieces of a training taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import yaml

from eseg_zoo.config import Run, load_run
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import PatchSource
from eseg_zoo.training.data import TrainingData, read_training_data

CLASSES = {1: "dark", 4: "bright"}
TRAINING: dict[str, Any] = {"steps": 12, "epoch_steps": 6, "batch_size": 8, "accelerator": "cpu"}
SEMI_SUPERVISED: dict[str, Any] = {"steps": 6, "labelled": 4, "unlabelled": 2, "cells": 2}
SUPERVISED_ONLY: dict[str, Any] = {"semi_supervised": {"steps": 0}}


def write_inputs(folder: Path) -> None:
    """A stack whose left half is dark and right half bright, with strokes of 4 pixels; and its run file."""
    rng = np.random.default_rng(0)
    image = rng.normal(90, 10, (3, 64, 64))
    image[:, :, 32:] += 60
    labels = np.zeros(image.shape, np.uint8)
    for row in range(6, 60, 8):
        labels[:, row, 8:12], labels[:, row, 50:54] = 1, 4
    tifffile.imwrite(folder / "image.tif", image.astype(np.uint8), photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack")
    write_run(folder)


def write_run(folder: Path, **changes: Any) -> Path:
    """Write `run.yaml`; by default it is of the supervised stage alone."""
    settings = {
        "images": "image.tif",
        "labels": "labels.tif",
        "axes": "zyx",
        "classes": CLASSES,
        "preset": "small",
        "out": "out",
        "network": {"filters": [8, 8, 8], "latents": 4},
        "training": TRAINING,
        **SUPERVISED_ONLY,
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings | changes, sort_keys=False), encoding="utf-8")
    return path


def learnt(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The classifier's part of a checkpoint's state, without the last bias, to which the calibration was added."""
    return {
        key: value
        for key, value in state.items()
        if key.startswith("classifier.") and key != "classifier.head.classify.bias"
    }


def run_in(folder: Path, **changes: Any) -> Run:
    return load_run(write_run(folder, **changes))


def network_of(run: Run, seed: int = 0) -> HVAE:
    """A new network of the run's shape for one channel."""
    torch.manual_seed(seed)
    return HVAE(run.network.architecture(channels=1, classes=len(run.classes)))


def source_of(run: Run) -> tuple[PatchSource, TrainingData]:
    """The patches of the run for its own network, as a training cuts them."""
    data = read_training_data(run)
    geometry = run.network.architecture(channels=1, classes=len(run.classes)).geometry
    patch = PatchGeometry(geometry.stride, geometry.margin)
    return data.source(patch), data
