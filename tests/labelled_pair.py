"""An image and its labels, as a training hands them to its report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels
from eseg_zoo.report.scenes import Pair

CLASSES = {1: "membrane", 2: "cytoplasm", 3: "mito|chondrion"}


def pair_of(
    shape: tuple[int, ...],
    labelled: dict[tuple[int, ...], int],
    *,
    axes: str = "zyx",
    dims: int = 2,
    image: Any = None,
) -> Pair:
    """An image of noise, and labels of these values at these places."""
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8) if image is None else image
    labels = np.zeros([n for axis, n in zip(axes, shape, strict=True) if axis != "c"], np.uint8)
    for place, value in labelled.items():
        labels[place] = value
    opened = open_image(pixels, axes=axes, name="folder/image.tif")
    values = open_image(labels, axes=axes.replace("c", ""), name="labels")
    return opened, open_labels([opened], given_labels(values, 1), LabelReading(CLASSES, 0, dims))[0]


def with_slices(checkpoint: Checkpoint, **slices: str) -> Checkpoint:
    return replace(checkpoint, settings=checkpoint.settings | {"slices": slices, "voxel_size": {}})
