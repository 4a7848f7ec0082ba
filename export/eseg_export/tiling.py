"""How a consumer may tile the images: size, step and halo of each spatial axis of the exported model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import prod

from eseg_export.consumer_tiles import DeclaredAxis, cut_by_ilastik, kept_share
from eseg_zoo.model.architecture import AxisGeometry, Geometry

# With `step: 8` (the stride) every tile would start on the network's grid of 8 pixels, where tiles and whole image
# agree to 1e-7, but an image of 301 x 411 would be refused: sizes must be min + n * step, and the network takes any.
# So every size is allowed, and grid tiles are made likely instead: min and halo are multiples of the stride, so what
# the consumers choose by themselves starts on the grid: the whole image behind its halo (bioimageio, deepImageJ),
# 512 (ilastik), k * min (QuPath). The last tile of a row is moved back to the image's end (in ilastik centred on the
# rest), so it sits off the grid unless the image is a multiple of 8 too (of 16 in ilastik); such tiles change 0.9 % of
# the labels on average (benchmarks/offsets.py).
STEP = 1

# ilastik cuts volumes into the smallest tiles that the package allows, and throws their halo away: with the smallest
# minimum 8 x 8 pixels of 136 x 136 would be left, 141 voxels a second. So volumes declare a larger minimum: the one
# with the smallest test tensors that leaves so much. Speeds, of voxels that go into the network: the default networks
# of two and of three levels in ilastik 1.4.2 on two CPU cores, run in November 2026.
LEAST_SHARE = 0.08  # of the work, kept
LEAST_SPEED = 33_000  # voxels a second: a tenth more than the 30,000 that a person can work with
SPEED: Mapping[int, int] = {2: 470_000, 3: 216_000}


@dataclass(frozen=True)
class TilingAxis:
    """What the package declares for one spatial axis, in pixels."""

    halo: int
    min: int
    stride: int

    @classmethod
    def of(cls, axis: AxisGeometry) -> TilingAxis:
        """Derive it from the network's geometry, with the smallest minimum that the format allows."""
        # Beyond the margin, a tile that starts off the grid cuts a cell of `stride` pixels: it needs the rest too.
        needed = axis.margin + axis.stride - 1
        halo = -(-needed // axis.stride) * axis.stride
        return cls(halo=halo, min=2 * halo + axis.stride, stride=axis.stride)  # the spec wants min > 2 halos

    @property
    def declared(self) -> DeclaredAxis:
        return DeclaredAxis(self.min, STEP, self.halo)


def tiling(geometry: Geometry) -> tuple[TilingAxis, ...]:
    """Return the tiling of each spatial axis, in the order (z,) y, x."""
    axes = tuple(TilingAxis.of(axis) for axis in geometry.axes)
    return axes if len(axes) == 2 else _with_room(axes, needed_share(len(geometry.axes[0].strides)))


def needed_share(levels: int) -> float:
    """Return how much of ilastik's work on a volume must be kept, 0..1, by a network of so many levels."""
    return max(LEAST_SHARE, LEAST_SPEED / SPEED.get(levels, min(SPEED.values())))


def ilastik_share(axes: tuple[TilingAxis, ...]) -> float:
    """Return how much of ilastik's work on a large image is kept, 0..1."""
    declared = [axis.declared for axis in axes]
    return kept_share(cut_by_ilastik(declared, [axis.min for axis in axes]))


@cache
def _with_room(axes: tuple[TilingAxis, ...], share: float) -> tuple[TilingAxis, ...]:
    """Return the axes with those minima, of the smallest product, that leave this share of ilastik's work."""
    enough = [wider for wider in _wider(axes) if ilastik_share(wider) >= share]
    return min(enough, key=lambda wider: prod(axis.min for axis in wider))


def _wider(axes: tuple[TilingAxis, ...]) -> Iterator[tuple[TilingAxis, ...]]:
    """Yield the axes with larger and larger minima; axes that are alike stay alike.

    They are even multiples of the stride, so that tiles which ilastik centres stay on the network's grid for sides of 0
    or 1 modulo that.
    """
    alike = list(dict.fromkeys(axes))
    choices = []
    for axis in alike:
        step = 2 * axis.stride if axis.stride > 1 else 1
        sizes = range(-(-axis.min // step) * step, max(64, 8 * axis.halo) + axis.min, step)
        choices.append([replace(axis, min=size) for size in sizes])
    for chosen in product(*choices):
        yield tuple(chosen[alike.index(axis)] for axis in axes)
