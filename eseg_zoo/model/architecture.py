"""The shape of a network as data, and the geometry that follows from it: known without torch and without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any


def _upsampling_needs(margin: int, stride: int) -> int:
    """Coarse margin that linear upsampling needs to fill a fine margin (one neighbour beyond the cell)."""
    return margin // 2 + 1 if stride == 2 else margin


def _pooling_needs(margin: int, stride: int) -> int:
    """Fine margin that the 4-tap blur pooling needs to fill a coarse margin."""
    return 2 * margin + 1 if stride == 2 else margin


@dataclass(frozen=True)
class AxisGeometry:
    """Margins along one axis, each in pixels of its level, derived from strides (1 or 2) and kernels (odd) per level.

    `features[i]`: encoder output; `latents[i]`: latent means; `merges[i]`: what skip and top-down
    features need at least where they meet. The stem, at full resolution before the first level, has the kernel of the
    first level.
    """

    strides: tuple[int, ...]
    kernels: tuple[int, ...]

    @property
    def latents(self) -> tuple[int, ...]:
        margins = [_upsampling_needs(0, self.strides[0])]
        for kernel, stride in zip(self.kernels[:-1], self.strides[1:], strict=True):
            margins.append(_upsampling_needs(margins[-1] + kernel // 2, stride))
        return tuple(margins)

    @property
    def upsampled(self) -> tuple[int, ...]:
        """Margins of the latents of each level after upsampling, in pixels of the next finer level."""
        return tuple(s * m for s, m in zip(self.strides, self.latents, strict=True))

    @property
    def at_the_finest(self) -> tuple[int, ...]:
        """Margins of the latents of each level after upsampling to the finest level, in its pixels."""
        return tuple(m * prod(self.strides[1 : level + 1]) for level, m in enumerate(self.latents))

    @property
    def merges(self) -> tuple[int, ...]:
        return tuple(m + k // 2 for m, k in zip(self.latents[:-1], self.kernels[:-1], strict=True))

    @property
    def features(self) -> tuple[int, ...]:
        margins = [self.latents[-1]]
        for i in range(len(self.strides) - 2, -1, -1):
            pooled = margins[0] + 2 * (self.kernels[i + 1] // 2)
            margins.insert(0, max(self.merges[i], _pooling_needs(pooled, self.strides[i + 1])))
        return tuple(margins)

    @property
    def stride(self) -> int:
        """Pixels of one cell of the coarsest level."""
        return prod(self.strides)

    @property
    def margin(self) -> int:
        """Pixels of context that a cell needs on either side: the halo of the exported model."""
        return self.stem + self.kernels[0] // 2

    @property
    def stem(self) -> int:
        """Margin of the stem's output, in pixels."""
        return _pooling_needs(self.features[0] + 2 * (self.kernels[0] // 2), self.strides[0])


@dataclass(frozen=True)
class Geometry:
    """The network's geometry: one `AxisGeometry` for each spatial axis, in the order (z,) y, x."""

    axes: tuple[AxisGeometry, ...]

    @classmethod
    def of(cls, strides: Sequence[Sequence[int]], kernels: Sequence[Sequence[int]]) -> Geometry:
        """Build it from `strides[level][axis]` in {1, 2} and odd `kernels[level][axis]`."""
        per_axis = zip(zip(*strides, strict=True), zip(*kernels, strict=True), strict=True)
        return cls(tuple(AxisGeometry(s, k) for s, k in per_axis))

    def per_level(self, margins: Callable[[AxisGeometry], Sequence[int]]) -> list[tuple[int, ...]]:
        """Return one margin per axis for each level, of the margins per level that the function takes of an axis."""
        return list(zip(*(margins(axis) for axis in self.axes), strict=True))

    @property
    def stride(self) -> tuple[int, ...]:
        return tuple(axis.stride for axis in self.axes)

    def stride_of(self, level: int) -> tuple[int, ...]:
        """Return the pixels along each axis of one location of this level, 0 for the finest."""
        return tuple(prod(axis.strides[: level + 1]) for axis in self.axes)

    @property
    def margin(self) -> tuple[int, ...]:
        return tuple(axis.margin for axis in self.axes)


@dataclass(frozen=True)
class Architecture:
    """What fixes the network's shape; `filters`, `strides` and `kernels` have one entry for each level, finest first.

    Any sequences may be given, such as the lists of a YAML file; they are kept as tuples: equal shapes are equal.
    """

    dims: int
    channels: int
    classes: int
    filters: Sequence[int]
    latents: int
    strides: Sequence[Sequence[int]]
    kernels: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(self.filters))
        for name in ("strides", "kernels"):
            object.__setattr__(self, name, tuple(tuple(level) for level in getattr(self, name)))

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `DenseSegmenter`, in lists as YAML files have them."""
        lists = {name: [list(level) for level in getattr(self, name)] for name in ("strides", "kernels")}
        return {**vars(self), "filters": list(self.filters), **lists}

    @property
    def geometry(self) -> Geometry:
        return Geometry.of(self.strides, self.kernels)

    @property
    def stem_filters(self) -> int:
        """Width at full resolution: as much less than the first level's as there are more pixels (4 or 8 times)."""
        return max(self.filters[0] // prod(self.strides[0]), 4)
