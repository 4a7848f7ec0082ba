"""The only patch geometry: where a patch lies around its anchor, what stands beyond an image, turns and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)


def reflected_index(start: int, stop: int, length: int) -> NDArray[np.integer]:
    """Return which pixels of an axis of `length` stand at `start` to `stop` - 1: beyond its ends it is reflected.

    The border pixel is repeated, as numpy's `pad(mode="symmetric")` and the network itself do, as often as need be.
    """
    index = np.arange(start, stop) % (2 * length)
    found: NDArray[np.integer] = np.minimum(index, 2 * length - 1 - index)
    return found


@dataclass(frozen=True)
class PatchGeometry:
    """A patch is a `region`, which the network predicts, with `margin` around it; pixels per axis.

    The anchor lies anywhere in the region: its place there is the *phase*. A region of the network's stride has every
    phase once.
    """

    region: tuple[int, ...]
    margin: tuple[int, ...]

    @cached_property
    def size(self) -> tuple[int, ...]:
        """The region and its margin on both sides."""
        return tuple(r + 2 * m for r, m in zip(self.region, self.margin, strict=True))

    def window(self, anchor: Sequence[int], phase: Sequence[int]) -> tuple[slice, ...]:
        """Return the pixels of a section, and beyond its ends, among which `anchor` lies at `margin + phase`."""
        starts = [a - p - m for a, p, m in zip(anchor, phase, self.margin, strict=True)]
        return tuple(slice(start, start + n) for start, n in zip(starts, self.size, strict=True))

    def centre_mask(
        self, space: Sequence[int], anchor: Sequence[int], phase: Sequence[int], side: int
    ) -> NDArray[np.bool_]:
        """Return a mask (*size) of the square of `side` (odd) pixels around the anchor; a side of 0 masks nothing.

        Near the border of a section of the size `space` the mirror images of the square are masked too: they would tell
        what is hidden.
        """
        mask = np.zeros(self.size, bool)
        if side:
            parts = zip(self.window(anchor, phase), space, anchor, strict=True)
            mask[np.ix_(*(_near(part, length, centre, side) for part, length, centre in parts))] = True
        return mask


def _near(part: slice, length: int, centre: int, side: int) -> NDArray[np.integer]:
    """Return which pixels of a window's axis are, or mirror, one of the `side` (odd) pixels around `centre`."""
    if part.start >= 0 and part.stop <= length:
        reach = side // 2
        return np.arange(max(centre - reach - part.start, 0), min(centre + reach + 1, part.stop) - part.start)
    near: NDArray[np.integer] = np.flatnonzero(
        2 * np.abs(reflected_index(part.start, part.stop, length) - centre) < side
    )
    return near


def scattered_squares(size: Sequence[int], share: float, side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask (*size) of random squares, cubes in 3D, of `side` pixels that cover `share` of it on average.

    The squares lie on a grid whose origin is random; each is drawn by itself.
    """
    drawn = rng.random([-(-n // side) + 1 for n in size]) < share
    for axis in range(len(size)):
        drawn = drawn.repeat(side, axis)
    starts = rng.integers(side, size=len(size))
    return drawn[tuple(slice(start, start + n) for start, n in zip(starts, size, strict=True))]


# Share of a region that a random box covers: each side is drawn by itself, so a box is seldom a square.
BOX_SHARE = (0.2, 0.6)


def random_box(size: Sequence[int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask (*size) of a box, as large as `BOX_SHARE` says, at a random place within."""
    mask = np.zeros(size, bool)
    sides = [max(round(n * rng.uniform(*BOX_SHARE) ** (1 / len(size))), 1) for n in size]
    starts = [int(rng.integers(n - side + 1)) for n, side in zip(size, sides, strict=True)]
    mask[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))] = True
    return mask


@dataclass(frozen=True)
class Symmetry:
    """A flip of each axis, then for `swap` an exchange of y and x: with both, all right-angle rotations."""

    flips: tuple[bool, ...]
    swap: bool

    @classmethod
    def draw(cls, dims: int, count: int, rng: np.random.Generator) -> list[Symmetry]:
        """Return `count` of the 8 symmetries of y and x, times the flip of z; each is equally likely."""
        there = cls.all(dims)
        return [there[number] for number in rng.integers(len(there), size=count).tolist()]

    @classmethod
    def all(cls, dims: int) -> list[Symmetry]:
        """Return all of them: 8 in 2D, 16 in 3D; the first changes nothing."""
        return [cls(flips, swap) for swap in (False, True) for flips in product((False, True), repeat=dims)]

    def turn(self, array: NDArray[Kind]) -> NDArray[Kind]:
        """Return a view of `array`, whose last axes are the spatial ones, turned."""
        array = array[self._flipped]
        return array.swapaxes(-1, -2) if self.swap else array

    def turn_back(self, array: NDArray[Kind]) -> NDArray[Kind]:
        """Return a view of `array` as it was before `turn`."""
        turned: NDArray[Kind] = (array.swapaxes(-1, -2) if self.swap else array)[self._flipped]
        return turned

    @cached_property
    def _flipped(self) -> tuple[Any, ...]:
        return (..., *(slice(None, None, -1 if flip else 1) for flip in self.flips))

    def turn_phase(self, phase: Sequence[int], region: Sequence[int]) -> tuple[int, ...]:
        """Return where the pixel `phase` of a region goes; y and x of the region have one size."""
        flipped = [r - 1 - p if flip else p for p, r, flip in zip(phase, region, self.flips, strict=True)]
        if self.swap:
            flipped[-1], flipped[-2] = flipped[-2], flipped[-1]
        return tuple(flipped)
