"""Predictions compared with labels, over labelled pixels only, a tile at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
import torch

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.images.slices import chosen_slices
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import (
    Window,
    crop_to,
    passes_at_once,
    read_padded,
    require_probabilities,
    tile_size,
    tiles_of,
)
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.landmarks import known_again
from eseg_zoo.memory import telling_way_out
from eseg_zoo.metrics import Confusion, ErrorRanking, Reliability, entropy
from eseg_zoo.patches.sections import sections_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """How a model does on labelled images; add two to merge data sets."""

    class_names: tuple[str, ...]
    confusion: Confusion
    reliability: Reliability
    reliability_without_temperature: Reliability  # as if the network's logits had not been divided by it
    ranking: ErrorRanking  # by the uncertainty that `eseg predict --uncertainty` writes
    familiar: frozenset[int] = frozenset()  # landmarks among the labels: the model was trained on them

    def __add__(self, other: Evaluation) -> Evaluation:
        return Evaluation(
            self.class_names,
            self.confusion + other.confusion,
            self.reliability + other.reliability,
            self.reliability_without_temperature + other.reliability_without_temperature,
            self.ranking + other.ranking,
            self.familiar | other.familiar,
        )

    def __repr__(self) -> str:
        pixels = int(self.confusion.pixels.sum())
        return f"<Evaluation: mean Dice {self.confusion.mean_dice:.3f} over {pixels:,} labelled pixels>"

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
            "trained_on": bool(self.familiar),
            "uncertainty_auroc": None if np.isnan(self.ranking.auroc) else self.ranking.auroc,
            "reliability": [
                {"confidence": confidence, "accuracy": accuracy, "pixels": pixels}
                for confidence, accuracy, pixels in bins
                if pixels
            ],
        }


def evaluate_images(
    predictor: Predictor,
    pairs: Sequence[tuple[Image, LabelImage]],
    *,
    slices: str | None = None,
    tile: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Return the evaluation over images and their labels; `slices` such as '12-13' picks sections of each image.

    `progress` hears of tiles done and their number. Raises `InputError` when no pixel is labelled.
    """
    shape, dims = predictor.checkpoint.architecture, predictor.checkpoint.dims
    work, at_once = [], 1
    for image, labels in pairs:
        found = sections_of(image, dims)
        chosen = chosen_slices(slices, len(found), image.name, setting="slices")
        size = tile_size(shape, found[0].space, len(found), side=tile)
        at_once = max(at_once, passes_at_once(shape, size, predictor.device))
        work += [
            partial(_evaluate_tile, predictor, image, labels, n, w)
            for n in chosen
            for w in tiles_of(found[n].space, size)
        ]
    evaluations = []
    threads = torch.get_num_threads()
    with (
        telling_way_out("give a smaller --tile, such as 256"),
        ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        for done, evaluation in enumerate(pool.map(lambda task: task(), work), start=1):
            evaluations += [evaluation] if evaluation else []
            progress(done, len(work))
    torch.set_num_threads(threads)
    if not evaluations:
        raise InputError(f"{', '.join(labels.name for _, labels in pairs)}: no pixel is labelled")
    merged: Evaluation = reduce(add, evaluations)
    if merged.familiar:
        log.warning(
            "The model was trained on some of these labels (%d of the %d that it remembers), so the figures are too "
            "good; evaluate it on other images or slices",
            len(merged.familiar),
            len(predictor.checkpoint.training.landmarks),
        )
    return merged


def _evaluate_tile(
    predictor: Predictor, image: Image, labels: LabelImage, number: int, window: Window
) -> Evaluation | None:
    """Return the evaluation of one tile of a section over its labelled pixels; None where there are none."""
    truth = labels.read(number, window)
    labelled = truth >= 0
    if not labelled.any():
        return None
    names = predictor.checkpoint.class_names
    geometry, landmarks = predictor.checkpoint.geometry, predictor.checkpoint.training.landmarks
    section = sections_of(image, labels.dims)[number]
    padded = read_padded(section, window, geometry)
    familiar = known_again(landmarks, padded, truth, window, geometry.margin)
    found = [crop_to(one, window)[:, labelled] for one in predictor.with_and_without_temperature(padded)]
    for one in found:
        require_probabilities(one, padded, section, window)
    probabilities, plain = found
    truth, prediction = truth[labelled], probabilities.argmax(0)
    return Evaluation(
        names,
        Confusion.of(truth, prediction, classes=len(names)),
        Reliability.of(truth, probabilities),
        Reliability.of(truth, plain),
        ErrorRanking.of(entropy(probabilities), prediction != truth),
        frozenset(familiar),
    )
