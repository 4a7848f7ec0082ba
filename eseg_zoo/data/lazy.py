"""Volumes that are read a region at a time: OME-Zarr, Zarr, TIFF, folders of TIFFs, HDF5 and NPY."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from eseg_zoo.data.ome_zarr import Spacing, choose_level, is_zarr, read_levels, refuse_missing_chunks
from eseg_zoo.data.volumes import (
    AXES,
    DAMAGE,
    axes_in,
    check_array,
    check_axes,
    check_stated,
    fitting_axes,
    reading_tiff,
    tiff_voxel_size,
)
from eseg_zoo.errors import InputError

_HDF5 = (".h5", ".hdf5", ".hdf", ".ilp")
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Volume:
    """A volume on disk, opened anew in every process that reads it; small enough to travel with every task."""

    path: Path
    array: str  # where the pixels are inside the file or folder: a resolution level, an HDF5 dataset; '' for others
    axes: str  # of the file, in its order
    shape: tuple[int, ...]  # in the order of `axes`
    dtype: str
    spacing: tuple[Spacing, ...]  # of each axis, in the order of `axes`
    stamp: int  # time of the last change, so that a long-lived worker opens a changed file anew

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every axis of `AXES`; 1 for those that the file lacks."""
        return dict.fromkeys(AXES, 1) | dict(zip(self.axes, self.shape, strict=True))

    def read(self, region: Mapping[str, slice]) -> NDArray[np.generic]:
        """Return the pixels of a region, (t, c, z, y, x); axes that `region` lacks are read whole.

        Raises `InputError` where the file cannot be read.
        """
        where = tuple(region.get(axis, slice(None)) for axis in self.axes)
        try:
            found = np.asarray(_open(self.path, self.array, self.stamp)[where])
        except (*DAMAGE, zlib.error) as error:
            place = ", ".join(f"{axis} {part.start}-{part.stop - 1}" for axis, part in region.items())
            raise InputError(f"{self.path} cannot be read at {place}: {_sentence(error)}") from error
        found = found.astype(found.dtype.newbyteorder("="), copy=False)
        order = [axis for axis in AXES if axis in self.axes]
        found = found.transpose([self.axes.index(axis) for axis in order])
        missing = tuple(position for position, axis in enumerate(AXES) if axis not in self.axes)
        return np.expand_dims(found, missing)


def is_volume(path: Path) -> bool:
    """Say whether `path` is of a kind that is only read a region at a time: anything but one TIFF file."""
    return path.is_dir() or path.suffix in {".zarr", ".npy", *_HDF5} or any(p.suffix in _HDF5 for p in path.parents)


def open_volume(
    path: Path, *, axes: str | None, usual_axes: str, voxel_size: Mapping[str, float], level: int | None,
    allow_missing: bool = False,
) -> Volume:  # fmt: skip
    """Return the volume in `path` without reading its pixels.

    `axes` are the file's, by default those that it states, or else `usual_axes`, those of training, where they fit. Of
    several resolution levels `level` is taken, or the one whose pixels are nearest to `voxel_size` (micrometres for
    each axis). Chunks that are missing in an OME-Zarr hold its fill value for `allow_missing`.

    Raises `InputError` for a file that is missing, damaged or of another kind, for axes or a level that do not fit, for
    colours that the axes have no c for, and for missing chunks.
    """
    if axes is not None:
        check_axes(axes)
    if not path.exists() and not any(parent.is_file() for parent in path.parents):
        raise InputError(f"{path} does not exist")
    if is_zarr(path):
        return _open_zarr(path, axes, usual_axes, voxel_size, level, allow_missing)
    if level:
        raise InputError(f"level is {level}; {path} has one resolution level, 0")
    inner = ""
    if any(part.suffix in _HDF5 for part in (path, *path.parents)):
        path, inner = _find_dataset(path)
    said, sizes = "", dict[str, float]()
    if path.is_dir():
        said = f"z{_state_tiff(_planes(path)[0])[0]}"
    elif path.suffix not in {".npy", *_HDF5}:
        said, sizes = _state_tiff(path)
    stamp = path.stat().st_mtime_ns
    try:
        array = _open(path, inner, stamp)
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {_sentence(error)}") from error
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    axes = axes or fitting_axes(path, shape, usual_axes, said)
    check_stated(path, axes, said)
    check_array(path, shape, dtype, axes)
    spacing = tuple(Spacing(sizes.get(a, 1.0), 0.0, "micrometer" if a in sizes else None) for a in axes)
    return Volume(path.absolute(), inner, axes, shape, dtype.str, spacing, stamp)


