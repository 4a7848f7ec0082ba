"""Anchors: the labelled pixels, split by strokes, drawn class-balanced, and cut into batches of patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from eseg_zoo.data.patches import Padded, PatchGeometry, Symmetry
from eseg_zoo.data.statistics import Statistics


@dataclass(frozen=True)
class AnchorSet:
    """Labelled pixels: the section and place of each (n, 1 + dims), its class (n,), and its stroke (n,)."""

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    strokes: NDArray[np.int64]

    @classmethod
    def of(cls, labels: Sequence[NDArray[np.int16]], within: Sequence[int]) -> AnchorSet:
        """Return the labelled pixels of the sections whose numbers are in `within`.

        A stroke is a set of pixels of one class that touch, corners included.
        """
        places, classes, strokes, count = [], [], [], 0
        for number in within:
            section = labels[number]
            for index in np.unique(section[section >= 0]):
                stroke_map, found = ndimage.label(section == index, np.ones((3,) * section.ndim))
                pixels = np.argwhere(stroke_map)
                places.append(np.insert(pixels, 0, number, axis=1))
                classes.append(np.full(len(pixels), index, np.int64))
                strokes.append(stroke_map[stroke_map > 0].astype(np.int64) + count)
                count += found
        if not places:
            dims = labels[0].ndim if labels else 2
            return cls(np.zeros((0, 1 + dims), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        return cls(np.concatenate(places), np.concatenate(classes), np.concatenate(strokes))

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, chosen: NDArray[np.generic]) -> AnchorSet:
        """Return the anchors at these indices, or where this mask is true."""
        return AnchorSet(self.places[chosen], self.labels[chosen], self.strokes[chosen])

    def split_by_strokes(self, fraction: float, rng: np.random.Generator) -> tuple[AnchorSet, AnchorSet]:
        """Return (training, validation): about `fraction` of each class's strokes is held out, whole strokes only.

        Pixels of one stroke look alike, so they are never on both sides. A class of one stroke keeps it for training;
        where that leaves fewer than two classes to hold out, nothing is, because one class alone can judge nothing.
        """
        held_out: list[NDArray[np.int64]] = []
        for index in np.unique(self.labels):
            strokes = np.unique(self.strokes[self.labels == index])
            count = min(max(round(fraction * len(strokes)), 1), len(strokes) - 1) if fraction > 0 else 0
            held_out.append(rng.permutation(strokes)[:count])
        validated = sum(len(strokes) > 0 for strokes in held_out) >= 2
        mask = np.isin(self.strokes, np.concatenate(held_out) if validated else [])
        return self.select(~mask), self.select(mask)

    def at_most(self, per_class: int, rng: np.random.Generator) -> AnchorSet:
        """Return a random subset with at most `per_class` anchors of each class."""
        chosen = [rng.permutation(np.flatnonzero(self.labels == index))[:per_class] for index in np.unique(self.labels)]
        return self.select(np.sort(np.concatenate(chosen))) if chosen else self


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
    """Sections, padded once, with the statistics to normalise what is cut from them."""

    geometry: PatchGeometry
    padded: list[Padded]
    statistics: Statistics

    @classmethod
    def of(
        cls,
        images: Sequence[NDArray[np.generic]],
        geometry: PatchGeometry,
        statistics: Statistics,
        *,
        widest: tuple[int, ...] | None = None,
    ) -> PatchSource:
        """Build it from sections (c, *space); `widest` is the largest region that `with_region` will be asked for."""
        width = PatchGeometry(widest or geometry.region, geometry.margin).reach
        return cls(geometry, [Padded.of(image, width) for image in images], statistics)

    def with_region(self, region: tuple[int, ...]) -> PatchSource:
        """Return a source of patches with another region from the same padded sections."""
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
        patches, hidden, positions = [], [], []
        for i, (number, *place) in enumerate(anchors.places.tolist()):
            phase = tuple(phases[i].tolist())
            padded = self.padded[number]
            patch = self.geometry.cut(padded, place, phase)
            mask = self.geometry.centre_mask(padded.space, place, phase, int(mask_sides[i]))
            if symmetries is not None:
                patch, mask = symmetries[i].turn(patch), symmetries[i].turn(mask)
                phase = symmetries[i].turn_phase(phase, self.geometry.region)
            patches.append(patch)
            hidden.append(mask)
            positions.append(phase)
        ones = (1,) * len(self.geometry.region)
        mean, std = (values.reshape(-1, *ones) for values in (self.statistics.mean, self.statistics.std))
        normalised = torch.from_numpy(((np.stack(patches) - mean) / std).astype(np.float32))
        return Batch(
            normalised,
            torch.from_numpy(np.stack(hidden)[:, None].astype(np.float32)),
            inner_region(normalised, self.geometry),
            torch.tensor(positions),
            torch.from_numpy(anchors.labels.copy()),
        )


def draw_balanced(anchors: AnchorSet, count: int, rng: np.random.Generator) -> AnchorSet:
    """Return `count` anchors with replacement: as many of each class as of any other, up to rounding."""
    present = np.unique(anchors.labels)
    # The order of the classes is drawn, so that rounding favours another class in every batch.
    classes = rng.permutation(present)[np.arange(count) % len(present)]
    chosen = np.empty(count, np.int64)
    for index in present:
        wanted = classes == index
        chosen[wanted] = rng.choice(np.flatnonzero(anchors.labels == index), int(wanted.sum()))
    return anchors.select(chosen)


def draw_anywhere(source: PatchSource, within: Sequence[int], count: int, rng: np.random.Generator) -> AnchorSet:
    """Return `count` random pixels of the sections whose numbers are in `within`; each pixel is equally likely.

    They are no labels: their class is -1.
    """
    spaces = np.array([source.padded[number].space for number in within])
    pixels = spaces.prod(1, dtype=np.float64)
    chosen = rng.choice(len(within), count, p=pixels / pixels.sum())
    places = np.column_stack([np.asarray(within)[chosen], rng.integers(spaces[chosen])])
    return AnchorSet(places, np.full(count, -1), np.zeros(count, np.int64))
