"""OME-Zarr (OME-NGFF 0.1 to 0.5) and plain Zarr, formats 2 and 3: axes, resolution levels, pixel sizes."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import zarr

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.files import require_unchanged, stamp
from eseg_zoo.images.found import Found, Request
from eseg_zoo.images.image import AXES, Spacing, StoredSource, digest, first_line, is_ours
from eseg_zoo.images.levels import Level, choose_level, require_no_level
from eseg_zoo.images.zarr_absent import refuse_absent

# What zarr and its codecs raise; numcodecs raises RuntimeError. Our own mistakes are told apart by `is_ours`.
DAMAGE = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, ArithmeticError, AssertionError,
    EOFError, struct.error, zlib.error,
)  # fmt: skip

_METADATA = (".zgroup", ".zarray", ".zattrs", "zarr.json", ".zmetadata")


@dataclass(frozen=True)
class ZarrSource(StoredSource):
    """An array in a Zarr folder."""

    path: Path
    array: str  # '' for the folder itself
    stamp: str  # of the metadata
    contents: str  # a digest of the chunks: names, sizes, times

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What zarr and its codecs raise."""
        return DAMAGE

    def open(self) -> Any:
        """Return the Zarr array."""
        require_unchanged(_metadata(self.path, self.array), self.stamp)
        return zarr.open_array(store=str(self.path), path=self.array, mode="r")

    def absent_value(self, where: tuple[slice, ...]) -> np.generic | None:
        """Return the fill value where no chunk of a part is on disk."""
        array, written = _written(self)
        sides = array.shards or array.chunks
        ranges = (range(part.start // side, -(-part.stop // side)) for part, side in zip(where, sides, strict=True))
        encode = array.metadata.encode_chunk_key
        if any(encode(index) in written for index in product(*ranges)):
            return None
        value: np.generic = array.dtype.type(array.fill_value or 0)
        return value


@lru_cache(maxsize=8)
def _written(source: ZarrSource) -> tuple[zarr.Array[Any], frozenset[str]]:
    """Return the array of a source, and the files of its chunks."""
    return source.open(), frozenset(_found_chunks(source.path / source.array))


def is_zarr(path: Path) -> bool:
    """Say whether `path` is the folder of a Zarr array or group."""
    return path.is_dir() and any((path / name).exists() for name in _METADATA[:4])


def open_zarr(path: Path, request: Request) -> Found:
    """Return the resolution level of an OME-Zarr that is asked for, or a plain Zarr array.

    Raises `InputError` for what is not a readable Zarr or not an image, for levels and axes that do not fit, and for
    chunks that are not there (see `zarr_absent`).
    """
    node = open_node(path)
    if isinstance(node, zarr.Array):
        _refuse_pickles(path, node)
        return _open_level_alone(path, request) or _open_plain(path, node, request)
    node, path = _only_image(path, node)
    levels, channels = read_levels(path, node)
    number = choose_level(str(path), levels, request.voxel_size, request.level)
    chosen = levels[number]
    folder = path / chosen.path
    array = _array(path, node, chosen.path)
    coarsest = _array(path, node, levels[-1].path) if len(levels) > number + 1 else None
    contents = _found_chunks(folder)
    if not request.allow_missing:
        refuse_absent(folder, array, contents, coarsest)
    source = ZarrSource(path.absolute(), chosen.path, stamp(_metadata(path, chosen.path)), digest(*contents.items()))
    return Found(
        source,
        array.shape,
        array.dtype,
        array.chunks,
        chosen.axes,
        bool(chosen.axes),
        chosen.spacing,
        channels,
        chosen.path,
    )


def _open_plain(path: Path, array: zarr.Array[Any], request: Request) -> Found:
    require_no_level(str(path), request.level)
    contents = _found_chunks(path)
    if not request.allow_missing:
        refuse_absent(path, array, contents, None)
    source = ZarrSource(path.absolute(), "", stamp(_metadata(path, "")), digest(*contents.items()))
    said = _dimension_names(array)
    return Found(source, array.shape, array.dtype, array.chunks, said, bool(said))


def _open_level_alone(path: Path, request: Request) -> Found | None:
    """Return a level of an OME-Zarr that is named by its own path, with the axes that the OME-Zarr states."""
    if not is_zarr(path.parent):
        return None
    parent = open_node(path.parent)
    if not isinstance(parent, zarr.Group) or not _is_image(parent):
        return None
    levels, _ = read_levels(path.parent, parent)
    numbers = [number for number, level in enumerate(levels) if level.path == path.name]
    if not numbers:
        return None
    require_no_level(str(path), request.level)
    return open_zarr(path.parent, Request(request.axes, request.usual_axes, numbers[0], None, request.allow_missing))


def open_node(path: Path) -> zarr.Array[Any] | zarr.Group:
    """Return the array or group in a folder; raises `InputError` for what is not a readable Zarr."""
    try:
        return zarr.open(store=str(path), mode="r")
    except DAMAGE as error:
        if is_ours(error):
            raise
        raise InputError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    said = first_line(error)
    return f"{path} uses a codec that is not installed: {said}" if "codec" in said.lower() else (
        f"{path} is not a readable Zarr: {said}"
    )  # fmt: skip


def _array(path: Path, group: zarr.Group, name: str) -> zarr.Array[Any]:
    try:
        array = group.get(name)
    except DAMAGE as error:
        if is_ours(error):
            raise
        raise InputError(_unreadable(path / name, error)) from error
    if isinstance(array, zarr.Array):
        _refuse_pickles(path / name, array)
    else:
        raise InputError(f"{path} states the resolution level {name}, but it is not there")
    return array


def _refuse_pickles(path: Path, array: zarr.Array[Any]) -> None:
    """Raise `InputError` for an array with a codec that unpickles, which may run any code."""
    for codec in (*array.filters, *array.compressors):
        name = str(getattr(codec, "codec_id", None) or getattr(codec, "codec_name", None) or type(codec).__name__)
        if "pickle" in name.lower():
            raise InputError(f"{path} has the codec {shown(name)}, which may run code; it is never used")


def attributes_of(group: zarr.Group) -> Mapping[str, Any]:
    """Return the attributes that OME-NGFF has, which 0.5 keeps under `ome`."""
    attributes: Any = group.attrs.asdict()
    found = attributes.get("ome", attributes)
    return found if isinstance(found, Mapping) else {}


def _is_image(group: zarr.Group) -> bool:
    return bool(attributes_of(group).get("multiscales"))


def _only_image(path: Path, group: zarr.Group) -> tuple[zarr.Group, Path]:
    """Return the group of the image: `group` itself, or the only image in it, as Bio-Formats nests them."""
    if _is_image(group):
        return group, path
    members = sorted(name for name, _ in group.members())
    images = [name for name in members if isinstance(part := group.get(name), zarr.Group) and _is_image(part)]
    if len(images) == 1:
        inner = group[images[0]]
        assert isinstance(inner, zarr.Group)
        return inner, path / images[0]
    if images:
        raise InputError(f"{path} holds the images {', '.join(images)}; name one, such as {path / images[0]}")
    hint = f"; it holds {', '.join(members)}" if members else ""
    raise InputError(f"{path} is a Zarr group, but its metadata describes no OME-NGFF image{hint}")


def read_levels(path: Path, group: zarr.Group) -> tuple[list[Level], tuple[str, ...]]:
    """Return the resolution levels of an OME-Zarr, finest first, and the names of its channels.

    Raises `InputError` for metadata that describe no image, for axes that are not among t, c, z, y, x, and for levels
    that are stated but not there.
    """
    attributes = attributes_of(group)
    try:
        image = attributes["multiscales"][0]
        axes = _axes(path, image.get("axes"))
        levels = [_level(path, group, image, dataset, axes) for dataset in image["datasets"]]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is an OME-Zarr whose metadata cannot be understood: {first_line(error)}") from error
    if not levels:
        raise InputError(f"{path} is an OME-Zarr without a resolution level")
    return levels, _channels(attributes)


def _channels(attributes: Any) -> tuple[str, ...]:
    try:
        return tuple(str(channel["label"]) for channel in attributes["omero"]["channels"])
    except (LookupError, TypeError):
        return ()


def _axes(path: Path, stated: Any) -> list[tuple[str, str | None]]:
    """Return name and unit of each axis; OME-NGFF 0.1 and 0.2 state none and have t, c, z, y, x.

    None are returned where they cannot be understood: then they are asked for.
    """
    if stated is None:
        return [(axis, None) for axis in AXES]
    try:
        axes = [(one, None) if isinstance(one, str) else (str(one["name"]), _unit(one.get("unit"))) for one in stated]
    except (LookupError, TypeError, AttributeError):
        return []
    names = [name for name, _ in axes]
    if not set(names) <= set(AXES) or len(set(names)) < len(names):
        raise InputError(f"{path} has the axes {shown(', '.join(names))}; each must be one of {', '.join(AXES)}")
    return axes


def _unit(stated: object) -> str | None:
    return stated if isinstance(stated, str) else None


def _level(path: Path, group: zarr.Group, image: Any, dataset: Any, axes: Sequence[tuple[str, str | None]]) -> Level:
    inner = PurePosixPath(dataset["path"])
    if inner.is_absolute() or ".." in inner.parts:
        raise InputError(f"{path} has a resolution level outside of itself, {shown(dataset['path'])}")
    array = _array(path, group, dataset["path"])
    names = "".join(name for name, _ in axes)
    if not axes:
        return Level(dataset["path"], array.shape)
    if array.ndim != len(axes):
        raise InputError(f"{path}/{dataset['path']} has shape {array.shape}, but the stated axes are {names}")
    return Level(dataset["path"], array.shape, names, _spacing(image, dataset, axes))


def _spacing(image: Any, dataset: Any, axes: Sequence[tuple[str, str | None]]) -> Mapping[str, Spacing]:
    """Return scale and translation of each axis; pixels stay readable where they cannot be understood."""
    scale, translation = np.ones(len(axes)), np.zeros(len(axes))
    try:
        for one in [*dataset.get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]:
            if one["type"] == "scale":
                factors = np.asarray(one["scale"], dtype=float).reshape(len(axes))
                scale, translation = scale * factors, translation * factors
            elif one["type"] == "translation":
                translation = translation + np.asarray(one["translation"], dtype=float).reshape(len(axes))
    except (LookupError, TypeError, ValueError, AttributeError):
        return {}
    if not (np.isfinite(scale).all() and np.isfinite(translation).all()):
        return {}
    return {a: Spacing(float(s), float(t), u) for s, t, (a, u) in zip(scale, translation, axes, strict=True)}


def _dimension_names(array: zarr.Array[Any]) -> str:
    """Return the axes by the names of the dimensions (Zarr 3, or as xarray writes them), if all are of `AXES`."""
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS", ())
    said = "".join(str(name).lower() for name in names) if isinstance(names, (list, tuple)) else ""
    return said if len(said) == array.ndim and set(said) <= set(AXES) else ""


def _metadata(path: Path, array: str) -> list[Path]:
    """Return the metadata files of a group and of an array in it."""
    folders = [path, path / array] if array else [path]
    return [folder / name for folder in folders for name in _METADATA if (folder / name).is_file()]


def _found_chunks(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of each file in the folder of an array, by its path."""
    found, start = {}, len(str(folder)) + 1
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            stat = os.stat(path)
            found[path[start:].replace(os.sep, "/")] = (stat.st_size, stat.st_mtime_ns)
    return dict(sorted(found.items()))
