"""How a consumer may tile the images: size, step and halo of each spatial axis of the exported model."""

from __future__ import annotations

from dataclasses import dataclass

from eseg_zoo.model.dense import AxisGeometry, Geometry

# With `step: 8` (the stride) every tile would start on the network's grid of 8 pixels, where tiles and whole image
# agree to 1e-7, but an image of 301 x 411 would be refused: sizes must be min + n * step, and the network takes any.
# So every size is allowed, and grid tiles are made likely instead: min and halo are multiples of the stride, so what
# the consumers choose by themselves starts on the grid: the whole image behind its halo (bioimageio, deepImageJ),
# 512 (ilastik), k * min (QuPath). The last tile of a row is moved back to the image's end, so it sits off the grid
# unless the image is a multiple of 8 too; such tiles change 0.9 % of the labels on average (benchmarks/offsets.py).
STEP = 1


@dataclass(frozen=True)
class TilingAxis:
    """What the package declares for one spatial axis, in pixels."""

    halo: int
    min: int
    stride: int

    @classmethod
    def of(cls, axis: AxisGeometry) -> TilingAxis:
        """Derive it from the network's geometry."""
        # Beyond the margin, a tile that starts off the grid cuts a cell of `stride` pixels: it needs the rest too.
        needed = axis.margin + axis.stride - 1
        halo = -(-needed // axis.stride) * axis.stride
        return cls(halo=halo, min=2 * halo + axis.stride, stride=axis.stride)  # the spec wants min > 2 halos


def tiling(geometry: Geometry) -> tuple[TilingAxis, ...]:
    """Return the tiling of each spatial axis, in the order (z,) y, x."""
    return tuple(TilingAxis.of(axis) for axis in geometry.axes)
