"""Where maps are written: one interface, with a writer for OME-Zarr, one for OME-TIFF, and one for memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.colours import class_colours
from eseg_zoo.images.pyramid import Pyramid


@dataclass(frozen=True)
class Described:
    """What the maps of an image are."""

    classes: tuple[tuple[int, str], ...]  # label value and name
    channels: tuple[str, ...] = ()  # of the maps beside the class map; none for none
    dtype: str = "float32"  # of these maps: 0..1, or uint8 for 0..255
    class_colours: tuple[str, ...] = ()  # `#rrggbb` of each class; none for those of the palette

    @property
    def colours(self) -> tuple[str, ...]:
        """The colour of each class."""
        return self.class_colours or tuple(class_colours(len(self.classes)))

    @property
    def label_type(self) -> np.dtype[Any]:
        """The smallest unsigned integer that holds all label values."""
        return np.min_scalar_type(max(value for value, _ in self.classes))


class MapWriter(Protocol):
    """Takes the chunks of a result in any order, from any thread; those of files also from other processes."""

    @property
    def grid(self) -> Pyramid:
        """The chunks of each level."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the maps beside the class map."""

    @property
    def label_type(self) -> np.dtype[Any]:
        """Type of the class map."""

    def is_done(self, level: int, index: Sequence[int]) -> bool:
        """Say whether a chunk was written."""

    def write(
        self, level: int, index: Sequence[int], labels: NDArray[np.integer], maps: NDArray[np.generic] | None
    ) -> None:
        """Take a chunk of the class map (*axes) and of the other maps (channels, *axes)."""

    def read_labels(self, level: int, region: tuple[slice, ...]) -> NDArray[np.integer]:
        """Return the class map (*axes) of a region of one level."""

    def read_maps(self, level: int, region: tuple[slice, ...]) -> NDArray[np.floating]:
        """Return the other maps (channels, *axes) of a region of one level."""

    def finish(self) -> None:
        """Give the result its name, when all chunks are written."""


class FileWriter(MapWriter, Protocol):
    """Writes into files that have another name until they are finished, so that an interrupted result can go on."""

    def begin(self, origin: Mapping[str, Any], *, force: bool) -> bool:
        """Make the result ready for its chunks; `origin` says what it follows from.

        Returns False when an unfinished result of the same origin is there, and goes on with it. Raises `OutputError`
        when one of another origin is there and `force` is not set, when what is there is not ours, or when it cannot be
        written.
        """


class MemoryWriter:
    """Keeps the maps as arrays: `labels` (*axes) and `maps` (channels, *axes)."""

    def __init__(self, grid: Pyramid, described: Described):
        self.grid, self.channels, self.label_type = grid, described.channels, described.label_type
        self.labels = np.zeros(grid.shapes[0], self.label_type)
        self.maps = np.zeros((len(self.channels), *grid.shapes[0]), described.dtype)

    def is_done(self, level: int, index: Sequence[int]) -> bool:
        return False

    def write(
        self, level: int, index: Sequence[int], labels: NDArray[np.integer], maps: NDArray[np.generic] | None
    ) -> None:
        region = self.grid.region(level, index)
        self.labels[region] = labels
        if maps is not None:
            self.maps[(slice(None), *region)] = maps

    def read_labels(self, level: int, region: tuple[slice, ...]) -> NDArray[np.integer]:
        return self.labels[region]

    def read_maps(self, level: int, region: tuple[slice, ...]) -> NDArray[np.floating]:
        return self.maps[(slice(None), *region)]

    def finish(self) -> None:
        """There is nothing left to do."""
