"""The geometry of a result: its chunks and its coarser levels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.images.image import Spacing

_Value = TypeVar("_Value", bound=np.generic)

_THICK = 1.5  # an axis whose pixels are this much larger than the smallest ones is not made coarser yet


@dataclass(frozen=True)
class Pyramid:
    """The axes (of t, z, y, x, those that the image has) of a result, with the shape of each level, finest first."""

    axes: str
    shapes: tuple[tuple[int, ...], ...]
    factors: tuple[tuple[int, ...], ...]  # pixels of the finest level along each axis of one pixel, per level
    chunk: tuple[int, ...]  # of the finest level; those of a coarser level are smaller where the level is
    spacing: tuple[Spacing, ...]  # of the finest level, per axis

    @classmethod
    def of(cls, axes: str, shape: Sequence[int], chunk: Sequence[int], spacing: Sequence[Spacing]) -> Pyramid:
        """Halve y and x, and z unless its pixels are much larger, until a plane fits into one chunk."""
        shapes, factors = [tuple(shape)], [(1,) * len(axes)]
        while any(n > c for axis, n, c in zip(axes, shapes[-1], chunk, strict=True) if axis in "yx"):
            parts = zip(axes, shapes[-1], spacing, factors[-1], strict=True)
            sizes = {a: s.scale * f for a, n, s, f in parts if a in "zyx" and n > 1}  # others cannot be halved
            thin = {axis for axis, size in sizes.items() if size < _THICK * min(sizes.values())}
            if not thin:  # the scales are not lengths
                break
            halved = [2 if axis in thin else 1 for axis in axes]
            shapes.append(tuple(-(-n // by) for n, by in zip(shapes[-1], halved, strict=True)))
            factors.append(tuple(f * by for f, by in zip(factors[-1], halved, strict=True)))
        return cls(axes, tuple(shapes), tuple(factors), tuple(chunk), tuple(spacing))

    @classmethod
    def single(cls, axes: str, shape: Sequence[int], chunk: Sequence[int], spacing: Sequence[Spacing]) -> Pyramid:
        """One level alone."""
        return cls(axes, (tuple(shape),), ((1,) * len(axes),), tuple(chunk), tuple(spacing))

    def chunks_of(self, level: int) -> tuple[int, ...]:
        """Return the pixels along each axis of a chunk of this level."""
        return tuple(min(c, n) for c, n in zip(self.chunk, self.shapes[level], strict=True))

    def grid(self, level: int) -> tuple[int, ...]:
        """Return the number of chunks along each axis of this level."""
        return tuple(-(-n // c) for n, c in zip(self.shapes[level], self.chunks_of(level), strict=True))

    def count(self, level: int) -> int:
        """Return the number of chunks of this level."""
        return prod(self.grid(level))

    def indices(self, level: int) -> Iterator[tuple[int, ...]]:
        """Yield the index of every chunk of this level, the last axis first, as on disk."""
        yield from np.ndindex(*self.grid(level))

    def region(self, level: int, index: Sequence[int]) -> tuple[slice, ...]:
        """Return the pixels of this level that a chunk covers, cut at its end."""
        parts = zip(index, self.chunks_of(level), self.shapes[level], strict=True)
        return tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in parts)

    def factors_to(self, level: int) -> tuple[int, ...]:
        """Return the pixels of the next finer level along each axis of one pixel of this level."""
        pairs = zip(self.factors[level], self.factors[level - 1], strict=True)
        return tuple(coarse // fine for coarse, fine in pairs)

    def finer_region(self, level: int, index: Sequence[int]) -> tuple[slice, ...]:
        """Return the pixels of the next finer level that a chunk of this level is made of."""
        parts = zip(self.region(level, index), self.factors_to(level), self.shapes[level - 1], strict=True)
        return tuple(slice(part.start * step, min(part.stop * step, n)) for part, step, n in parts)

    def spacing_of(self, level: int) -> tuple[Spacing, ...]:
        """Return scale and translation of this level: the centre of a coarse pixel is that of the pixels it covers."""
        pairs = zip(self.spacing, self.factors[level], strict=True)
        return tuple(Spacing(s.scale * f, s.translation + s.scale * (f - 1) / 2, s.unit) for s, f in pairs)


def most_frequent(values: NDArray[np.integer], factors: Sequence[int]) -> NDArray[np.integer]:
    """Return labels made coarser by `factors`: the most frequent value of each block, the smallest of equals."""
    pixels = _pixels_of_blocks(values, factors)
    found: NDArray[np.integer] = pixels[0].copy()
    best = np.zeros(pixels.shape[1:], np.min_scalar_type(len(pixels)))
    for value in np.flatnonzero(np.bincount(pixels.ravel())):
        count = (pixels == value).sum(0, dtype=best.dtype)
        better = count > best
        np.copyto(found, value, where=better, casting="unsafe")
        np.copyto(best, count, where=better)
    return found


def mean(values: NDArray[_Value], factors: Sequence[int]) -> NDArray[_Value]:
    """Return values made coarser by `factors`: the mean of each block, rounded where they are integers."""
    found = _pixels_of_blocks(values, factors).mean(0, dtype=np.float32)
    return np.asarray(np.rint(found) if values.dtype.kind in "iu" else found, values.dtype)


def _pixels_of_blocks(values: NDArray[_Value], factors: Sequence[int]) -> NDArray[_Value]:
    """Return the pixels of the blocks, (pixels of a block, *coarse space); the end repeats the last pixels."""
    values = np.pad(values, [(0, -n % step) for n, step in zip(values.shape, factors, strict=True)], mode="edge")
    split = [size for n, step in zip(values.shape, factors, strict=True) for size in (n // step, step)]
    ndim = len(factors)
    moved = values.reshape(split).transpose([*range(1, 2 * ndim, 2), *range(0, 2 * ndim, 2)])
    return moved.reshape(-1, *moved.shape[ndim:])
