"""Layers of labels: what one file gives to the labels of an image, as class indices at the image's own pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.labels.painted import Painted
from eseg_zoo.patches.sections import read_together, sections_of

UNLABELLED = -1

AXES = "tzyx"  # of places and boxes
Place = tuple[int, int, int, int]
Box = tuple[slice, slice, slice, slice]

# Side along y and x of what painted pixels are handed over in, so that pixels far apart do not span a large box.
_TILE = 256


@dataclass(frozen=True)
class Points:
    """Labelled pixels of one plane of an image, each once."""

    places: NDArray[np.int64]  # (n, 4): t, z, y, x
    indices: NDArray[np.int16]  # (n,): class indices


class Layer(Protocol):
    """What one file gives to the labels of an image."""

    @property
    def name(self) -> str:
        """What messages call the file."""

    @property
    def space(self) -> Place:
        """The lengths of the image."""

    @property
    def overlaps(self) -> tuple[int, Place | None]:
        """How many pixels were given several classes within the file, and the place of the first."""

    def read(self, box: Box) -> NDArray[np.int16]:
        """Return class indices (t, z, y, x) in a box of the image, `UNLABELLED` where there is no label."""

    def points(self) -> Iterator[Points]:
        """Yield all labelled pixels within the image, a part of a plane at a time; what was never written is not read.

        Raises `InputError` for a value that has no class name.
        """

    def count_outside(self) -> tuple[int, bool]:
        """Return how many labelled pixels are outside the image, and whether others are within."""


@dataclass(frozen=True)
class Values:
    """What the values of a label image mean."""

    indices: Mapping[int, int]  # value -> class index
    unlabelled: int
    others: int | None = None  # class index of all other values; None: they have no class
    told: str = ""  # the classes, for messages

    def of(self, values: NDArray[np.generic]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Return the class index of each of these values, and whether it has none but should."""
        found = np.full(values.shape, UNLABELLED, np.int16)
        unknown = values != self.unlabelled
        if self.others is not None:
            found[unknown] = self.others
            return found, np.zeros(values.shape, bool)
        for value, index in self.indices.items():
            same = values == value
            found[same] = index
            unknown &= ~same
        return found, unknown


