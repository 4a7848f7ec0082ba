"""How a method does on the unseen slices of a data set, with no label but those that it learnt from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import eseg_zoo
from eseg_zoo.calibration.correction import HeldOut, fit_correction
from eseg_zoo.metrics import Confusion
from eseg_zoo.training.finish import frequency_sections, thin
from forest import PixelForest
from materials import Material, Plane

# Pixels a side of what the frequencies of other methods follow from, in the middle of slices.
FREQUENCY_SIDE = 384

LogitsOfPlane = Callable[[Plane], NDArray[np.floating]]
"""One slice (y, x) as stored -> logits (classes, y, x)."""


@dataclass(frozen=True)
class Judged:
    """A trained method; Dice by class over every pixel of the unseen slices."""

    argmax: dict[str, float]  # as if every class were equally frequent
    corrected: dict[str, float]  # with the frequencies that EM finds in unlabelled pixels
    training: float  # CPU seconds
    choosing: float = 0.0  # CPU seconds, of finding where to paint before it


def judge_network(model: eseg_zoo.Model, material: Material, training: float, choosing: float = 0.0) -> Judged:
    """Return how a model does, with the correction of its own, and the CPU seconds that were measured."""
    shift = model.checkpoint.segmenter_state["log_prior_shift"].numpy().reshape(-1, 1, 1)
    found = [model.predict(plane, axes="yx")["probabilities"].values for plane, _ in material.unseen.planes]
    scores = [np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)) for probabilities in found]
    return Judged(_dice([one - shift for one in scores], material), _dice(scores, material), training, choosing)


def judge_forest(material: Material, labels: Sequence[Plane], seed: int, choosing: float = 0.0) -> Judged:
    """Return how a random forest does that learns from these label planes now."""
    started, planes = time.process_time(), [plane for plane, _ in material.learnt.planes]
    forest = PixelForest(seed=seed).fit(planes, list(labels), len(material.classes))
    training = time.process_time() - started
    return judge_logits(lambda plane: np.log(forest.predict_probabilities(plane) + 1e-6), material, training, choosing)


def judge_logits(logits: LogitsOfPlane, material: Material, training: float, choosing: float = 0.0) -> Judged:
    """Return how a method does that has no correction of its own: it gets that of `eseg train`, with nothing held out.

    It must have learnt with every class equally often.
    """
    planes = [plane for plane, _ in material.learnt.planes]
    seen = [thin(logits(_middle(planes[number]))) for number in frequency_sections(len(planes))]
    none = HeldOut(np.zeros((0, len(material.classes))), np.zeros(0, np.int64))
    shift = fit_correction(none, seen).shift.reshape(-1, 1, 1)
    scores = [logits(plane) for plane, _ in material.unseen.planes]
    return Judged(_dice(scores, material), _dice([one + shift for one in scores], material), training, choosing)


def _middle(plane: Plane) -> Plane:
    starts = [max(n - FREQUENCY_SIDE, 0) // 2 for n in plane.shape]
    return plane[tuple(slice(start, start + FREQUENCY_SIDE) for start in starts)]


def _dice(scores: Sequence[NDArray[np.floating]], material: Material) -> dict[str, float]:
    """Return the Dice of each class over all unseen slices, of scores (classes, y, x) of each."""
    counts = [
        Confusion.of(truth.astype(np.int16) - 1, found.argmax(0), classes=len(material.classes)).counts
        for found, (_, truth) in zip(scores, material.unseen.planes, strict=True)
    ]
    return dict(zip(material.classes.values(), Confusion(np.sum(counts, axis=0)).dice.tolist(), strict=True))
