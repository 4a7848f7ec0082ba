"""The three real data sets, each as slices to learn from and slices that no method has seen, with their truth.

A folder is known by its files: the Drosophila nerve cord (`vnc.py` names its source), the axons of data_axondeepseg_sem
(doi:10.5281/zenodo.5498378), or the nuclei of the Data Science Bowl 2018 (BBBC038). None is part of this repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

import vnc

Plane = NDArray[np.uint8]
Stack = NDArray[np.uint8]  # (z, y, x)


@dataclass(frozen=True)
class Labelled:
    """Images (z, y, x) and the class of every pixel in them, 1 to the number of classes."""

    images: list[Stack]
    truth: list[Stack]

    @property
    def planes(self) -> list[tuple[Plane, Plane]]:
        """Image and truth of each slice, those of all images in their order."""
        return list(zip(chain(*self.images), chain(*self.truth), strict=True))


@dataclass(frozen=True)
class Material:
    """A data set."""

    name: str
    classes: dict[int, str]
    learnt: Labelled
    unseen: Labelled


def read_material(folder: Path) -> Material:
    """Return the data set in a folder; raises ValueError where it is none of the three."""
    if (folder / "labels_scribbles.tif").exists():
        return Material("vnc", vnc.CLASSES, *_slices(folder, vnc.TRAINING, vnc.UNSEEN))
    if (folder / "rat3_data9.ome.tif").exists():
        classes = {1: "background", 2: "myelin", 3: "axon"}
        return Material("axons", classes, *(_axons(folder, numbers) for numbers in ((9, 10), (11,))))
    if (folder / "labels_dense.tif").exists():
        classes = {1: "background", 2: "nucleus", 3: "border"}
        return Material("nuclei", classes, *_slices(folder, range(16), range(16, 24)))
    raise ValueError(f"{folder} holds none of the three data sets")


def _slices(folder: Path, *parts: Sequence[int]) -> list[Labelled]:
    raw, dense = (tifffile.imread(folder / name) for name in ("raw.tif", "labels_dense.tif"))
    return [Labelled([raw[list(part)]], [dense[list(part)]]) for part in parts]


def _axons(folder: Path, numbers: Sequence[int]) -> Labelled:
    images, truth = (
        [tifffile.imread(folder / f"rat3_data{number}{end}")[None] for number in numbers]
        for end in (".ome.tif", "_dense.tif")
    )
    return Labelled(images, truth)


def stacks_of(labels: Sequence[Plane], learnt: Labelled) -> list[Stack]:
    """Return the label slices as one stack for each image."""
    ends = np.cumsum([0, *(len(image) for image in learnt.images)]).tolist()
    return [np.stack(labels[start:stop]) for start, stop in pairwise(ends)]