@dataclass(frozen=True)
class ImageLayer:
    """A label image, read lazily: as large as its image, or a part of it that begins at `origin`."""

    pixels: Image
    origin: Place
    space: Place  # lengths of the image that is labelled
    values: Values
    meaning: str = ""  # what the labels follow from beside their pixels: where they begin, and names in the file
    overlaps: tuple[int, Place | None] = (0, None)

    @property
    def name(self) -> str:
        return self.pixels.name

    @property
    def size(self) -> Place:
        """Its own lengths."""
        t, z, y, x = (self.pixels.sizes[axis] for axis in AXES)
        return t, z, y, x

    def read(self, box: Box) -> NDArray[np.int16]:
        found = np.full([part.stop - part.start for part in box], UNLABELLED, np.int16)
        inner, outer = [], []
        for part, first, length in zip(box, self.origin, self.size, strict=True):
            start, stop = max(part.start, first), min(part.stop, first + length)
            if start >= stop:
                return found
            inner.append(slice(start - first, stop - first))
            outer.append(slice(start - part.start, stop - part.start))
        region = dict(zip(AXES, inner, strict=True))
        if self._may_have_labels(region):
            found[tuple(outer)] = self._indices(self.pixels.read(region)[:, 0], region)
        return found

    def points(self) -> Iterator[Points]:
        for found in self._all_points():
            inside = self._are_inside(found.places)
            yield found if inside.all() else Points(found.places[inside], found.indices[inside])

    def count_outside(self) -> tuple[int, bool]:
        parts = zip(self.origin, self.size, self.space, strict=True)
        if all(first >= 0 and first + length <= whole for first, length, whole in parts):
            return 0, True
        outside, within = 0, False
        for found in self._all_points():
            inside = self._are_inside(found.places)
            outside, within = outside + int((~inside).sum()), within or bool(inside.any())
        return outside, within

    def _all_points(self) -> Iterator[Points]:
        sections = sections_of(self.pixels, 3)
        for number, window, (values,) in read_together(
            sections, lambda number, window: self._may_have_labels(sections[number].region(window))
        ):
            region = sections[number].region(window)
            for depth, plane in enumerate(values):
                if (plane == self.values.unlabelled).all():
                    continue
                z = region["z"].start + depth
                at = region | {"z": slice(z, z + 1)}
                indices = self._indices(plane[None, None], at)
                places = np.argwhere(indices != UNLABELLED)
                first = np.add([at[axis].start for axis in AXES], self.origin)
                yield Points(places + first, indices[tuple(places.T)])

    def _are_inside(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(np.logical_and(places >= 0, places < np.array(self.space)).all(axis=1))

    def _may_have_labels(self, region: Mapping[str, slice]) -> bool:
        return bool(self.pixels.absent_value(region) != self.values.unlabelled)

    def _indices(self, values: NDArray[np.generic], region: Mapping[str, slice]) -> NDArray[np.int16]:
        """Return the class indices of the values (t, z, y, x) in a region of the label image."""
        found, unknown = self.values.of(values)
        if unknown.any():
            first = np.argwhere(unknown)[0]
            place = [region[axis].start + int(n) for axis, n in zip(AXES, first, strict=True)]
            raise InputError(
                f"{self.name} has the label value {values[tuple(first)]:g} at {tell_place(place, self.pixels.axes)}, "
                f"which has no class name (classes are {self.values.told}; {self.values.unlabelled} means not labelled)"
            )
        return found


@dataclass(frozen=True, eq=False)
class PaintedLayer:
    """What was painted, in memory: as large as the painted pixels, not as the image."""

    name: str
    space: Place  # lengths of the image
    keys: NDArray[np.int64]  # (n,) places as one number each, sorted, none twice
    indices: NDArray[np.int16]  # (n,) class indices
    outside: int = 0  # painted pixels that are not in the image
    overlaps: tuple[int, Place | None] = (0, None)

    @classmethod
    def of(cls, painted: Painted, indices: Mapping[int, int], space: Place, offset: Place) -> PaintedLayer:
        """Return what was painted on an image of this size; `indices` are the class indices of the file's values.

        `offset` is added to all places. Raises `InputError` for a value that is none of a class.
        """
        keys, found, outside = [np.zeros(0, np.int64)], [np.zeros(0, np.int16)], 0
        table = np.full(2**16, UNLABELLED, np.int16)
        for value, index in indices.items():
            table[value] = index
        for block in painted.blocks:
            places = np.argwhere(block.values) + np.add(block.origin, offset)
            inside = ((places >= 0) & (places < space)).all(1)
            outside += int((~inside).sum())
            keys.append(np.ravel_multi_index(tuple(places[inside].T), space).astype(np.int64))
            painted_values = block.values[block.values > 0]
            unknown = painted_values[table[painted_values] == UNLABELLED]
            if len(unknown):
                raise InputError(
                    f"{painted.name} has painted pixels of value {unknown[0]}, for which it names no class"
                )
            found.append(table[painted_values[inside]])
        merged = last_of_each(np.concatenate(keys), np.concatenate(found))
        first = None if merged.first is None else place_of(merged.first, space)
        return cls(painted.name, space, merged.keys, merged.indices, outside, (merged.overlaps, first))

    def read(self, box: Box) -> NDArray[np.int16]:
        shape = [part.stop - part.start for part in box]
        found = np.full(shape, UNLABELLED, np.int16)
        if not len(self.keys):
            return found
        rows = np.indices(shape[:3]).reshape(3, -1).T + [part.start for part in box[:3]]  # t, z, y of each row
        starts = np.ravel_multi_index((*rows.T, np.full(len(rows), box[3].start)), self.space)
        first, last = np.searchsorted(self.keys, starts), np.searchsorted(self.keys, starts + shape[3])
        flat = found.reshape(-1)
        for row in np.flatnonzero(last > first).tolist():
            part = slice(int(first[row]), int(last[row]))
            flat[self.keys[part] - starts[row] + row * shape[3]] = self.indices[part]
        return found

    def points(self) -> Iterator[Points]:
        places = np.stack(np.unravel_index(self.keys, self.space), 1).astype(np.int64)
        tiles = places // [1, 1, _TILE, _TILE]
        order = np.lexsort(tiles.T[::-1])
        borders = np.flatnonzero((np.diff(tiles[order], axis=0) != 0).any(1)) + 1
        for part in np.split(order, borders):
            if len(part):
                yield Points(places[part], self.indices[part])

    def count_outside(self) -> tuple[int, bool]:
        return self.outside, bool(len(self.keys))


@dataclass(frozen=True)
class Merged:
    """Labelled pixels, each once."""

    keys: NDArray[np.int64]
    indices: NDArray[np.int16]
    overlaps: int  # keys that had several class indices
    first: int | None  # the smallest of these


def last_of_each(keys: NDArray[np.int64], indices: NDArray[np.int16]) -> Merged:
    """Return each key once, sorted, with the class index that it had last."""
    order = np.argsort(keys, kind="stable")
    keys, indices = keys[order], indices[order]
    if not len(keys):
        return Merged(keys, indices, 0, None)
    same = keys[1:] == keys[:-1]
    unlike = np.unique(keys[1:][same & (indices[1:] != indices[:-1])])
    last = np.append(~same, True)
    return Merged(keys[last], indices[last], len(unlike), int(unlike[0]) if len(unlike) else None)


def place_of(key: int, space: Sequence[int]) -> Place:
    """Return the place whose number this is in an image of this size."""
    t, z, y, x = map(int, np.unravel_index(key, space))
    return t, z, y, x


def tell_place(place: Sequence[int], axes: str) -> str:
    """Return `z=1, y=2, x=3` of a place (t, z, y, x), for the axes that an image has."""
    return ", ".join(f"{axis}={n}" for axis, n in zip(AXES, place, strict=True) if axis in axes)
