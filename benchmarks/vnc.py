"""The Drosophila VNC data: labels drawn from it, one correction for every method, and the judgement.

A folder holds `raw.tif`, `labels_points.tif`, `labels_scribbles.tif` and `labels_dense.tif` (14 slices, five classes).
Methods learn from slices 0-11 and are judged on every pixel of slices 12-13. The points of slices 12-13 are what every
method may validate and calibrate on, whatever it learns from.

Data: S. Gerhard, J. Funke, J. Martel, A. Cardona, R. Fetter, "Segmented anisotropic ssTEM dataset of neural tissue",
figshare, doi:10.6084/m9.figshare.856713 (2013). It is not part of this repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from eseg_zoo.calibration.correction import Correction, HeldOut, fit_correction
from eseg_zoo.metrics import Confusion
from eseg_zoo.training.finish import frequency_sections, frequency_window, thin

CLASSES = {1: "membrane", 2: "glia", 3: "mitochondrion", 4: "synapse", 5: "intracellular"}
TRAINING, UNSEEN = range(12), range(12, 14)
VOXEL_SIZE = {"z": 0.05, "y": 0.0046, "x": 0.0046}  # micrometres

LogitsOfSlice = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""One slice (y, x) as stored -> logits (classes, y, x)."""


@dataclass(frozen=True)
class Volume:
    """Images and the label images that exist of them, each uint8 (z, y, x); label 0 is 'not labelled'."""

    folder: Path
    raw: NDArray[np.uint8]
    labels: dict[str, NDArray[np.uint8]]  # "points", "scribbles", "dense"

    @classmethod
    def read(cls, folder: Path) -> Volume:
        kinds = ("points", "scribbles", "dense")
        labels = {kind: tifffile.imread(folder / f"labels_{kind}.tif") for kind in kinds}
        return cls(folder, tifffile.imread(folder / "raw.tif"), labels)

    def draw(self, kind: str, per_class: int | None, draw: int) -> NDArray[np.uint8]:
        """Return the label image (z, y, x) of one row: drawn labels in slices 0-11, all points in slices 12-13."""
        drawn = thin_labels(self.labels[kind], TRAINING, per_class, draw)
        drawn[list(UNSEEN)] = self.labels["points"][list(UNSEEN)]
        return drawn


def thin_labels(
    labels: NDArray[np.uint8], slices: Sequence[int], per_class: int | None, draw: int
) -> NDArray[np.uint8]:
    """Return a copy of labels (z, y, x) in which each of these slices keeps `per_class` random pixels of each class.

    Without replacement; `draw` is the seed, and draws of different sizes are independent, not nested. None keeps all.
    Raises ValueError where a slice has fewer pixels of a class.
    """
    thinned = labels.copy()
    if per_class is None:
        return thinned
    rng = np.random.default_rng([draw, per_class])
    for z in slices:
        thinned[z] = 0
        for value in CLASSES:
            places = np.argwhere(labels[z] == value)
            if len(places) < per_class:
                raise ValueError(f"slice {z} has {len(places)} pixels of label {value}; {per_class} are wanted")
            chosen = rng.choice(places, per_class, replace=False)
            thinned[z][tuple(chosen.T)] = value
    return thinned


def common_correction(predict: LogitsOfSlice, volume: Volume, *, held_out: NDArray[np.floating]) -> Correction:
    """Return the correction that `eseg train` makes, for a method that has none of its own.

    The method must have learnt with every class equally often. The calibration fits the points of slices 12-13, whose
    logits are `held_out` (slices, classes, y, x). The frequencies come from unlabelled pixels of slices 0-11, the same
    as in training.
    """
    points = volume.labels["points"][list(UNSEEN)]
    labelled = points > 0
    known = HeldOut(np.moveaxis(held_out, 1, -1)[labelled], points[labelled].astype(np.int64) - 1)
    seen = []
    for number in frequency_sections(len(TRAINING)):
        logits = predict(volume.raw[TRAINING[number]])
        window = frequency_window([slice(0, length) for length in logits.shape[1:]])
        seen.append(thin(logits[(slice(None), *window)]))
    return fit_correction(known, seen)


def judge(scores: NDArray[np.floating], truth: NDArray[np.uint8]) -> dict[str, float]:
    """Return the Dice of each class, 0..1, for scores (slices, classes, y, x) against dense labels 1..5."""
    confusion = Confusion.of(truth.astype(np.int16) - 1, scores.argmax(1), classes=len(CLASSES))
    return dict(zip(CLASSES.values(), confusion.dice.tolist(), strict=True))


@dataclass(frozen=True)
class Judged:
    """Dice by class over every pixel of slices 12-13, calibrated, without and with the correction for frequencies."""

    argmax: dict[str, float]
    corrected: dict[str, float]


def correct(predict: LogitsOfSlice, volume: Volume) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return logits (slices, classes, y, x) of slices 12-13: calibrated, and then corrected for frequencies too."""
    found = np.stack([predict(volume.raw[z]) for z in UNSEEN])
    correction = common_correction(predict, volume, held_out=found)
    calibrated = np.stack([correction.calibrate(logits) for logits in found])
    return calibrated, calibrated + correction.shift[:, None, None]


def judge_method(predict: LogitsOfSlice, volume: Volume) -> Judged:
    """Return the judgement of a method that is given the common correction."""
    calibrated, corrected = correct(predict, volume)
    truth = volume.labels["dense"][list(UNSEEN)]
    return Judged(judge(calibrated, truth), judge(corrected, truth))
