"""CZI, LIF, ND2 and other formats of microscopes, through bioio where it is installed (the extra `bioio`)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.files import require_unchanged, stamp
from eseg_zoo.images.found import Found, Request
from eseg_zoo.images.image import Spacing, StoredSource, first_line, is_ours
from eseg_zoo.images.levels import require_no_level

_FAILURES = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError, ImportError,
    AssertionError, struct.error,
)  # fmt: skip

SUFFIXES = {".czi", ".lif", ".nd2", ".dv", ".r3d", ".oib", ".oif", ".vsi", ".sldy", ".ims", ".lsm", ".oir", ".xlif"}


@dataclass(frozen=True)
class BioioSource(StoredSource):
    """A scene of a file that bioio reads, as a Dask array."""

    path: Path
    scene: str
    stamp: str

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """The readers are many; `is_ours` tells our own mistakes apart."""
        return _FAILURES

    def open(self) -> Any:
        """Return the Dask array of the scene."""
        require_unchanged([self.path], self.stamp)
        return _scene(self.path, self.scene).xarray_dask_data.data


def _scene(path: Path, scene: str) -> Any:
    from bioio import BioImage

    image = BioImage(path)
    image.set_scene(scene)
    return image


def open_bioformats(path: Path, request: Request, chosen: int | None) -> Found:
    """Return a scene of a file of a microscope.

    Raises `InputError` where bioio is not installed or cannot read the file, and where there are several scenes and
    none is chosen.
    """
    require_no_level(str(path), request.level)
    kind = path.suffix or "no name ending"
    try:
        from bioio import BioImage
    except ImportError as error:
        raise InputError(
            f"{path} is of a format that is read through bioio ({kind}); pip install 'eseg_zoo[bioio]', or save it as "
            "OME-TIFF or OME-Zarr"
        ) from error
    from bioio_base.exceptions import UnsupportedFileFormatError

    failures = (*_FAILURES, UnsupportedFileFormatError)
    try:
        image = BioImage(path)
        scenes = list(image.scenes)
    except failures as error:
        if is_ours(error):
            raise
        raise InputError(f"{path} cannot be read by bioio: {shorten(first_line(error), 160)}") from error
    if chosen is None and len(scenes) > 1:
        shown = ", ".join(f"{number}: {scene}" for number, scene in enumerate(scenes[:12]))
        raise InputError(f"{path} holds {len(scenes)} images, {shown}; name one, such as {path.name}#0")
    if chosen is not None and not 0 <= chosen < len(scenes):
        raise InputError(f"{path} has no image {chosen}; it holds {len(scenes)}")
    scene = scenes[chosen or 0]
    try:
        image.set_scene(scene)
        array = image.xarray_dask_data
        sizes = image.physical_pixel_sizes
        names = image.channel_names
    except failures as error:
        if is_ours(error):
            raise
        raise InputError(f"{path} cannot be read by bioio: {shorten(first_line(error), 160)}") from error
    said = "".join(str(dim).lower() for dim in array.dims)
    stated = {a: getattr(sizes, a.upper(), None) for a in "zyx"}
    spacing = {a: Spacing(float(s), 0.0, "micrometer") for a, s in stated.items() if s}
    source = BioioSource(path.absolute(), str(scene), stamp([path]))
    where = f"image {chosen}" if chosen is not None else ""
    return Found(
        source, tuple(map(int, array.shape)), np.dtype(array.dtype), tuple(map(int, array.data.chunksize)), said, True,
        spacing, tuple(map(str, names or ())), where,
    )  # fmt: skip
