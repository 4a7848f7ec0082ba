"""Opening a label image: of any format of images, or in an OME-Zarr, with the classes that it names."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from eseg_zoo.errors import AbsentPartsError, InputError
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.painted import LabelClass
from eseg_zoo.labels.readers import READ
from eseg_zoo.paths import described

log = logging.getLogger(__name__)

_NO_LABELS = {"a text file", "a YAML file", "a ZIP file"}


def open_pixels(source: Any, image: Image, *, name: str, unlabelled: int, allow_missing: bool) -> Image:
    """Return the label image of an image.

    Of a few strokes in a large Zarr or HDF5 file most chunks hold nothing and were never written: there nothing is
    labelled, and that is told, because a file that was not copied whole looks the same. Raises `InputError` for what
    cannot be read and for several channels.
    """
    level = None
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if path.is_file() and (kind := described(path)) in _NO_LABELS:
            raise InputError(f"{name} is {kind} of a kind that is not read; labels are {READ}")
        source, name, level = _in_zarr(path, image, name)

    def opened(allow_missing: bool) -> Image:
        usual = image.axes.replace("c", "")
        return open_image(source, usual_axes=usual, level=level, allow_missing=allow_missing, name=name)

    try:
        pixels = opened(allow_missing)
    except AbsentPartsError as error:
        if unlabelled:
            raise
        log.warning("%s: nothing is labelled there, if the file was copied whole", error.lacking)
        pixels = opened(True)
    if pixels.sizes["c"] > 1:
        raise InputError(f"{pixels.name} has {pixels.sizes['c']} channels; a label image has one value at each pixel")
    return pixels


def classes_of_pixels(source: Any) -> tuple[LabelClass, ...]:
    """Return the classes that a label image names; only those of OME-Zarr do."""
    if not isinstance(source, (str, Path)) or not (path := Path(source).expanduser()).is_dir():
        return ()
    from eseg_zoo.images.ome_zarr import is_zarr
    from eseg_zoo.labels.ome_zarr import classes_in, label_image_in

    return classes_in(label_image_in(path)) if is_zarr(path) else ()


def _in_zarr(path: Path, image: Image, name: str) -> tuple[Path, str, int | None]:
    """Return path, name and resolution level of the label image that a path means; other files are themselves."""
    if not path.is_dir():
        return path, name, None
    from eseg_zoo.images.ome_zarr import is_zarr
    from eseg_zoo.labels.ome_zarr import label_image_in, level_for

    if not is_zarr(path):
        return path, name, None
    found = label_image_in(path)
    return found, name if found == path else f"{name}/{found.relative_to(path).as_posix()}", level_for(found, image)
