"""Opening an image of any kind: a path, an array, or an image that is open."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eseg_zoo.errors import InputError
from eseg_zoo.images import files
from eseg_zoo.images.axes import check_axes, pixel_type, resolve_axes
from eseg_zoo.images.found import Found, Request
from eseg_zoo.images.image import Image, Spacing, first_line
from eseg_zoo.paths import HDF5, NPY, PNG, TIFF, described

# What is given in place of an image by mistake.
_NO_IMAGES = {"a model", "a package of the BioImage Model Zoo", "a YAML file", "a text file"}
_UNREAD = {"JPEG", "JPEG 2000", "GIF", "BMP", "PDF", "ZIP", "gzip"}


def open_image(
    source: Any, *, axes: str | None = None, usual_axes: str | None = None, level: int | None = None,
    voxel_size: Mapping[str, float] | None = None, allow_missing: bool = False, name: str | None = None,
) -> Image:  # fmt: skip
    """Return the image in `source` without reading its pixels.

    `source` is a path (TIFF, PNG, a folder or a glob of them, OME-Zarr, Zarr, HDF5 as `file.h5/dataset`, NPY, and what
    bioio reads), an array (NumPy, Dask, xarray) or an `Image`. `file#1` is the second image of a file of several.

    `axes` are those that a person states for it, in the order of the array; they must not contradict those that the
    file states. `usual_axes` are those of training; they count where the file states none. Of several resolution
    levels `level` is taken, or the one whose pixels are nearest to `voxel_size` (micrometres for each axis), or the
    finest where neither is given. Parts that are stated and absent are empty for `allow_missing`.

    Raises `InputError`, in one line, for what is not there, cannot be read, is not all there, or whose axes are not
    known or contradict each other.
    """
    request = Request(
        check_axes(axes) if axes is not None else None,
        check_axes(usual_axes, setting="usual_axes") if usual_axes is not None else None,
        level, voxel_size, allow_missing,
    )  # fmt: skip
    if isinstance(source, Image):
        return _reopened(source, request, name)
    if isinstance(source, (str, Path)):
        name = name or str(source)
        try:
            found = _open_path(Path(source).expanduser(), request)
        except OSError as error:  # a folder that may not be read, a file that vanishes meanwhile
            raise InputError(f"{name} cannot be opened: {first_line(error)}") from error
    else:
        from eseg_zoo.images.arrays import open_array

        name = name or "the array"
        found = open_array(source, name)
    return _image(found, name, request)


def files_of_source(name: str) -> list[Path]:
    """Return the files and folders that an image is in whose path is `name`, those that are there.

    A pattern has several; a dataset in an HDF5 file and an image of several are in one file.
    """
    from eseg_zoo.images.planes import split_glob

    path, _ = _split_choice(Path(name).expanduser())
    if not os.path.exists(path) and (pattern := split_glob(path)):  # Path.exists raises where nobody may look
        return sorted(pattern[0].glob(pattern[1]))
    there = next((one for one in (path, *path.parents) if os.path.exists(one)), path)
    return [there] if there == path or there.is_file() else []


def _image(found: Found, name: str, request: Request) -> Image:
    """Return the image that was found, with the axes that it has."""
    dtype = pixel_type(name, found.dtype)
    letters = resolve_axes(
        name, found.shape, said=found.said, sure=found.sure, axes=request.axes, usual_axes=request.usual_axes
    )
    spacing = tuple(found.spacing.get(axis, Spacing()) for axis in letters)
    count = found.shape[letters.index("c")] if "c" in letters else 1
    channels = found.channels if len(found.channels) == count else ()
    return Image(
        found.source, name, letters, found.shape, dtype, found.chunks, spacing, channels,
        found.said if found.sure else "", found.where,
    )  # fmt: skip


def _reopened(image: Image, request: Request, name: str | None) -> Image:
    """Return an open image, with other axes where they are stated."""
    spacing = dict(zip(image.axes, image.spacing, strict=True))
    said, sure = (image.stated_axes, True) if image.stated_axes else (image.axes, request.axes is None)
    found = Found(
        image.source, image.shape, image.dtype, image.chunks, said, sure, spacing, image.channels, image.where
    )
    opened = _image(found, name or image.name, request)
    return opened if image.stated_axes or request.axes else image


def _open_path(path: Path, request: Request) -> Found:
    """Return what is in a file or folder, by what it is, not by its name."""
    path, chosen = _split_choice(path)
    inner = next((parent for parent in path.parents if parent.is_file()), None)
    if inner is not None:
        return _open_inside(inner, path.relative_to(inner).as_posix(), request)
    from eseg_zoo.images.planes import open_planes, split_glob

    if not path.exists() and (pattern := split_glob(path)):
        files.require_existing(pattern[0])
        return open_planes(*pattern, request)
    files.require_existing(path)
    if path.is_dir():
        from eseg_zoo.images.ome_zarr import is_zarr, open_zarr

        return open_zarr(path, request) if is_zarr(path) else open_planes(path, "", request)
    return _open_file(path, request, chosen)


def _split_choice(path: Path) -> tuple[Path, int | None]:
    """Return path and number of `file.tif#1`; a file that has such a name is itself."""
    stem, _, number = path.name.rpartition("#")
    if stem and number.isdecimal() and not path.exists():
        return path.with_name(stem), int(number)
    return path, None


def _open_inside(file: Path, inner: str, request: Request) -> Found:
    if files.kind_of(file) != HDF5:
        raise InputError(f"{file} is a file without datasets in it; {file}/{inner} would be one in an HDF5 file")
    from eseg_zoo.images.hdf5 import open_hdf5
    from eseg_zoo.images.levels import require_no_level

    require_no_level(f"{file}/{inner}", request.level)
    return open_hdf5(file, inner, allow_missing=request.allow_missing)


def _open_file(path: Path, request: Request, chosen: int | None) -> Found:
    from eseg_zoo.images.levels import require_no_level

    kind = files.kind_of(path)
    if kind == TIFF:
        from eseg_zoo.images.tiff import open_tiff

        return open_tiff(path, request, chosen)
    if chosen is not None and kind in {PNG, NPY, HDF5}:
        raise InputError(f"{path} is a file of one image; #{chosen} names one of several")
    if kind in {PNG, NPY, HDF5}:
        require_no_level(str(path), request.level)
    if kind == PNG:
        from eseg_zoo.images.png import open_png

        return open_png(path)
    if kind == NPY:
        from eseg_zoo.images.npy import open_npy

        return open_npy(path)
    if kind == HDF5:
        from eseg_zoo.images.hdf5 import open_hdf5

        return open_hdf5(path, "", allow_missing=request.allow_missing)
    from eseg_zoo.images.bioformats import SUFFIXES, open_bioformats

    foreign = path.suffix.lower() in SUFFIXES
    if not foreign and (found := described(path)) in _NO_IMAGES:
        raise InputError(f"{path} is {found}, not an image")
    if kind in _UNREAD:
        raise InputError(f"{path} is a {kind} file, which is not read; save it as TIFF, PNG, NPY, HDF5 or OME-Zarr")
    if foreign or kind:
        return open_bioformats(path, request, chosen)
    raise InputError(
        f"{path} is of a format that is not known by its first bytes; TIFF, PNG, NPY, HDF5, OME-Zarr and, with bioio, "
        "CZI, LIF and ND2 are read"
    )
