"""What was painted: an array as large as the image that holds only the planes in which something is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eseg_zoo.images.image import Image, Spacing

Plane = tuple[int, ...]
"""Which plane of the image: its place along t and z, as far as the image has them."""
Pixels = NDArray[np.uint8]

_TOUCHING = np.ones((3, 3), bool)  # pixels of a stroke touch, corners included


class Strokes:
    """A label image (..., y, x) of uint8 that napari paints in; planes that nobody painted in take no memory.

    It is read and written by slices, integers and arrays of indices, as NumPy's arrays are. One thread writes, others
    may take a `snapshot` meanwhile.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...], changed: Callable[[], None] = lambda: None):
        self.shape, self.changed = tuple(int(length) for length in shape), changed
        self._planes: dict[Plane, Pixels] = {}
        self._version = 0
        self._versions: dict[Plane, int] = {}  # of each plane that was ever painted in

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of pixels, painted or not."""
        return int(np.prod([float(length) for length in self.shape]))

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._version

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype)

    def __getitem__(self, key: Any) -> Any:
        key = self._whole(key)
        if any(isinstance(one, np.ndarray) for one in key):
            return self._points(key)
        leading, inner = key[:-2], key[-2:]
        numbers = [self._numbers(one, length) for one, length in zip(leading, self.shape, strict=False)]
        lengths = [len(range(*one.indices(n))) for one, n in zip(inner, self.shape[-2:], strict=True) if _is_slice(one)]
        found = np.zeros((*(len(one) for one in numbers), *lengths), np.uint8)
        for place, plane in zip(np.ndindex(*found.shape[: len(leading)]), product(*numbers), strict=True):
            if plane in self._planes:
                found[place] = self._planes[plane][inner]
        single = tuple(slice(None) if _is_slice(one) else 0 for one in leading)
        found = found[single]
        return found if found.ndim else found[()]

    def __setitem__(self, key: Any, value: Any) -> None:
        key = self._whole(key)
        if not any(isinstance(one, np.ndarray) for one in key):
            key = self._as_points(key)
        points = np.broadcast_arrays(*(np.asarray(one) for one in key))
        values = np.broadcast_to(np.asarray(value), points[0].shape)
        for plane, chosen in self._by_plane(points).items():
            if plane not in self._planes:
                if not values[chosen].any():
                    continue
                self._planes[plane] = np.zeros(self.shape[-2:], np.uint8)
            self._planes[plane][points[-2][chosen], points[-1][chosen]] = values[chosen]
            self._touch(plane)
        self.changed()

    def planes(self) -> list[Plane]:
        """Return the planes that something was painted in."""
        return sorted(self._versions)

    def set_plane(self, plane: Plane, values: NDArray[np.generic]) -> None:
        """Replace a plane (y, x)."""
        self._planes[plane] = np.array(values, np.uint8)
        self._touch(plane)
        self.changed()

    def remove(self, value: int) -> None:
        """Take off all strokes of a class."""
        for plane, pixels in self._planes.items():
            if (pixels == value).any():
                pixels[pixels == value] = 0
                self._touch(plane)
        self.changed()

    def snapshot(self) -> Snapshot:
        """Return what is painted now; later strokes do not change it."""
        version, versions = self._version, dict(self._versions)
        found = {}
        for plane, pixels in list(self._planes.items()):
            if cropped := _cropped(pixels):
                found[plane] = cropped
        return Snapshot(self.shape, found, version, versions)

    def _touch(self, plane: Plane) -> None:
        self._version += 1
        self._versions[plane] = self._version

    def _whole(self, key: Any) -> tuple[Any, ...]:
        """Return a key with an entry for every axis; arrays are of integers."""
        key = key if isinstance(key, tuple) else (key,)
        if any(one is Ellipsis for one in key):
            place = next(number for number, one in enumerate(key) if one is Ellipsis)
            key = (*key[:place], *(slice(None),) * (self.ndim - len(key) + 1), *key[place + 1 :])
        key = (*key, *(slice(None),) * (self.ndim - len(key)))
        if len(key) > self.ndim:
            raise IndexError(f"there are {len(key)} indices for {self.ndim} axes")
        return tuple(np.asarray(one) if isinstance(one, (list, np.ndarray)) and np.ndim(one) else one for one in key)

    def _numbers(self, one: Any, length: int) -> range:
        if _is_slice(one):
            return range(*one.indices(length))
        number = int(one)
        if not -length <= number < length:
            raise IndexError(f"index {number} is out of bounds for an axis of {length}")
        return range(number % length, number % length + 1)

    def _as_points(self, key: tuple[Any, ...]) -> tuple[NDArray[np.int64], ...]:
        """Return a key of slices and integers as arrays of indices that span it."""
        kept = [n for n, one in enumerate(key) if _is_slice(one)]
        found = []
        for axis, one in enumerate(key):
            numbers = np.asarray(self._numbers(one, self.shape[axis]))
            shape = [1] * max(len(kept), 1)
            if axis in kept:
                shape[kept.index(axis)] = len(numbers)
            found.append(numbers.reshape(shape))
        return tuple(np.broadcast_arrays(*found))

    def _points(self, key: tuple[Any, ...]) -> Pixels:
        """Return the values at points, each an index along every axis."""
        if any(_is_slice(one) for one in key):  # such as one class of a stack: rare, so the plain way
            whole: Pixels = np.asarray(self)
            return np.asarray(whole[key])
        points = np.broadcast_arrays(*(np.asarray(one) for one in key))
        found = np.zeros(points[0].shape, np.uint8)
        for plane, chosen in self._by_plane(points).items():
            if plane in self._planes:
                found[chosen] = self._planes[plane][points[-2][chosen], points[-1][chosen]]
        return found

    def _by_plane(self, points: Any) -> Mapping[Plane, Any]:
        """Return which points are of which plane."""
        leading = points[:-2]
        if not leading:
            return {(): np.ones(points[0].shape, bool)}
        groups: dict[Plane, Any] = defaultdict(lambda: np.zeros(points[0].shape, bool))
        stacked = np.stack([one.ravel() for one in leading], 1)
        for plane in np.unique(stacked, axis=0).tolist():
            groups[tuple(n % length for n, length in zip(plane, self.shape, strict=False))] |= np.logical_and.reduce(
                [one == n for one, n in zip(leading, plane, strict=True)]
            )
        return groups


def _is_slice(one: Any) -> bool:
    return isinstance(one, slice)


@dataclass(frozen=True)
class Painting:
    """What is painted in a plane: the smallest rectangle that holds it, and where that begins."""

    y: int
    x: int
    pixels: Pixels

    @property
    def window(self) -> tuple[slice, slice]:
        """The rectangle, along y and x."""
        height, width = self.pixels.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def _cropped(pixels: Pixels) -> Painting | None:
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not len(rows):
        return None
    y, x = int(rows[0]), int(columns[0])
    return Painting(y, x, pixels[y : rows[-1] + 1, x : columns[-1] + 1].copy())


@dataclass(frozen=True)
class Count:
    """How much was painted of a class."""

    strokes: int = 0
    pixels: int = 0
    slices: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.strokes + other.strokes, self.pixels + other.pixels, self.slices + other.slices)


@dataclass(frozen=True)
class Snapshot:
    """What was painted at a moment, of the planes in which something is."""

    shape: tuple[int, ...]
    paintings: Mapping[Plane, Painting]
    version: int = 0
    versions: Mapping[Plane, int] = field(default_factory=dict)  # of every plane that was ever painted in

    def image(self, axes: str, name: str = "strokes") -> Image:
        """Return it as a label image with these axes, as the training takes it."""
        chunks = (1,) * (len(self.shape) - 2) + self.shape[-2:]
        return Image(
            SnapshotSource(self), name, axes, self.shape, np.dtype(np.uint8), chunks, (Spacing(),) * len(axes),
            stated_axes=axes,
        )  # fmt: skip

    def read(self, where: tuple[slice, ...]) -> Pixels:
        """Return the pixels of a region."""
        found = np.zeros([part.stop - part.start for part in where], np.uint8)
        for plane, painting in self.within(where):
            place = tuple(n - part.start for n, part in zip(plane, where, strict=False))
            inner, outer = [], []
            for window, part in zip(painting.window, where[-2:], strict=True):
                start, stop = max(window.start, part.start), min(window.stop, part.stop)
                inner.append(slice(start - window.start, stop - window.start))
                outer.append(slice(start - part.start, stop - part.start))
            found[(*place, *outer)] = painting.pixels[tuple(inner)]
        return found

    def within(self, where: tuple[slice, ...]) -> Iterator[tuple[Plane, Painting]]:
        """Yield the planes that have something in a region."""
        for plane, painting in self.paintings.items():
            window = (*(slice(n, n + 1) for n in plane), *painting.window)
            if all(a.start < b.stop and b.start < a.stop for a, b in zip(window, where, strict=True)):
                yield plane, painting

    def values(self) -> set[int]:
        """Return the values that are painted."""
        found: set[int] = set()
        for painting in self.paintings.values():
            found.update(np.unique(painting.pixels).tolist())
        return found - {0}

    def only(self, values: Collection[int]) -> Snapshot:
        """Return what is painted of some values."""
        chosen = np.isin(np.arange(256), list(values))
        kept = {
            plane: Painting(one.y, one.x, np.where(chosen[one.pixels], one.pixels, 0).astype(np.uint8))
            for plane, one in self.paintings.items()
        }
        return replace(self, paintings=kept)

    def counts(self) -> dict[int, Count]:
        """Return how much was painted of each class that has something."""
        found: dict[int, Count] = defaultdict(Count)
        for painting in self.paintings.values():
            for value in np.unique(painting.pixels[painting.pixels > 0]).tolist():
                mask = painting.pixels == value
                found[value] += Count(int(ndimage.label(mask, _TOUCHING)[1]), int(mask.sum()), 1)
        return dict(found)


@dataclass(frozen=True, eq=False)
class SnapshotSource:
    """A snapshot as the source of an image's pixels."""

    snapshot: Snapshot

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Memory does not fail."""
        return ()

    @property
    def kept(self) -> bool:
        """It is in memory already."""
        return False

    @property
    def identity(self) -> str:
        """It is that of this object alone."""
        return f"strokes {id(self.snapshot)}"

    def open(self) -> Any:
        """Return an array that is read by slices."""
        return _Reader(self.snapshot)

    def absent_value(self, where: tuple[slice, ...]) -> np.generic | None:
        """Return 0 for a region in which nothing is painted."""
        return None if next(self.snapshot.within(where), None) else np.uint8(0)


@dataclass(frozen=True)
class _Reader:
    snapshot: Snapshot

    @property
    def shape(self) -> tuple[int, ...]:
        return self.snapshot.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    def __getitem__(self, where: tuple[slice, ...]) -> Pixels:
        return self.snapshot.read(where)
