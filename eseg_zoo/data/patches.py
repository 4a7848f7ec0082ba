"""The only patch geometry: where a patch lies around its anchor, and how it is cut, turned and masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True)
class Padded:
    """A section (c, *space), reflected on every side by `width` pixels of each axis."""

    pixels: NDArray[np.generic]
    width: tuple[int, ...]

    @classmethod
    def of(cls, section: NDArray[np.generic], width: Sequence[int]) -> Padded:
        """Pad it."""
        return cls(np.pad(section, [(0, 0), *((w, w) for w in width)], "symmetric"), tuple(width))

    @property
    def space(self) -> tuple[int, ...]:
        """The size of the section without its padding."""
        return tuple(n - 2 * w for n, w in zip(self.pixels.shape[1:], self.width, strict=True))


@dataclass(frozen=True)
class PatchGeometry:
    """A patch is a `region`, which the network predicts, with `margin` around it; pixels per axis.

    The anchor lies anywhere in the region: its place there is the *phase*. A region of the network's stride has every
    phase once.
    """

    region: tuple[int, ...]
    margin: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(r + 2 * m for r, m in zip(self.region, self.margin, strict=True))

    @property
    def reach(self) -> tuple[int, ...]:
        """Pixels that a section must be padded by, so that every pixel of it can be an anchor at every phase."""
        return tuple(r + m for r, m in zip(self.region, self.margin, strict=True))

    def cut(self, padded: Padded, anchor: Sequence[int], phase: Sequence[int]) -> NDArray[np.generic]:
        """Return the view (c, *size) of a padded section in which the pixel `anchor` lies at `margin + phase`."""
        starts = [a - p - m + w for a, p, m, w in zip(anchor, phase, self.margin, padded.width, strict=True)]
        return padded.pixels[(slice(None), *(slice(s, s + n) for s, n in zip(starts, self.size, strict=True)))]

    def centre_mask(
        self, space: Sequence[int], anchor: Sequence[int], phase: Sequence[int], side: int
    ) -> NDArray[np.bool_]:
        """Return a mask (*size) of the square of `side` (odd) pixels around the anchor; a side of 0 masks nothing.

        Near the border of a section of the size `space` the mirror images of the square are masked too: they would tell
        what is hidden.
        """
        mask = np.ones(self.size, bool)
        for axis, (length, centre, place) in enumerate(zip(space, anchor, phase, strict=True)):
            index = np.arange(self.size[axis]) + centre - place - self.margin[axis]
            mirrored = np.minimum(index % (2 * length), 2 * length - 1 - index % (2 * length))
            hidden = 2 * np.abs(mirrored - centre) < side
            mask &= np.expand_dims(hidden, [other for other in range(mask.ndim) if other != axis])
        return mask


def scattered_squares(size: Sequence[int], share: float, side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask (*size) of random squares, cubes in 3D, of `side` pixels that cover `share` of it on average.

    The squares lie on a grid whose origin is random; each is drawn by itself.
    """
    drawn = rng.random([-(-n // side) + 1 for n in size]) < share
    for axis in range(len(size)):
        drawn = drawn.repeat(side, axis)
    starts = rng.integers(side, size=len(size))
    return drawn[tuple(slice(start, start + n) for start, n in zip(starts, size, strict=True))]


@dataclass(frozen=True)
class Symmetry:
    """A flip of each axis, then for `swap` an exchange of y and x: with both, all right-angle rotations."""

    flips: tuple[bool, ...]
    swap: bool

    @classmethod
    def draw(cls, dims: int, rng: np.random.Generator) -> Symmetry:
        """Return one of the 8 symmetries of y and x, times the flip of z; each is equally likely."""
        bits = rng.integers(2, size=dims + 1)
        return cls(tuple(bool(b) for b in bits[:dims]), bool(bits[dims]))

    @classmethod
    def all(cls, dims: int) -> list[Symmetry]:
        """Return all that `draw` may return: 8 in 2D, 16 in 3D; the first changes nothing."""
        return [cls(flips, swap) for swap in (False, True) for flips in product((False, True), repeat=dims)]

    def turn(self, array: NDArray[Kind]) -> NDArray[Kind]:
        """Return a view of `array`, whose last axes are the spatial ones, turned."""
        dims = len(self.flips)
        flipped = tuple(axis - dims for axis, flip in enumerate(self.flips) if flip)
        array = np.flip(array, flipped)
        return array.swapaxes(-1, -2) if self.swap and dims > 1 else array

    def turn_back(self, array: NDArray[Kind]) -> NDArray[Kind]:
        """Return a view of `array` as it was before `turn`."""
        array = array.swapaxes(-1, -2) if self.swap else array
        return Symmetry(self.flips, swap=False).turn(array)

    def turn_phase(self, phase: Sequence[int], region: Sequence[int]) -> tuple[int, ...]:
        """Return where the pixel `phase` of a region goes; y and x of the region have one size."""
        flipped = [r - 1 - p if flip else p for p, r, flip in zip(phase, region, self.flips, strict=True)]
        if self.swap:
            flipped[-1], flipped[-2] = flipped[-2], flipped[-1]
        return tuple(flipped)
