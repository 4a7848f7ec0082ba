"""Class, probability and uncertainty maps as OME-TIFF, with class names, colours and the pixel size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from eseg_zoo.colours import class_colours
from eseg_zoo.output import replacing


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the uncertainty of probabilities (classes, ...): their entropy over its maximum, 0 (sure) to 1."""
    safe = np.maximum(probabilities, np.finfo(np.float32).tiny)
    return np.asarray(-(probabilities * np.log(safe)).sum(0) / np.log(len(probabilities)), np.float32)


@dataclass(frozen=True)
class MapWriter:
    """Writes the maps of one image; `planes` arrive in the order t, z, and are (y, x) or (c, y, x)."""

    classes: Mapping[int, str]
    voxel_size: Mapping[str, float]  # axis -> micrometres
    shape: tuple[int, int, int, int]  # t, z, y, x
    force: bool

    def write_classes(self, path: Path, planes: Iterable[NDArray[np.integer]]) -> None:
        """Write label values as one palette image; the names are in its annotation and in the channel's name."""
        names = ", ".join(f"{value}: {name}" for value, name in self.classes.items())
        dtype = np.uint8 if max(self.classes) < 256 else np.uint16
        palette: dict[str, Any] = {}
        if dtype is np.uint8:
            colours = np.zeros((3, 256), np.uint16)
            for value, colour in zip(self.classes, class_colours(len(self.classes)), strict=True):
                colours[:, value] = np.array(to_rgb(colour)) * 65535
            palette = {"photometric": "palette", "colormap": colours}
        annotation = {"Namespace": "eseg_zoo/classes", **{str(value): name for value, name in self.classes.items()}}
        metadata = {"Channel": {"Name": [f"classes ({names})"]}, "MapAnnotation": annotation}
        self._write(path, (plane.astype(dtype) for plane in planes), np.dtype(dtype), 1, metadata, palette)

    def write_probabilities(self, path: Path, planes: Iterable[NDArray[np.float32]]) -> None:
        """Write one channel for each class, planes (classes, y, x), 0..1, the channel named as the class."""
        metadata = {"Channel": {"Name": list(self.classes.values())}}
        channels = (channel for plane in planes for channel in plane)
        self._write(path, channels, np.dtype(np.float32), len(self.classes), metadata, {"photometric": "minisblack"})

    def write_uncertainty(self, path: Path, planes: Iterable[NDArray[np.float32]]) -> None:
        """Write the normalised entropy, 0..1."""
        metadata = {"Channel": {"Name": ["uncertainty (normalised entropy)"]}}
        self._write(path, planes, np.dtype(np.float32), 1, metadata, {"photometric": "minisblack"})

    def _write(
        self, path: Path, planes: Iterable[NDArray[Any]], dtype: np.dtype[Any], channels: int,
        metadata: dict[str, Any], options: dict[str, Any],
    ) -> None:  # fmt: skip
        sizes = {f"PhysicalSize{axis.upper()}": size for axis, size in self.voxel_size.items()}
        units = {f"{key}Unit": "µm" for key in sizes}
        time, depth, height, width = self.shape
        with replacing(path, force=self.force) as temporary:
            tifffile.imwrite(
                temporary,
                _contiguous(planes),
                shape=(time, depth, channels, height, width),
                dtype=dtype,
                ome=True,
                bigtiff=True,
                compression="zlib",
                metadata={"axes": "TZCYX", **metadata, **sizes, **units},
                **options,
            )


def _contiguous(planes: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    for plane in planes:
        yield np.ascontiguousarray(plane)
