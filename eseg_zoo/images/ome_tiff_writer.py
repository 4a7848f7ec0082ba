"""Maps as OME-TIFF, one file a map, with class names, colours and the pixel size.

The chunks come in any order and are kept beside the files, as an OME-Zarr of one level; the files are written from it
at the end, a plane or a tile at a time, so that memory does not grow with the image. So an interrupted prediction
goes on, whatever it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from eseg_zoo.colours import rgb
from eseg_zoo.images.ome_zarr_writer import OmeZarrWriter
from eseg_zoo.images.pyramid import Pyramid
from eseg_zoo.images.writers import Described
from eseg_zoo.output import Owner, discard, replacing

# Planes of more bytes are written in tiles of this side; smaller ones in strips, which more programs read.
LARGEST_PLANE, TILE = 32 << 20, 1024

Read = Callable[[int, tuple[slice, ...]], NDArray[Any]]
"""(channel, region) -> pixels (*region)"""


@dataclass(frozen=True)
class OmeTiffWriter:
    """Writes the class map to `targets["classes"]`, and probabilities and uncertainty where they have a target.

    `described.channels` are the classes, where there are probabilities, and then the uncertainty, where it is wanted.
    """

    targets: Mapping[str, Path]  # 'classes', 'probabilities', 'uncertainty'
    grid: Pyramid
    described: Described
    force: bool
    owner: Owner | None = None  # see `OmeZarrWriter`

    @property
    def store(self) -> OmeZarrWriter:
        """Where the chunks are kept until all are there."""
        return OmeZarrWriter(self.targets["classes"], self.grid, self.described, self.owner)

    @property
    def channels(self) -> tuple[str, ...]:
        return self.described.channels

    @property
    def label_type(self) -> np.dtype[Any]:
        return self.described.label_type

    def begin(self, origin: Mapping[str, Any], *, force: bool) -> bool:
        """Make the store of the chunks, or take up the one that is there; returns whether it is new."""
        return self.store.begin(origin, force=force)

    def is_done(self, level: int, index: Sequence[int]) -> bool:
        return self.store.is_done(level, index)

    def write(
        self, level: int, index: Sequence[int], labels: NDArray[np.integer], maps: NDArray[np.generic] | None
    ) -> None:
        self.store.write(level, index, labels, maps)

    def read_labels(self, level: int, region: tuple[slice, ...]) -> NDArray[np.integer]:
        return self.store.read_labels(level, region)

    def read_maps(self, level: int, region: tuple[slice, ...]) -> NDArray[Any]:
        return self.store.read_maps(level, region)

    def finish(self) -> None:
        """Write all files, then rename them together; raises `OutputError` when one cannot be written.

        So it does when a chunk is not there, and when somebody else writes this result now.
        """
        self.store.require_whole()
        with ExitStack() as renaming:
            for kind, target in self.targets.items():
                path = renaming.enter_context(replacing(target, force=self.force))
                {"classes": self._classes, "probabilities": self._probabilities, "uncertainty": self._uncertainty}[
                    kind
                ](path)
            if self.owner is not None:
                self.owner.require()
        discard(self.store.path)

    def _classes(self, path: Path) -> None:
        """Write label values as one palette image; the names are in its annotation and in the channel's name."""
        classes = dict(self.described.classes)
        names = ", ".join(f"{value}: {name}" for value, name in classes.items())
        palette: dict[str, Any] = {"photometric": "minisblack"}
        if self.label_type == np.uint8:
            colours = np.zeros((3, 256), np.uint16)
            for value, colour in zip(classes, self.described.colours, strict=True):
                colours[:, value] = np.array(rgb(colour), np.uint16) * 257  # 8 bits in 16
            palette = {"photometric": "palette", "colormap": colours}
        annotation = {"Namespace": "eseg_zoo/classes", **{str(value): name for value, name in classes.items()}}
        metadata = {"Channel": {"Name": [f"classes ({names})"]}, "MapAnnotation": annotation}
        self._write(path, lambda _, region: self.read_labels(0, region), self.label_type, 1, metadata, palette)

    def _probabilities(self, path: Path) -> None:
        """Write one channel for each class, named as the class."""
        self._write_maps(path, 0, [name for _, name in self.described.classes])

    def _uncertainty(self, path: Path) -> None:
        """Write the normalised entropy."""
        self._write_maps(path, len(self.channels) - 1, [self.channels[-1]])

    def _write_maps(self, path: Path, first: int, names: list[str]) -> None:
        metadata, dtype = {"Channel": {"Name": names}}, np.dtype(self.described.dtype)

        def read(channel: int, region: tuple[slice, ...]) -> NDArray[Any]:
            return self.store.read_map(0, first + channel, region)

        self._write(path, read, dtype, len(names), metadata, {"photometric": "minisblack"})

    def _write(
        self, path: Path, read: Read, dtype: np.dtype[Any], channels: int, metadata: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        sizes = dict.fromkeys("tzyx", 1) | dict(zip(self.grid.axes, self.grid.shapes[0], strict=True))
        stated: dict[str, Any] = {}
        for axis, spacing in zip(self.grid.axes, self.grid.spacing, strict=True):
            if axis in "zyx" and spacing.micrometres:
                stated |= {f"PhysicalSize{axis.upper()}": spacing.micrometres, f"PhysicalSize{axis.upper()}Unit": "µm"}
        in_tiles = sizes["y"] * sizes["x"] * dtype.itemsize > LARGEST_PLANE
        tifffile.imwrite(
            path,
            self._parts(read, sizes, channels, (TILE, TILE) if in_tiles else (sizes["y"], sizes["x"])),
            shape=(sizes["t"], sizes["z"], channels, sizes["y"], sizes["x"]),
            dtype=dtype,
            ome=True,
            bigtiff=True,
            compression="zlib",
            tile=(TILE, TILE) if in_tiles else None,
            metadata={"axes": "TZCYX", **metadata, **stated},
            **options,
        )

    def _parts(
        self, read: Read, sizes: Mapping[str, int], channels: int, part: tuple[int, int]
    ) -> Iterator[NDArray[Any]]:
        """Yield the planes in the order t, z, channel, or their tiles of this size, the last ones filled up."""
        planes = product(range(sizes["t"]), range(sizes["z"]), range(channels))
        for (t, z, channel), y, x in product(planes, range(0, sizes["y"], part[0]), range(0, sizes["x"], part[1])):
            where = {
                "t": slice(t, t + 1),
                "z": slice(z, z + 1),
                "y": slice(y, min(y + part[0], sizes["y"])),
                "x": slice(x, min(x + part[1], sizes["x"])),
            }
            found = read(channel, tuple(where[axis] for axis in self.grid.axes))
            found = found.reshape([where[axis].stop - where[axis].start for axis in "yx"])
            yield np.pad(found, [(0, whole - n) for whole, n in zip(part, found.shape, strict=True)])
