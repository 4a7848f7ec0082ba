"""What an OME-Zarr says of itself: axes, resolution levels, pixel sizes (OME-NGFF 0.1 to 0.5, Zarr formats 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from eseg_zoo.data.volumes import AXES
from eseg_zoo.errors import InputError

# Micrometres of the length units that OME-NGFF names (from UDUNITS-2), as far as a microscope sees.
UNITS = {"angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3}

NEAR = 1.5  # levels differ by a factor of 2 or more, so that at most one is this near to the pixels of training


@dataclass(frozen=True)
class Spacing:
    """Where the pixels of one axis are: at `translation + scale * index`, in `unit` (None: not stated)."""

    scale: float = 1.0
    translation: float = 0.0
    unit: str | None = None

    @property
    def micrometres(self) -> float | None:
        """Micrometres per pixel, where a unit of length is stated."""
        return self.scale * UNITS[self.unit] if self.unit in UNITS else None


@dataclass(frozen=True)
class Level:
    """One resolution of an image."""

    path: str  # of its array inside the OME-Zarr
    shape: tuple[int, ...]
    axes: str  # '' when nothing is stated
    spacing: tuple[Spacing, ...]  # of each axis; empty when nothing is stated

    def voxel_size(self) -> dict[str, float]:
        """Return micrometres per voxel for the spatial axes that state them; a size of 0 or less states none."""
        stated = {axis: spacing.micrometres for axis, spacing in zip(self.axes, self.spacing, strict=True)}
        return {axis: size for axis, size in stated.items() if axis in "zyx" and size is not None and 0 < size < inf}


def is_zarr(path: Path) -> bool:
    """Say whether `path` is the folder of a Zarr array or group."""
    return path.is_dir() and any((path / name).exists() for name in (".zgroup", ".zarray", ".zattrs", "zarr.json"))


def read_levels(path: Path) -> list[Level]:
    """Return the resolution levels of the OME-Zarr in `path`, finest first; a plain Zarr array is one level.

    Raises `InputError` for a group that is no image, for axes that are not among t, c, z, y, x, and for levels that
    are stated but not there.
    """
    try:
        node = zarr.open(store=str(path), mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no readable Zarr: {error}") from error
    if isinstance(node, zarr.Array):
        return [Level("", node.shape, "", ())]
    attributes: Any = node.attrs.asdict()
    attributes = attributes.get("ome", attributes)
    try:
        image = attributes["multiscales"][0]
        axes = _axes(path, image.get("axes"))
        return [_level(path, node, image, dataset, axes) for dataset in image["datasets"]]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        inner = sorted(name for name, _ in node.members())
        hint = f"; it holds {', '.join(inner)}" if inner else ""
        raise InputError(f"{path} is a Zarr group, but its metadata describes no OME-NGFF image{hint}") from error


def _axes(path: Path, stated: Any) -> list[tuple[str, str | None]]:
    """Return name and unit of each axis; OME-NGFF 0.1 and 0.2 state none and have t, c, z, y, x."""
    if stated is None:
        return [(axis, None) for axis in AXES]
    axes = [(one, None) if isinstance(one, str) else (one["name"], one.get("unit")) for one in stated]
    names = [name for name, _ in axes]
    if not set(names) <= set(AXES) or len(set(names)) < len(names):
        raise InputError(f"{path} has the axes {', '.join(names)}; each must be one of {', '.join(AXES)}")
    return axes


def _level(path: Path, group: zarr.Group, image: Any, dataset: Any, axes: Sequence[tuple[str, str | None]]) -> Level:
    array = group.get(dataset["path"])
    if not isinstance(array, zarr.Array):
        raise InputError(f"{path} states the resolution level {dataset['path']}, but it is not there")
    names = "".join(name for name, _ in axes)
    if array.ndim != len(axes):
        raise InputError(f"{path}/{dataset['path']} has shape {array.shape}, but the stated axes are {names}")
    scale, translation = np.ones(array.ndim), np.zeros(array.ndim)
    transformations = [*dataset.get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]
    for one in transformations:
        if one["type"] == "scale":
            scale, translation = scale * one["scale"], translation * one["scale"]
        elif one["type"] == "translation":
            translation = translation + one["translation"]
    spacing = tuple(Spacing(float(s), float(t), u) for s, t, (_, u) in zip(scale, translation, axes, strict=True))
    return Level(dataset["path"], array.shape, names, spacing)


def choose_level(path: Path, levels: Sequence[Level], wanted: Mapping[str, float], given: int | None) -> int:
    """Return the number of the level to read: `given`, or the one whose pixels are nearest to `wanted` (micrometres).

    Raises `InputError` that lists the levels when `given` is none of them, and when the pixel sizes do not tell.
    """
    listed = ", ".join(f"{number}: {_tell_size(level)}" for number, level in enumerate(levels))
    if given is not None:
        if given >= len(levels):
            raise InputError(f"level is {given}; {path} has the levels {listed}")
        return given
    if len(levels) == 1:
        return 0
    ask = f"{path} has the levels {listed}; choose one with --level"
    distances = [_distance(level.voxel_size(), wanted) for level in levels]
    known = [distance for distance in distances if distance is not None]
    if len(known) < len(levels):
        raise InputError(f"{ask}: the pixel sizes of the image or of the model's training are not known")
    if min(known) > log(NEAR):
        trained = " x ".join(f"{wanted[axis]:.4g}" for axis in "yx")
        raise InputError(f"{ask}: none is near the {trained} µm (y, x) that the model was trained with")
    return known.index(min(known))


def _distance(found: Mapping[str, float], wanted: Mapping[str, float]) -> float | None:
    """Return the larger of the logarithms of the size ratios along y and x; None where one is not known."""
    if not all(axis in sizes for axis in "yx" for sizes in (found, wanted)):
        return None
    return max(abs(log(found[axis] / wanted[axis])) for axis in "yx")


def _tell_size(level: Level) -> str:
    shape, sizes = " x ".join(map(str, level.shape)), level.voxel_size()
    pixels = " x ".join(f"{sizes[axis]:.4g}" for axis in "zyx" if axis in sizes)
    return f"{shape} pixels" + (f" of {pixels} µm" if pixels else "")


def refuse_missing_chunks(path: Path, level: str, array: zarr.Array[Any]) -> None:
    """Raise `InputError` when chunks of the array are not on disk: a half-copied volume reads as zeros."""
    outer = array.shards or array.chunks
    grid = [-(-length // chunk) for length, chunk in zip(array.shape, outer, strict=True)]
    folder = path / level
    encode = array.metadata.encode_chunk_key
    missing = [key for index in np.ndindex(*grid) if not (folder / (key := encode(index))).exists()]
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of its {int(np.prod(grid))} chunks, the first {missing[0]}; copy it again, "
            f"or give --missing-chunks if its writer left out chunks that hold only {array.fill_value}"
        )
