"""Reading an image block by block: whole chunks, no more at once than memory likes, kept while they are wanted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.arrays import ArraySource
from eseg_zoo.images.found import rows
from eseg_zoo.images.image import AXES, Image, Source

# Bytes of a block, unless a chunk is larger.
BLOCK_BYTES = 64 << 20


def blocks(shape: Sequence[int], chunks: Sequence[int], pixel_bytes: int) -> Iterator[tuple[slice, ...]]:
    """Yield windows that cover an array of this shape once, in order: whole chunks, at most `BLOCK_BYTES` if they fit.

    The last axes grow first, as they lie together on disk.
    """
    sides = [min(chunk, length) for chunk, length in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        fitting = BLOCK_BYTES // (pixel_bytes * prod(sides)) * sides[axis]
        whole = max(fitting // chunks[axis], 1) * chunks[axis]
        sides[axis] = min(max(whole, sides[axis]), shape[axis])
    axes = [
        [slice(start, min(start + side, n)) for start in range(0, n, side)]
        for side, n in zip(sides, shape, strict=True)
    ]
    yield from product(*axes)


def require_finite(pixels: NDArray[np.generic], name: str, region: Mapping[str, slice]) -> None:
    """Raise `InputError` with the place of the first NaN or infinite one of these pixels of a region of an image."""
    if not np.issubdtype(pixels.dtype, np.floating):
        return
    wrong = ~np.isfinite(pixels)
    if wrong.any():
        axes = "zyx"[-(pixels.ndim - 1) :]
        first = np.argwhere(wrong)[0][1:]
        place = {axis: part.start for axis, part in region.items()}
        place |= {axis: place[axis] + int(offset) for axis, offset in zip(axes, first, strict=True)}
        where = ", ".join(f"{axis}={place[axis]}" for axis in "tzyx")
        raise InputError(f"{name} has NaN or infinite pixels, the first at {where}")


def load(image: Image) -> Image:
    """Return the image with all its pixels in memory."""
    pixels = image.read()
    stored = [axis for axis in AXES if axis in image.axes]
    pixels = pixels.reshape([image.sizes[axis] for axis in stored])
    pixels = pixels.transpose([stored.index(axis) for axis in image.axes])  # a model remembers the order of the axes
    return replace(image, source=ArraySource(pixels), chunks=rows(image.shape))


def keep_blocks(image: Image, most: int) -> Image:
    """Return the image with the chunks that were read last kept in memory, up to `most` bytes in each process.

    Of arrays in memory and of files that are mapped there nothing is kept: it would be a second copy.
    """
    return replace(image, source=KeptSource(image.source, image.shape, image.dtype, image.chunks, most))


@dataclass(frozen=True)
class KeptSource:
    """A source whose chunks stay in memory for a while."""

    source: Source
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    most: int

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        return self.source.failures

    @property
    def kept(self) -> bool:
        return True

    @property
    def identity(self) -> str:
        return self.source.identity

    def open(self) -> Any:
        array = self.source.open()
        return array if isinstance(array, np.ndarray) else _Kept(array, self)


class _Kept:
    """An array whose chunks are kept; several threads may read it."""

    def __init__(self, array: Any, source: KeptSource):
        self.array, self.chunks, self.most = array, source.chunks, source.most
        self.shape, self.dtype = source.shape, source.dtype
        self.kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self.bytes, self.lock = 0, threading.Lock()

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[Any]:
        found = np.empty([part.stop - part.start for part in where], self.dtype)
        ranges = [range(p.start // c, -(-p.stop // c)) for p, c in zip(where, self.chunks, strict=True)]
        for index in product(*ranges):
            inner, outer = [], []
            for number, part, chunk in zip(index, where, self.chunks, strict=True):
                start, stop = max(number * chunk, part.start), min((number + 1) * chunk, part.stop)
                inner.append(slice(start - number * chunk, stop - number * chunk))
                outer.append(slice(start - part.start, stop - part.start))
            found[tuple(outer)] = self._chunk(index)[tuple(inner)]
        return found

    def _chunk(self, index: tuple[int, ...]) -> NDArray[Any]:
        with self.lock:
            if index in self.kept:
                self.kept.move_to_end(index)
                return self.kept[index]
        parts = zip(index, self.chunks, self.shape, strict=True)
        chunk = np.asarray(self.array[tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in parts)])
        with self.lock:
            if index not in self.kept:
                self.kept[index] = chunk
                self.bytes += chunk.nbytes
            while self.bytes > self.most and len(self.kept) > 1:
                self.bytes -= self.kept.popitem(last=False)[1].nbytes
        return chunk
