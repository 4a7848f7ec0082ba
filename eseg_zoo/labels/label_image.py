"""The labels of an image, made of one layer or several: class indices in a window, and all labelled pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.images.image import Image
from eseg_zoo.labels.layers import UNLABELLED, Box, Layer, Place, last_of_each
from eseg_zoo.labels.painted import LabelClass
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import Section, sections_of


@dataclass(frozen=True)
class Conflicts:
    """Pixels that were given several classes."""

    count: int
    first: Place | None  # one of them: t, z, y, x
    names: tuple[str, ...]  # of the files

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(frozen=True)
class LabelImage:
    """The labels of one image, read a window at a time."""

    image: Image  # that they are of
    layers: tuple[Layer, ...]  # a later one paints over those before it
    classes: tuple[LabelClass, ...]  # in the order of the class indices
    dims: int  # spatial rank of the sections

    @property
    def name(self) -> str:
        """The names of its files."""
        return ", ".join(layer.name for layer in self.layers)

    @cached_property
    def sections(self) -> list[Section]:
        """The slices or volumes of its image."""
        return sections_of(self.image, self.dims)

    def read(self, number: int, window: Sequence[slice]) -> NDArray[np.int16]:
        """Return class indices (*window) in a section, `UNLABELLED` where there is no label.

        Raises `InputError` for a value that has no class name.
        """
        region = self.sections[number].region(window)
        found = _composite(self.layers, (region["t"], region["z"], region["y"], region["x"]))
        return found.reshape([part.stop - part.start for part in window])

    def anchors(self, *, first: int = 0) -> list[AnchorSet]:
        """Return the labelled pixels of each section; their places call the first one `first`, and count from there.

        Where nothing was written and that means 'not labelled', nothing is read.
        """
        none = np.zeros((0, self.dims), np.int64), np.zeros(0, np.int16)
        found = [[none] for _ in self.sections]
        for layer in self.layers:
            for points in layer.points():
                if not len(points.places):
                    continue
                t, z = points.places[0, :2].tolist()
                number = t if self.dims == 3 else t * self.image.sizes["z"] + z
                places = points.places[:, 4 - self.dims :].copy()  # a view would keep all four columns
                found[number].append((places, points.indices))
        anchors = []
        for number, (section, parts) in enumerate(zip(self.sections, found, strict=True), start=first):
            places = np.concatenate([places for places, _ in parts])
            indices = np.concatenate([indices for _, indices in parts])
            if len(self.layers) > 1:
                merged = last_of_each(np.ravel_multi_index(tuple(places.T), section.space).astype(np.int64), indices)
                places, indices = np.stack(np.unravel_index(merged.keys, section.space), 1), merged.indices
            anchors.append(AnchorSet.of(np.insert(places, 0, number, axis=1), indices.astype(np.int64)))
        return anchors

    def conflicts(self) -> Conflicts:
        """Return which pixels were given several classes, in one file or by several.

        What lies under a later layer is read for it; nothing is where there is one layer.
        """
        count = sum(layer.overlaps[0] for layer in self.layers)
        places = [layer.overlaps[1] for layer in self.layers if layer.overlaps[1] is not None]
        names = {layer.name for layer in self.layers if layer.overlaps[0]}
        for number, layer in enumerate(self.layers[1:], start=1):
            for points in layer.points():
                clash = np.zeros(len(points.places), bool)
                for under in self.layers[:number]:
                    before = _at(under, points.places)
                    unlike = (before != UNLABELLED) & (before != points.indices)
                    clash |= unlike
                    names |= {under.name, layer.name} if unlike.any() else set()
                count += int(clash.sum())
                places += [_as_place(place) for place in points.places[clash][:1]]
        in_order = dict.fromkeys(layer.name for layer in self.layers if layer.name in names)
        return Conflicts(count, min(places, default=None), tuple(in_order))


def _at(layer: Layer, places: NDArray[np.int64]) -> NDArray[np.int16]:
    """Return the class indices (n,) that a layer has at places (n, 4) that are near each other."""
    if not len(places):
        return np.zeros(0, np.int16)
    start, stop = places.min(0), places.max(0) + 1
    t, z, y, x = (slice(*ends) for ends in zip(start.tolist(), stop.tolist(), strict=True))
    found: NDArray[np.int16] = layer.read((t, z, y, x))[tuple((places - start).T)]
    return found


def _as_place(numbers: NDArray[np.int64]) -> Place:
    t, z, y, x = numbers.tolist()
    return t, z, y, x


def _composite(layers: Sequence[Layer], box: Box) -> NDArray[np.int16]:
    """Return the class indices (t, z, y, x) that layers have in a box, one painted over the other."""
    found = np.full([part.stop - part.start for part in box], UNLABELLED, np.int16)
    for layer in layers:
        painted = layer.read(box)
        np.copyto(found, painted, where=painted != UNLABELLED)
    return found
