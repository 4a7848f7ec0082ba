"""Label images: one value for each class, and one that means 'not labelled'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import Section, Window, read_together, sections_of

UNLABELLED = -1


@dataclass(frozen=True)
class LabelImage:
    """The labels of one image, read a window at a time.

    It has the axes of its image but for c. Class indices are in the order of `classes`.
    """

    pixels: Image
    classes: Mapping[int, str]  # label value -> class name
    unlabelled: int  # the value of pixels without a label
    dims: int  # spatial rank of the sections

    @classmethod
    def of(cls, pixels: Image, image: Image, *, classes: Mapping[int, str], unlabelled: int, dims: int) -> LabelImage:
        """Return the labels in `pixels`, those of `image`; raises `InputError` when their sizes differ.

        Axes of length 1 may be missing in either.
        """
        found, expected = ({axis: n for axis, n in one.sizes.items() if axis != "c"} for one in (pixels, image))
        if pixels.sizes["c"] > 1:
            raise InputError(
                f"{pixels.name} has {pixels.sizes['c']} channels; a label image has one value at each pixel"
            )
        if found != expected:
            raise InputError(
                f"{pixels.name} has {_tell(found)}, but its image {image.name} has {_tell(expected)}"
                f"{_expected(found, expected, unlabelled)}"
            )
        return cls(pixels, classes, unlabelled, dims)

    @cached_property
    def sections(self) -> list[Section]:
        """Its slices or volumes, in the order of the image's."""
        return sections_of(self.pixels, self.dims)

    def read(self, number: int, window: Sequence[slice]) -> NDArray[np.int16]:
        """Return class indices (*window) in a section, `UNLABELLED` where there is no label.

        Raises `InputError` for a value that has no class name.
        """
        return self._indices(self.sections[number].read(window)[0], number, window)

    def anchors(self, *, first: int = 0) -> list[AnchorSet]:
        """Return the labelled pixels of each section; their places call the first one `first`, and count from there.

        Where nothing was written and that means 'not labelled', nothing is read.
        """
        none = np.zeros((0, self.dims), np.int64), np.zeros(0, np.int64)
        found = [[none] for _ in self.sections]
        for number, window, (values,) in read_together(self.sections, self._may_have_labels):
            if (values == self.unlabelled).all():
                continue
            indices = self._indices(values, number, window)
            inside = np.argwhere(indices != UNLABELLED)
            labels = indices[tuple(inside.T)].astype(np.int64)
            found[number].append((inside + [part.start for part in window], labels))
        return [
            AnchorSet.of(
                np.insert(np.concatenate([places for places, _ in parts]), 0, number, axis=1),
                np.concatenate([labels for _, labels in parts]),
            )
            for number, parts in enumerate(found, start=first)
        ]

    def _may_have_labels(self, number: int, window: Window) -> bool:
        return bool(self.pixels.absent_value(self.sections[number].region(window)) != self.unlabelled)

    def _indices(self, values: NDArray[np.generic], number: int, window: Sequence[slice]) -> NDArray[np.int16]:
        """Return the class indices of the values (*window) that a section has in a window."""
        indices = np.full(values.shape, UNLABELLED, np.int16)
        known = values == self.unlabelled
        for index, value in enumerate(self.classes):
            found = values == value
            indices[found] = index
            known |= found
        if not known.all():
            self._refuse(values, ~known, self.sections[number], window)
        return indices

    def _refuse(
        self, values: NDArray[np.generic], unknown: NDArray[np.bool_], section: Section, window: Sequence[slice]
    ) -> None:
        first = np.argwhere(unknown)[0]
        starts = {axis: part.start for axis, part in section.region(window).items()}
        starts |= {axis: starts[axis] + int(n) for axis, n in zip("zyx"[-self.dims :], first, strict=True)}
        place = ", ".join(f"{axis}={starts[axis]}" for axis in "tzyx" if axis in self.pixels.axes)
        names = ", ".join(f"{value}: {name}" for value, name in self.classes.items())
        raise InputError(
            f"{self.pixels.name} has the label value {values[tuple(first)]:g} at {place}, which has no class name "
            f"(classes are {names}; {self.unlabelled} means not labelled)"
        )


def _expected(found: Mapping[str, int], expected: Mapping[str, int], unlabelled: int) -> str:
    """Return what is expected where the labels are one slice of a stack; nothing where they are not."""
    planes = {axis: n for axis, n in expected.items() if axis in "tz" and n > 1}
    if not planes or any(found[axis] != n for axis, n in expected.items() if axis not in planes):
        return ""
    if any(found[axis] != 1 for axis in planes):
        return ""
    count = prod(planes.values())
    return f": it is one slice, but all {count} are expected, with {unlabelled} where nothing is labelled"


def _tell(sizes: Mapping[str, int]) -> str:
    return " x ".join(f"{axis}={size}" for axis, size in sizes.items())
