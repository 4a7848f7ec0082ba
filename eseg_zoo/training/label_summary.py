"""Where the labels of a run are: pixels, strokes and slices of each class, and what of them is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import Section


@dataclass(frozen=True)
class LabelSummary:
    """Counts by class, in the order of the classes; what is held out for validation is among them."""

    pixels: dict[str, int]
    strokes: dict[str, int]
    slices: dict[str, int]  # how many have a label of the class
    labelled_slices: list[tuple[int, int]]  # image and slice in it, along t and then z; both from 0
    all_slices: int
    held_out_pixels: dict[str, int]
    held_out_strokes: dict[str, int]


def summary_of(
    sections: Sequence[Section], training: AnchorSet, validation: AnchorSet, classes: Sequence[str]
) -> LabelSummary:
    """Return where the labels are; the anchors' sections are numbers in `sections`, all those of all images."""
    slices = Slices(sections)
    places = np.concatenate([slices.of(anchors) for anchors in (training, validation)])
    labels = np.concatenate([training.labels, validation.labels])
    held_out = _strokes(validation, len(classes))
    strokes = _strokes(training, len(classes)) + held_out  # a stroke is never on both sides
    planes = [len(np.unique(places[labels == index], axis=0)) for index in range(len(classes))]

    def named(counts: Sequence[int] | NDArray[np.integer]) -> dict[str, int]:
        return {name: int(count) for name, count in zip(classes, counts, strict=True)}

    return LabelSummary(
        pixels=named(np.bincount(labels, minlength=len(classes))),
        strokes=named(strokes),
        slices=named(planes),
        labelled_slices=[(image, plane) for image, plane in np.unique(places, axis=0).tolist()],
        all_slices=slices.count,
        held_out_pixels=named(np.bincount(validation.labels, minlength=len(classes))),
        held_out_strokes=named(held_out),
    )


def _strokes(anchors: AnchorSet, classes: int) -> NDArray[np.integer]:
    """Return the number of strokes of each class."""
    found: NDArray[np.integer] = np.array(
        [len(np.unique(anchors.strokes[anchors.labels == index])) for index in range(classes)]
    )
    return found


class Slices:
    """Which slice of which image a place is on, for sections that are slices or volumes."""

    def __init__(self, sections: Sequence[Section]):
        images = list(dict.fromkeys(section.image.name for section in sections))
        depths = [section.image.sizes["z"] for section in sections]
        self.image_of = np.array([images.index(section.image.name) for section in sections])
        self.first_of = np.array([s.t * depth + (s.z or 0) for s, depth in zip(sections, depths, strict=True)])
        self.count = sum(depth if section.z is None else 1 for section, depth in zip(sections, depths, strict=True))

    def of(self, anchors: AnchorSet) -> NDArray[np.int64]:
        """Return image and slice (n, 2) of each anchor."""
        numbers = anchors.places[:, 0]
        deeper = anchors.places[:, 1] if anchors.places.shape[1] == 4 else 0
        return np.stack([self.image_of[numbers], self.first_of[numbers] + deeper], 1).astype(np.int64)
