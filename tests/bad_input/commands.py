"""What the tests of this folder share: a tiny run, a command's outcome, and what an error must look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def stack(shape: tuple[int, ...] = (2, 64, 64)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def strokes(shape: tuple[int, ...] = (2, 64, 64)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[..., 10:14, 10], labels[..., 30:34, 40] = 1, 2
    return labels


def run_file(folder: Path, **changes: Any) -> Path:
    settings = {
        "images": "image.tif",
        "labels": "labels.tif",
        "axes": "zyx",
        "classes": {1: "membrane", 2: "cytoplasm"},
        "preset": "small",
        "out": "out",
        "network": {"filters": [4, 4, 4], "latents": 2},
        "training": {"steps": 2, "epoch_steps": 2, "batch_size": 4, "accelerator": "cpu"},
        "semi_supervised": {"steps": 0},
    } | changes
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


# What a command says of an image that it has opened, before anything can be wrong with it.
UNDERSTOOD = re.compile(r".+: (\d+ (frame|slice)s of )*\d+ x \d+, \d+ channels?, u?\w+\d+(, .+ [nµ]m)?")


def assert_one_line(outcome: Outcome, *words: str) -> None:
    *understood, error = outcome.err.splitlines()
    assert outcome.code == 1
    assert error.startswith("error: ")
    before = [line for line in understood if not line.startswith("warning: ")]  # what training says of its labels
    assert [line for line in before if not UNDERSTOOD.fullmatch(line)] == []
    for word in words:
        assert word in error