def _open_zarr(
    path: Path, axes: str | None, usual_axes: str, voxel_size: Mapping[str, float], level: int | None,
    allow_missing: bool,
) -> Volume:  # fmt: skip
    levels = read_levels(path)
    chosen = levels[choose_level(path, levels, voxel_size, level)]
    axes = axes or chosen.axes or fitting_axes(path, chosen.shape, usual_axes)
    stamp = path.stat().st_mtime_ns
    array = _open(path, chosen.path, stamp)
    check_axes(axes)
    check_array(path, chosen.shape, array.dtype, axes)
    if not allow_missing:
        refuse_missing_chunks(path, chosen.path, array)
    spacing = chosen.spacing or tuple(Spacing() for _ in axes)
    return Volume(path.absolute(), chosen.path, axes, chosen.shape, array.dtype.str, spacing, stamp)


@lru_cache(maxsize=2)
def _open(path: Path, inner: str, stamp: int) -> Any:
    """Return an array-like with `shape`, `dtype` and slices; the process keeps it open."""
    if is_zarr(path):
        return zarr.open_array(store=str(path), path=inner, mode="r")
    if inner:
        return h5py.File(path, "r")[inner]
    if path.is_dir():
        return zarr.open_array(tifffile.TiffSequence(_planes(path)).aszarr(), mode="r")  # opens a plane when it is read
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    tiff = tifffile.TiffFile(path)
    array = zarr.open_array(tiff.series[0].aszarr(level=0), mode="r")
    weakref.finalize(array, tiff.close)  # when no thread reads it any more
    return array


def _planes(folder: Path) -> list[Path]:
    """Return the TIFF files of a folder in the order of their names, numbers by their value."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in _TIFF and not path.name.startswith(".")]
    if not found:
        raise InputError(f"{folder} is a folder without TIFF files, and no OME-Zarr")
    return [Path(name) for name in tifffile.natural_sorted(map(str, found))]


def _state_tiff(path: Path) -> tuple[str, dict[str, float]]:
    """Return the axes that a TIFF file states and its micrometres per voxel; looks at its first and last page."""
    with reading_tiff(path) as tiff:
        if len(tiff.series) > 1:
            raise InputError(f"{path} holds {len(tiff.series)} images; give --out a folder, or split the file")
        first = tiff.series[0]
        pages = [page for page in (first.pages[0], first.pages[-1]) if page is not None]
        end = max(o + n for page in pages for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
        if end > path.stat().st_size:
            raise InputError(f"{path} is damaged: it ends before its last plane")
        return axes_in(first), tiff_voxel_size(tiff)


def _find_dataset(path: Path) -> tuple[Path, str]:
    """Return file and dataset of `volume.h5/dataset`, or of `volume.h5` where there is only one."""
    file = next(part for part in (path, *path.parents) if part.suffix in _HDF5)
    if not file.is_file():
        raise InputError(f"{file} does not exist")
    found: list[str] = []

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 2:
            found.append(name)

    try:
        with h5py.File(file, "r") as content:
            content.visititems(note)
    except OSError as error:
        raise InputError(f"{file} is no readable HDF5 file") from error
    wanted = path.relative_to(file).as_posix()
    if wanted == "." and len(found) == 1:
        return file, found[0]
    if wanted not in found:
        raise InputError(f"{file} holds the datasets {', '.join(found) or 'none'}; name one, such as {file}/NAME")
    return file, wanted


def _sentence(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
