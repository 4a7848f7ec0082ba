"""Predictions compared with labels, over labelled pixels only, a section at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.calibration import without_temperature
from eseg_zoo.data.labels import label_sections, read_labels
from eseg_zoo.data.volumes import chosen_slices, sections
from eseg_zoo.errors import InputError
from eseg_zoo.inference.maps import entropy
from eseg_zoo.inference.predict import Predictor
from eseg_zoo.metrics import Confusion, ErrorRanking, Reliability


@dataclass(frozen=True)
class Evaluation:
    """How a model does on labelled images; add two to merge data sets."""

    class_names: tuple[str, ...]
    confusion: Confusion
    reliability: Reliability
    reliability_without_temperature: Reliability  # as if the network's logits had not been divided by it
    ranking: ErrorRanking  # by the uncertainty that `eseg predict --uncertainty` writes

    def __add__(self, other: Evaluation) -> Evaluation:
        return Evaluation(
            self.class_names,
            self.confusion + other.confusion,
            self.reliability + other.reliability,
            self.reliability_without_temperature + other.reliability_without_temperature,
            self.ranking + other.ranking,
        )

    def figures(self) -> dict[str, Any]:
        """Return the figures for a JSON file; what needs pixels of a kind that there are none of is None."""
        dice = zip(self.class_names, self.confusion.dice, self.confusion.pixels, strict=True)
        curve = self.reliability
        bins = zip(curve.confidence.tolist(), curve.accuracy.tolist(), curve.pixels.tolist(), strict=True)
        return {
            "mean_dice": self.confusion.mean_dice,
            "dice": {name: float(value) if pixels else None for name, value, pixels in dice},
            "pixels": dict(zip(self.class_names, self.confusion.pixels.tolist(), strict=True)),
            "confusion": self.confusion.counts.tolist(),
            "calibration_error": curve.error,
            "calibration_error_without_temperature": self.reliability_without_temperature.error,
            "uncertainty_auroc": None if np.isnan(self.ranking.auroc) else self.ranking.auroc,
            "reliability": [
                {"confidence": confidence, "accuracy": accuracy, "pixels": pixels}
                for confidence, accuracy, pixels in bins
                if pixels
            ],
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
    evaluations = []
    for image_path, label_path in pairs:
        image, file_axes = predictor.open(image_path, axes)
        labels = read_labels(label_path, image, file_axes, classes=classes, unlabelled=unlabelled)
        truths = label_sections(labels, checkpoint.dims)
        found = sections(image, checkpoint.dims)
        for number in chosen_slices(slices, len(found), image_path, setting="slices"):
            if (truths[number] >= 0).any():
                evaluations.append(_evaluate_section(predictor, found[number], truths[number]))
    if not evaluations:
        raise InputError(f"{', '.join(str(labels) for _, labels in pairs)}: no pixel is labelled")
    return reduce(add, evaluations)


def _evaluate_section(predictor: Predictor, section: NDArray[np.generic], truth: NDArray[np.integer]) -> Evaluation:
    """Return the evaluation of one section (c, *space) over its labelled pixels; `truth` (*space) holds indices."""
    segmenter, names = predictor.segmenter, predictor.checkpoint.class_names
    labelled = truth >= 0
    probabilities = predictor.predict(section)[:, labelled]
    truth, prediction = truth[labelled], probabilities.argmax(0)
    shift = segmenter.log_prior_shift.flatten().cpu().numpy()
    plain = without_temperature(probabilities, temperature=float(segmenter.temperature), log_prior_shift=shift)
    return Evaluation(
        names,
        Confusion.of(truth, prediction, classes=len(names)),
        Reliability.of(truth, probabilities),
        Reliability.of(truth, plain),
        ErrorRanking.of(entropy(probabilities), prediction != truth),
    )
