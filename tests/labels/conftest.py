"""Strokes on a small phantom, and the labels of images opened as a training opens them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels
from labels.phantom import NAMES, SHAPE, Open


@pytest.fixture
def strokes() -> NDArray[np.uint8]:
    """Label values (z, y, x) of a few strokes: straight and oblique, touching, at borders, and single pixels."""
    values = np.zeros(SHAPE, np.uint8)
    values[0, 3, 2:20], values[0, 4, 2:20] = 1, 2
    for step in range(15):
        values[1, 10 + step, 20 + 2 * step : 22 + 2 * step] = 3
    values[1, 0, 0], values[1, 39, 51], values[2, 20:30, 51] = 2, 1, 2
    values[2, 5:9, 5:9] = 3
    return values


@pytest.fixture
def open_all() -> Open:
    """A function that opens the labels of images of a size, whose names are those of files that need not be there."""

    def opened(
        labels: Any, *, names: tuple[str, ...] = ("raw.tif",), shape: tuple[int, ...] = SHAPE, axes: str = "zyx",
        classes: Mapping[int, str] = NAMES, unlabelled: int = 0, dims: int = 2,
    ) -> list[LabelImage]:  # fmt: skip
        images: list[Image] = [open_image(np.zeros(shape, np.uint8), axes=axes, name=name) for name in names]
        return open_labels(images, given_labels(labels, len(names)), LabelReading(classes, unlabelled, dims))

    return opened
