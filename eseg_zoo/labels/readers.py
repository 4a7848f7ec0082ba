"""Readers of what was painted, by the content of a file. Each is a module with `knows` and `read`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from eseg_zoo.labels.painted import Painted, PaintOptions

# Modules of this package, in the order in which they are asked, and imported then.
_MODULES = ("labkit", "geojson", "imagej", "napari", "points")

READ = (
    "label images, ilastik projects, labels in an OME-Zarr, CSV files of napari or with columns y, x and class, "
    "GeoJSON of QuPath, labelings of Labkit and ROIs of ImageJ"
)


class Reader(Protocol):
    """One kind of files."""

    def knows(self, path: Path) -> bool:
        """Say whether a file is of this kind, by a look at its content."""

    def read(self, path: Path, options: PaintOptions) -> Painted:
        """Return what was painted; raises `InputError` for a file that cannot be read."""


def reader_of(path: Path) -> Reader | None:
    """Return the reader of a file in which something was painted; None for a label image and for what is no file."""
    if not path.is_file():
        return None
    for name in _MODULES:
        reader = cast(Reader, import_module(f"{__package__}.{name}"))
        if reader.knows(path):
            return reader
    return None
