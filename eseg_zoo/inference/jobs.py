"""One chunk of a result, predicted or made from the finer level: the unit of work, wherever it runs.

A chunk is predicted on one thread, because the sums of a network depend, in their last digits, on how many threads
share them: so the result is the same bytes whatever the machine's cores and the number of workers. A process predicts
`Job.at_once` chunks side by side, which bounds its memory; meanwhile other threads read and write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock, Semaphore

import numpy as np
import torch
from numpy.typing import NDArray

from eseg_zoo.images.image import Image
from eseg_zoo.images.pyramid import mean, most_frequent
from eseg_zoo.images.writers import MapWriter
from eseg_zoo.inference.network import Network
from eseg_zoo.inference.tiles import Window, crop_to, read_padded, require_probabilities
from eseg_zoo.metrics import entropy
from eseg_zoo.patches.sections import Section

_first = Lock()


@dataclass(frozen=True)
class WantedMaps:
    """Which maps to make beside the class map."""

    probabilities: bool = False
    uncertainty: bool = False
    eight_bit: bool = False  # in factors of 1/255, a byte each, instead of float32

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(np.uint8 if self.eight_bit else np.float32)

    def of(self, probabilities: NDArray[np.float32]) -> NDArray[np.generic] | None:
        """Return the maps (channels, ...) of probabilities (classes, ...), or None where none is wanted."""
        maps = [probabilities] if self.probabilities else []
        if self.uncertainty:
            maps.append(entropy(probabilities)[None])
        if not maps:
            return None
        found = np.concatenate(maps)
        return np.rint(found * 255).astype(np.uint8) if self.eight_bit else found


@dataclass(frozen=True)
class Job:
    """What a worker must know to make any chunk of a result; small enough to travel with every task."""

    network: Network
    image: Image
    writer: MapWriter
    wanted: WantedMaps
    first: tuple[int, ...]  # along each axis of the result, the image's pixel that it begins with
    at_once: int = 1

    def make(self, level: int, index: tuple[int, ...]) -> None:
        """Write the chunk `index` of `level`; what is there already is replaced by the same bytes.

        Raises `InputError` for pixels that cannot be read or are not finite, `OutputError` for a disk that is full.
        """
        if level:
            self._make_coarse(level, index)
        else:
            self._predict(index)

    def _predict(self, index: tuple[int, ...]) -> None:
        predictor, grid = self.network.predictor(), self.writer.grid
        checkpoint = predictor.checkpoint
        region = dict.fromkeys("tzyx", slice(0, 1))
        for axis, part, first in zip(grid.axes, grid.region(0, index), self.first, strict=True):
            region[axis] = slice(part.start + first, part.stop + first)
        section, window = _section_and_window(self.image, region, checkpoint.dims)
        padded = read_padded(section, window, checkpoint.geometry)
        with _first:  # not one for each thread
            turns = _turns(self.at_once)
        with turns:
            torch.set_num_threads(1)
            probabilities = crop_to(predictor.probabilities(padded), window)
        require_probabilities(probabilities, padded, section, window)
        values = np.array([one.value for one in checkpoint.classes], self.writer.label_type)
        shape = [part.stop - part.start for part in grid.region(0, index)]
        maps = self.wanted.of(probabilities)
        labels = values[probabilities.argmax(0)].reshape(shape)
        self.writer.write(0, index, labels, None if maps is None else maps.reshape(-1, *shape))

    def _make_coarse(self, level: int, index: Sequence[int]) -> None:
        grid = self.writer.grid
        finer, factors = grid.finer_region(level, index), grid.factors_to(level)
        labels = most_frequent(self.writer.read_labels(level - 1, finer), factors)
        maps = None
        if self.writer.channels:
            maps = np.stack([mean(one, factors) for one in self.writer.read_maps(level - 1, finer)])
        self.writer.write(level, index, labels, maps)


def _section_and_window(image: Image, region: dict[str, slice], dims: int) -> tuple[Section, Window]:
    """Return the section that a region of an image lies in, and its window there."""
    depth = None if dims == 3 else region["z"].start
    return Section(image, region["t"].start, depth), tuple(region[axis] for axis in "zyx"[-dims:])


@lru_cache(maxsize=1)
def _turns(at_once: int) -> Semaphore:
    """Return what lets so many chunks of this process be predicted side by side."""
    return Semaphore(at_once)
