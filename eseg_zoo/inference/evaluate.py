"""Predictions compared with labels, over labelled pixels only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.data.labels import label_sections, read_labels
from eseg_zoo.data.volumes import sections
from eseg_zoo.errors import InputError
from eseg_zoo.inference.predict import Predictor
from eseg_zoo.inference.volume import predict_section
from eseg_zoo.metrics import Confusion


@dataclass(frozen=True)
class Evaluation:
    """The confusion matrix of a model on labelled images."""

    class_names: tuple[str, ...]
    confusion: Confusion

    def figures(self) -> dict[str, Any]:
        """Return the figures for a JSON file; a class without a labelled pixel has the Dice None."""
        dice = zip(self.class_names, self.confusion.dice, self.confusion.pixels, strict=True)
        return {
            "mean_dice": self.confusion.mean_dice,
            "dice": {name: float(value) if pixels else None for name, value, pixels in dice},
            "pixels": dict(zip(self.class_names, self.confusion.pixels.tolist(), strict=True)),
            "confusion": self.confusion.counts.tolist(),
        }


def evaluate_files(
    predictor: Predictor,
    pairs: Sequence[tuple[Path, Path]],
    *,
    slices: str | None,
    unlabelled: int | None,
    axes: str | None,
) -> Evaluation:
    """Return the evaluation over (image, labels) files; `slices` such as '12-13' picks sections of each image.

    `unlabelled` is the label value that means 'not labelled', by default that of the training labels.

    Raises `InputError` for files that do not fit, and when no pixel is labelled.
    """
    checkpoint = predictor.checkpoint
    if unlabelled is None:
        unlabelled = checkpoint.unlabelled
    classes = dict(zip(checkpoint.class_values, checkpoint.class_names, strict=True))
    confusion = Confusion(np.zeros((len(classes), len(classes)), np.int64))
    for image_path, label_path in pairs:
        image, file_axes = predictor.open(image_path, axes)
        labels = read_labels(label_path, image, file_axes, classes=classes, unlabelled=unlabelled)
        truths = label_sections(labels, checkpoint.dims)
        found = sections(image, checkpoint.dims)
        for number in _chosen(slices, len(found), image_path):
            if (truths[number] >= 0).any():
                prediction = predict_section(predictor.segmenter, found[number], tile=predictor.tile).argmax(0)
                confusion += Confusion.of(truths[number], prediction, classes=len(classes))
    if not confusion.counts.any():
        raise InputError(f"{', '.join(str(labels) for _, labels in pairs)}: no pixel is labelled")
    return Evaluation(checkpoint.class_names, confusion)


def _chosen(slices: str | None, count: int, path: Path) -> range:
    if slices is None:
        return range(count)
    match = re.fullmatch(r"(\d+)-(\d+)", slices)
    if not match or int(match[1]) > int(match[2]) or int(match[2]) >= count:
        raise InputError(f"slices is {slices}; {path} has the slices 0-{count - 1}, given as first-last")
    return range(int(match[1]), int(match[2]) + 1)
