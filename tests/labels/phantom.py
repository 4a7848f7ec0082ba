"""A small phantom: what its labels are, and how a test reads them back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.labels.label_image import LabelImage

SHAPE = (3, 40, 52)
NAMES = {1: "membrane", 2: "cytoplasm", 3: "mitochondrion"}

Open = Callable[..., list[LabelImage]]  # the fixture `open_all`


def values_of(labels: LabelImage) -> NDArray[np.int64]:
    """The label values (section, *space) of all anchors, by the values of the classes, 0 where there is none."""
    found = np.zeros((len(labels.sections), *labels.sections[0].space), np.int64)
    values = np.array([one.value for one in labels.classes])
    for anchors in labels.anchors():
        found[tuple(anchors.places.T)] = values[anchors.labels]
    return found


def read_of(labels: LabelImage) -> NDArray[np.int64]:
    """The same, but read a section at a time."""
    values = np.array([0, *(one.value for one in labels.classes)])
    return np.stack([values[labels.read(n, section.whole) + 1] for n, section in enumerate(labels.sections)])
