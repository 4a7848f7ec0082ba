"""What a training is given: the whole image, or of one that is large the parts around the strokes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from eseg_napari.chosen_image import ChosenImage
from eseg_napari.strokes import Snapshot
from eseg_zoo.images.image import Image

# Images of more bytes are not read whole.
LARGEST = 1 << 30
# Strokes of a large image that are nearer than this are in one part; a part goes on for as far around them (pixels).
NEAR = 256
NEAR_SLICES = 16

Window = tuple[slice, ...]


@dataclass(frozen=True)
class TrainingInputs:
    """Images and their label images."""

    images: list[Image]
    labels: list[Image]
    windows: tuple[Window, ...] = ()  # of each part, along the axes of the strokes; none for the whole image

    @property
    def is_whole(self) -> bool:
        """Whether the image is given whole."""
        return not self.windows


def training_inputs(chosen: ChosenImage, snapshot: Snapshot, *, dims: int, largest: int = LARGEST) -> TrainingInputs:
    """Return what to train on. Of images of more than `largest` bytes nothing is read but around strokes."""
    labels = snapshot.image(chosen.axes)
    if chosen.bytes <= largest:
        return TrainingInputs([chosen.image], [labels])
    windows = _windows(chosen, snapshot, dims)
    parts = [dict(zip(chosen.axes, window, strict=True)) for window in windows]
    return TrainingInputs(
        [part_of(chosen.image, part) for part in parts], [part_of(labels, part) for part in parts], tuple(windows)
    )


def _windows(chosen: ChosenImage, snapshot: Snapshot, dims: int) -> list[Window]:
    """Return windows that hold all strokes and what is around them; strokes that are near share one."""
    steps = [1] * (len(chosen.axes) - 2) + [NEAR, NEAR]
    around = [0] * (len(chosen.axes) - 2) + [NEAR, NEAR]
    if dims == 3 and "z" in chosen.axes:
        steps[chosen.axes.index("z")] = around[chosen.axes.index("z")] = NEAR_SLICES
    places = []
    for plane, painting in snapshot.paintings.items():
        inside = np.argwhere(painting.pixels) + np.array([painting.y, painting.x])
        places.append(np.unique(np.insert(inside // NEAR, 0, np.zeros((len(plane), 1)), axis=1), axis=0))
        places[-1][:, : len(plane)] = np.array(plane, int) // steps[: len(plane)]
    cells = np.unique(np.concatenate(places), axis=0)
    first = cells.min(0)
    grid = np.zeros(cells.max(0) - first + 1, bool)
    grid[tuple((cells - first).T)] = True
    joined = np.zeros((3,) * grid.ndim, bool)
    joined[tuple(slice(None) if step > 1 else 1 for step in steps)] = True
    found, _ = ndimage.label(grid, joined)
    windows = []
    for box in ndimage.find_objects(found):
        bounds = zip(box, first.tolist(), steps, around, chosen.shape, strict=True)
        windows.append(
            tuple(
                slice(max((part.start + low) * step - more, 0), min((part.stop + low) * step + more, length))
                for part, low, step, more, length in bounds
            )
        )
    return windows


def part_of(image: Image, window: Mapping[str, slice]) -> Image:
    """Return a part of an image as an image of its own; nothing is read."""
    parts = tuple(window.get(axis, slice(0, n)) for axis, n in zip(image.axes, image.shape, strict=True))
    place = ", ".join(f"{axis} {part.start}-{part.stop - 1}" for axis, part in window.items())
    return replace(
        image,
        source=PartSource(image, tuple(part.start for part in parts)),
        name=f"{image.name} at {place}",
        shape=tuple(part.stop - part.start for part in parts),
        chunks=tuple(min(c, p.stop - p.start) for c, p in zip(image.chunks, parts, strict=True)),
        spacing=tuple(one.moved(part.start) for one, part in zip(image.spacing, parts, strict=True)),
    )


@dataclass(frozen=True)
class PartSource:
    """A part of an image as the source of pixels."""

    whole: Image
    starts: tuple[int, ...]

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """The image reports them itself."""
        return ()

    @property
    def kept(self) -> bool:
        """The image keeps its file open by itself."""
        return False

    @property
    def identity(self) -> str:
        """The image's, and the place."""
        return f"{self.whole.fingerprint} {self.starts}"

    def open(self) -> Any:
        """Return an array that is read by slices."""
        return self

    def __getitem__(self, where: Window) -> Any:
        moved = [slice(p.start + s, p.stop + s) for p, s in zip(where, self.starts, strict=True)]
        found = self.whole.read(dict(zip(self.whole.axes, moved, strict=True)))
        kept = [axis for axis in "tczyx" if axis in self.whole.axes]
        found = found[tuple(slice(None) if axis in kept else 0 for axis in "tczyx")]
        return found.transpose([kept.index(axis) for axis in self.whole.axes])
