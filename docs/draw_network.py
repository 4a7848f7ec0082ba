"""Draws `network.svg`: what a patch becomes along one axis, with the sizes that the geometry gives.

    python docs/draw_network.py

A bar is a tensor, a box in it one location of its level, as wide as it is on the image. All bars are centred on the
cell that a labelled patch predicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eseg_zoo.levels import kernels, strides
from eseg_zoo.model.architecture import AxisGeometry, Geometry

PICTURE = Path(__file__).with_name("network.svg")

SCALE = 4.6  # of the drawing, for each pixel of the image
HEIGHT, ROW, GAP = 15, 26, 20  # of a bar, from bar to bar, more between levels
LEFT, RIGHT, TOP = 370, 900, 62  # middles of the two columns, and the first bar
CELL, MARGIN, LINE, TEXT = "#0072B2", "#BFD9EA", "#FFFFFF", "#222222"


@dataclass(frozen=True)
class Bar:
    """A tensor along one axis: `cells` locations of the cell, with `margin` on either side, `pixels` wide each."""

    name: str
    cells: int
    margin: int
    pixels: int

    @property
    def size(self) -> int:
        return self.cells + 2 * self.margin


def encoder_bars(axis: AxisGeometry) -> list[list[Bar]]:
    """Return the tensors on the way up to the coarsest level: at full resolution first, then level by level."""
    cell, pixels = axis.stride, 1
    rows = [[Bar("patch", cell, axis.margin, 1), Bar("stem, 3x3", cell, axis.stem, 1)]]
    for number, (features, kernel, stride) in enumerate(zip(axis.features, axis.kernels, axis.strides, strict=True), 1):
        cell, pixels = cell // stride, pixels * stride
        pooled = features + 2 * (kernel // 2)
        rows.append(
            [
                Bar("blur, every second", cell, pooled, pixels),
                Bar(f"f{number}: residual block, twice 3x3", cell, features, pixels),
            ]
        )
    return rows


def ladder_bars(axis: AxisGeometry) -> list[list[Bar]]:
    """Return the tensors on the way down, in the order of `encoder_bars`; the last ones are made first."""
    cell, pixels = axis.stride, 1
    rows = [[Bar("logits: stem and latents, 1x1", cell, 0, 1)]]
    for number, (latents, stride) in enumerate(zip(axis.latents, axis.strides, strict=True), 1):
        cell, pixels = cell // stride, pixels * stride
        mean = Bar(f"z{number}", cell, latents, pixels)
        is_top = number == len(axis.latents)
        merge = [] if is_top else [Bar(f"f{number} and z{number + 1}, merged", cell, axis.merges[number - 1], pixels)]
        rows.append([mean, *merge])
    return rows


def draw(axis: AxisGeometry) -> str:
    """Return the picture as SVG."""
    up, down = encoder_bars(axis), ladder_bars(axis)
    parts, y = [], float(TOP)
    for level, (left, right) in enumerate(zip(up, down, strict=True)):
        share = "full resolution" if level == 0 else f"level {level}: 1/{left[0].pixels}"
        parts.append(_text(12, y + 11, share, weight="bold"))
        for number, bar in enumerate(left):
            parts += _bar(bar, LEFT, y + number * ROW)
        for number, bar in enumerate(right):
            parts += _bar(bar, RIGHT, y + number * ROW)
        skip, target = left[-1], right[-1]
        start, end = LEFT + skip.size * skip.pixels * SCALE / 2 + 190, RIGHT - target.size * target.pixels * SCALE / 2
        at = y + ROW + HEIGHT / 2, y + (len(right) - 1) * ROW + HEIGHT / 2
        parts.append(
            f'<path d="M {start:.0f} {at[0]:.0f} L {end - 6:.0f} {at[1]:.0f}" stroke="#888888" fill="none" '
            'stroke-dasharray="4 3" marker-end="url(#tip)"/>'
        )
        y += 2 * ROW + GAP
    width, height = 1240, y + 4
    heading = (
        f"A patch along one axis: {axis.stride} pixels of a cell with a margin of {axis.margin} on either side; every "
        "convolution is valid, so each step takes off what it needs"
    )
    arrows = [
        _text(LEFT, 44, "encoder, from above", anchor="middle"),
        _text(RIGHT, 44, "ladder of latents and head, from below", anchor="middle"),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" font-family="sans-serif" '
            'font-size="12">',
            '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
            '<path d="M 0 0 L 8 4 L 0 8 z" fill="#888888"/></marker></defs>',
            f'<rect width="{width}" height="{height:.0f}" fill="#FFFFFF"/>',
            _text(12, 20, heading, weight="bold"),
            *arrows,
            *parts,
            "</svg>\n",
        ]
    )


def _bar(bar: Bar, middle: float, y: float) -> list[str]:
    """Return a bar of boxes with its size and its name beside it."""
    box = bar.pixels * SCALE
    left = middle - bar.size * box / 2
    boxes = []
    for index in range(bar.size):
        inside = bar.margin <= index < bar.margin + bar.cells
        boxes.append(
            f'<rect x="{left + index * box:.1f}" y="{y:.0f}" width="{box:.1f}" height="{HEIGHT}" '
            f'fill="{CELL if inside else MARGIN}" stroke="{LINE}" stroke-width="0.6"/>'
        )
    return [*boxes, _text(left + bar.size * box + 6, y + 12, f"{bar.size}  {bar.name}")]


def _text(x: float, y: float, words: str, *, weight: str = "normal", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{TEXT}" font-weight="{weight}" text-anchor="{anchor}">{words}</text>'


def two_dimensional() -> AxisGeometry:
    """Return the geometry of the default network along y or x."""
    return Geometry.of(strides(2, 3, 1.0), kernels(2, 3, 1.0)).axes[0]


if __name__ == "__main__":
    PICTURE.write_text(draw(two_dimensional()), encoding="utf-8")
