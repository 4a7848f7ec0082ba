"""Patches cut from sections: around anchors, or from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import PatchGeometry, Symmetry
from eseg_zoo.patches.sections import Section
from eseg_zoo.patches.survey import Statistics


class Batch(NamedTuple):
    """Patches around anchors; b patches of c channels."""

    patches: Tensor  # (b, c, *region + 2 * margin), normalised; what is hidden may still be there
    hidden: Tensor  # (b, 1, *region + 2 * margin), 1 where the network must not look
    target: Tensor  # (b, c, *region), what the network should find where it must not look
    position: Tensor  # (b, dims), the anchor's phase: its place in the region
    labels: Tensor  # (b,), class indices


def inner_region(x: Tensor, geometry: PatchGeometry) -> Tensor:
    """Return the region (b, c, *region) of patches (b, c, *region + 2 * margin)."""
    for axis, (margin, size) in enumerate(zip(geometry.margin, geometry.region, strict=True), start=2):
        x = x.narrow(axis, margin, size)
    return x


@dataclass(frozen=True)
class PatchSource:
    """Sections, what of each is no padding, and the statistics to normalise what is cut from them."""

    geometry: PatchGeometry
    sections: Sequence[Section]
    contents: Sequence[tuple[slice, ...]]  # of each section, the window within its constant borders
    statistics: Statistics

    def with_region(self, region: tuple[int, ...]) -> PatchSource:
        """Return a source of patches with another region from the same sections."""
        return replace(self, geometry=PatchGeometry(region, self.geometry.margin))

    def batch(
        self,
        anchors: AnchorSet,
        phases: NDArray[np.int64],
        *,
        mask_sides: NDArray[np.int64],
        symmetries: Sequence[Symmetry] | None = None,
    ) -> Batch:
        """Return the patches of `anchors` at `phases` (b, dims), with `mask_sides` (b,) pixels hidden; 0 hides none."""
        geometry, channels = self.geometry, len(self.statistics.mean)
        patches = np.empty((len(anchors), channels, *geometry.size), np.float32)
        hidden = np.zeros((len(anchors), 1, *geometry.size), np.float32)
        positions = phases.copy()
        for i, ((number, *place), phase, side) in enumerate(
            zip(anchors.places.tolist(), phases.tolist(), mask_sides.tolist(), strict=True)
        ):
            section, symmetry = self.sections[number], symmetries[i] if symmetries else None
            patch = section.read(geometry.window(place, phase))
            patches[i] = symmetry.turn(patch) if symmetry else patch
            if side:
                mask = geometry.centre_mask(section.space, place, phase, side)
                hidden[i, 0] = symmetry.turn(mask) if symmetry else mask
            if symmetry:
                positions[i] = symmetry.turn_phase(phase, geometry.region)
        # In single precision, as the network normalises whole images.
        ones = (1,) * len(geometry.region)
        patches -= self.statistics.mean.astype(np.float32).reshape(-1, *ones)
        patches /= self.statistics.std.astype(np.float32).reshape(-1, *ones)
        normalised = torch.from_numpy(patches)
        return Batch(
            normalised,
            torch.from_numpy(hidden),
            inner_region(normalised, geometry),
            torch.from_numpy(positions),
            torch.from_numpy(anchors.labels.copy()),
        )

    def draw_anywhere(self, within: Sequence[int], count: int, rng: np.random.Generator) -> AnchorSet:
        """Return `count` random pixels of the contents of the sections whose numbers are in `within`.

        Each pixel is equally likely. They are no labels: their class is -1.
        """
        windows = [self.contents[number] for number in within]
        starts = np.array([[part.start for part in window] for window in windows])
        spaces = np.array([[part.stop - part.start for part in window] for window in windows])
        pixels = spaces.prod(1, dtype=np.float64)
        chosen = rng.choice(len(within), count, p=pixels / pixels.sum())
        places = np.column_stack([np.asarray(within)[chosen], starts[chosen] + rng.integers(spaces[chosen])])
        return AnchorSet(places, np.full(count, -1), np.zeros(count, np.int64))
