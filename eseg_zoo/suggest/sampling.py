"""Which parts of images are looked at: all of small ones, of large ones a sample spread over all slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from eseg_zoo.inference.tiles import tile_size
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.patches.sections import Section, Window

# Sides of a part in pixels, and how many pixels are looked at.
SIDES = {2: 256, 3: 64}
MOST_PIXELS = {2: 16 << 20, 3: 6 << 20}


@dataclass(frozen=True)
class Part:
    """A window of a section."""

    number: int  # of the section, in the order of all that were given
    window: Window


def sample_parts(
    sections: Sequence[Section], shape: Architecture, *, pixels: int | None = None, seed: int = 0
) -> list[Part]:
    """Return the parts of sections to look at, in order; the same ones for the same seed.

    They have at most so many `pixels` together, by default `MOST_PIXELS`, but there is one at least. Where there are
    more, they are cut into as many runs of equal length, and one part of each run is drawn. Nothing is read for this.
    """
    sizes = [tile_size(shape, section.space, side=SIDES[shape.dims]) for section in sections]
    grids = [
        [-(-n // side) for n, side in zip(section.space, size, strict=True)]
        for section, size in zip(sections, sizes, strict=True)
    ]
    ends = np.cumsum([prod(grid) for grid in grids], dtype=np.int64)
    total, most = int(ends[-1]), max((pixels or MOST_PIXELS[shape.dims]) // max(map(prod, sizes)), 1)
    chosen = np.arange(total)
    if total > most:
        drawn = np.arange(most) + np.random.default_rng(seed).random(most)
        chosen = np.minimum((drawn * (total / most)).astype(np.int64), total - 1)
    parts = []
    for index in chosen.tolist():
        number = int(np.searchsorted(ends, index, side="right"))
        within = index - (int(ends[number - 1]) if number else 0)
        corner = [int(n) for n in np.unravel_index(within, grids[number])]
        triples = zip(corner, sizes[number], sections[number].space, strict=True)
        parts.append(Part(number, tuple(slice(i * side, min((i + 1) * side, n)) for i, side, n in triples)))
    return parts
