"""Sections: what a network sees as one, a slice of an image for a 2D one and a volume for a 3D one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.images.blocks import blocks
from eseg_zoo.images.image import Image
from eseg_zoo.patches.geometry import reflected_index

Window = tuple[slice, ...]


@dataclass(frozen=True)
class Section:
    """A slice or a volume of an image, read a window at a time."""

    image: Image
    t: int
    z: int | None  # None for a volume

    @cached_property
    def space(self) -> tuple[int, ...]:
        """Its size: (y, x) of a slice, (z, y, x) of a volume."""
        sizes = self.image.sizes
        plane = sizes["y"], sizes["x"]
        return plane if self.z is not None else (sizes["z"], *plane)

    @property
    def whole(self) -> tuple[slice, ...]:
        """The window of all its pixels."""
        return tuple(slice(0, length) for length in self.space)

    def read(self, window: Sequence[slice] | None = None) -> NDArray[np.generic]:
        """Return the pixels (c, *window) of a window that may reach beyond the section, which is reflected there.

        By default it is the whole section. Raises `InputError` where the file cannot be read.
        """
        window = self.whole if window is None else window
        inside, reflected = list(window), {}
        for axis, (part, length) in enumerate(zip(window, self.space, strict=True)):
            if part.start < 0 or part.stop > length:
                index = reflected_index(part.start, part.stop, length)
                first = int(index.min())
                inside[axis], reflected[axis] = slice(first, int(index.max()) + 1), index - first
        found = self._read_inside(inside)
        for axis, index in reflected.items():
            found = found.take(index, axis + 1)
        return found

    def region(self, window: Sequence[slice]) -> dict[str, slice]:
        """Return the region of the image that a window is, to read it and for messages."""
        along_z = window[0] if self.z is None else slice(self.z, self.z + 1)
        return {"t": slice(self.t, self.t + 1), "z": along_z, "y": window[-2], "x": window[-1]}

    def _read_inside(self, window: Sequence[slice]) -> NDArray[np.generic]:
        found: NDArray[np.generic] = self.image.read(self.region(window))[0]
        return found if self.z is None else found[:, 0]


def sections_of(image: Image, dims: int) -> list[Section]:
    """Return every slice of an image for `dims` 2, along t and then z, or every volume for `dims` 3, along t."""
    sizes = image.sizes
    if dims == 3:
        return [Section(image, t, None) for t in range(sizes["t"])]
    return [Section(image, t, z) for t in range(sizes["t"]) for z in range(sizes["z"])]


def read_together(
    sections: Sequence[Section], wanted: Callable[[int, Window], bool] = lambda number, window: True
) -> Iterator[tuple[int, Window, NDArray[np.generic]]]:
    """Yield number, window and pixels (c, *window) of parts that cover all sections once.

    A part is of whole chunks and no larger than memory likes. Slices that lie in the same chunks are read together, so
    that each chunk is decoded once; what is not `wanted` is left out, and not read where nothing beside it is.
    """
    for numbers in _stacks(sections):
        first = sections[numbers[0]]
        image, t = first.image, slice(first.t, first.t + 1)
        sizes, chunks = image.sizes, image.chunk_sizes
        top, depth = (0, sizes["z"]) if first.z is None else (first.z, len(numbers))
        space, sides = (depth, sizes["y"], sizes["x"]), [chunks[axis] for axis in "zyx"]
        for z, y, x in blocks(space, sides, image.dtype.itemsize * sizes["c"]):
            parts: list[tuple[int, Window, int | slice]] = [(numbers[0], (z, y, x), slice(None))]
            if first.z is not None:
                parts = [(numbers[i], (y, x), i - z.start) for i in range(z.start, z.stop)]
            parts = [part for part in parts if wanted(*part[:2])]
            if parts:
                pixels = image.read({"t": t, "z": slice(top + z.start, top + z.stop), "y": y, "x": x})[0]
                for number, window, within in parts:
                    yield number, window, pixels[:, within]


def _stacks(sections: Sequence[Section]) -> Iterator[list[int]]:
    """Yield the numbers of sections that are slices one upon the other in an image; volumes are by themselves."""
    numbers: list[int] = []
    for number, section in enumerate(sections):
        last = sections[numbers[-1]] if numbers else section
        follows = last.z is not None and section == replace(last, z=last.z + 1)
        if numbers and not follows:
            yield numbers
            numbers = []
        numbers.append(number)
    if numbers:
        yield numbers
