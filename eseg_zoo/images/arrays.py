"""Arrays in memory: NumPy, Dask and xarray. They are never copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.found import Found, rows
from eseg_zoo.images.image import AXES, UNITS, Spacing, digest

_NAMES = {"time": "t", "frame": "t", "channel": "c", "channels": "c", "plane": "z", "depth": "z"}
_UNITS = {"nm": "nanometer", "um": "micrometer", "µm": "micrometer", "μm": "micrometer", "mm": "millimeter"}


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An array that the caller has: equal to itself alone."""

    array: Any

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """A Dask array may read files."""
        return (OSError,)

    @property
    def kept(self) -> bool:
        """The caller decides how long an array lives."""
        return False

    @property
    def identity(self) -> str:
        """A digest of the pixels, or of the tasks that make them."""
        if isinstance(self.array, np.ndarray):
            return digest(self.array.dtype.str, self.array.shape, _contents(self.array))
        from dask.base import tokenize

        return str(tokenize(self.array))

    def open(self) -> Any:
        """Return the array itself."""
        return self.array


def open_array(array: Any, name: str) -> Found:
    """Return an array in memory; an xarray says its axes by its dimensions, and its pixel size by `voxel_size`.

    `voxel_size` among its attributes maps z, y, x to micrometres; else evenly spaced coordinates along z, y and x that
    state their `units` give it. Raises `InputError` for what is not an array.
    """
    said, spacing, channels = "", dict[str, Spacing](), tuple[str, ...]()
    if hasattr(array, "dims") and hasattr(array, "coords"):
        said = "".join(_letter(str(dim)) for dim in array.dims)
        spacing = _spacing_of(array, said)
        channels = _channels_of(array, said)
        array = array.data
    if not (hasattr(array, "shape") and hasattr(array, "dtype") and hasattr(array, "__getitem__")):
        raise InputError(f"{name} is of type {type(array).__name__}; an image is a path or an array")
    chunks = getattr(array, "chunksize", None) or rows(tuple(array.shape))
    sure = bool(said) and set(said) <= set(AXES)
    return Found(
        ArraySource(array), tuple(map(int, array.shape)), np.dtype(array.dtype), tuple(map(int, chunks)),
        said if sure else "", sure, spacing, channels,
    )  # fmt: skip


def _letter(dimension: str) -> str:
    lower = dimension.lower()
    return lower if lower in AXES else _NAMES.get(lower, "?")


def _spacing_of(array: Any, said: str) -> dict[str, Spacing]:
    stated = array.attrs.get("voxel_size")
    if isinstance(stated, dict):
        return {a: Spacing(float(stated[a]), 0.0, "micrometer") for a in "zyx" if _is_number(stated.get(a))}
    found = {}
    for axis, dimension in zip(said, array.dims, strict=True):
        if axis in "zyx" and dimension in array.coords and array.sizes[dimension] > 1:
            coordinate = array.coords[dimension]
            unit = str(coordinate.attrs.get("units", coordinate.attrs.get("unit", "")))
            unit = _UNITS.get(unit, unit)
            values = np.asarray(coordinate.values)
            if unit in UNITS and np.issubdtype(values.dtype, np.number) and np.allclose(np.diff(values, 2), 0):
                found[axis] = Spacing(float(values[1] - values[0]), float(values[0]), unit)
    return found


def _channels_of(array: Any, said: str) -> tuple[str, ...]:
    dimension = array.dims[said.index("c")] if "c" in said else None
    return tuple(map(str, array.coords[dimension].values)) if dimension in array.coords else ()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and float(value) > 0


def _contents(array: np.ndarray[Any, Any]) -> str:
    import hashlib

    found = hashlib.sha256()
    for plane in array.reshape(-1, *array.shape[-2:]) if array.flags.c_contiguous else array:
        found.update(np.ascontiguousarray(plane).data)
    return found.hexdigest()
