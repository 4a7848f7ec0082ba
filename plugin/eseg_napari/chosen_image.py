"""The image that is chosen in the window: one layer, or one layer for each channel, as eseg_zoo reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.arrays import ArraySource
from eseg_zoo.images.axes import pixel_type
from eseg_zoo.images.found import rows
from eseg_zoo.images.image import AXES, UNITS, Image, Spacing, digest

# What the axes of a layer may be, the likeliest first.
AXES_OF = {
    2: ("yx",),
    3: ("zyx", "tyx", "cyx", "yxc"),
    4: ("tzyx", "zcyx", "czyx", "tcyx", "ctyx"),
    5: ("tczyx", "tzcyx", "ctzyx"),
}
SOURCE = "eseg_zoo source"  # key in a layer's metadata: where its pixels were opened from


@dataclass(frozen=True)
class ChosenImage:
    """The image of a session, and how its layers lie in the viewer."""

    image: Image  # with a c where there are several layers
    axes: str  # of the layers and of what is painted: the image's without c
    names: tuple[str, ...]  # of the layers
    files: tuple[str, ...]  # that the layers were opened from, as far as it is known
    placed: dict[str, Any]  # scale, translate, affine and units of the layers, as napari takes them

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along `axes`."""
        return tuple(self.image.sizes[axis] for axis in self.axes)

    @property
    def name(self) -> str:
        """What to call it."""
        return self.names[0] if len(self.names) == 1 else ", ".join(self.names)

    @property
    def bytes(self) -> int:
        """How large all pixels are."""
        return prod(self.image.shape) * self.image.dtype.itemsize


@dataclass(frozen=True, eq=False)
class LayersSource:
    """The arrays of layers, each a channel, as the source of an image's pixels; of one layer there is no channel axis.

    Nothing is read or copied before a region is asked for.
    """

    arrays: tuple[Any, ...]

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Arrays may read files."""
        return (OSError,)

    @property
    def kept(self) -> bool:
        """Layers belong to the viewer."""
        return False

    @property
    def identity(self) -> str:
        """A digest of the pixels, or of the tasks that make them."""
        return digest(*(ArraySource(array).identity for array in self.arrays))

    def open(self) -> Any:
        """Return an array that is read by slices."""
        return self

    def __getitem__(self, where: tuple[slice, ...]) -> Any:
        if len(self.arrays) == 1:
            return np.asarray(self.arrays[0][where])
        return np.stack([np.asarray(array[where[1:]]) for array in self.arrays[where[0]]])


def axes_of(layer: Any) -> tuple[str, ...]:
    """Return what the axes of an image layer may be, those that it names first; none for a colour picture."""
    if layer.rgb:
        return ()
    usual = AXES_OF.get(layer.ndim, ())
    named = "".join(str(label).lower() for label in getattr(layer, "axis_labels", ()))
    known = len(named) == layer.ndim and len(set(named)) == len(named) and {"y", "x"} <= set(named) <= set(AXES)
    return tuple(dict.fromkeys([*([named] if known else []), *usual]))


def choose(layers: Sequence[Any], axes: str) -> ChosenImage:
    """Return image layers of napari, with these axes each, as one image; several are its channels.

    `axes` must have no c: see `split_channels`. Raises `InputError`, with what to do next, for no layer, colour
    pictures, layers of other sizes or places, and pixels that are no numbers.
    """
    if not layers:
        raise InputError("no image is chosen: open one, and check its box in the list")
    first = layers[0]
    for layer in layers:
        _require_fit(layer, first, axes)
    arrays = tuple(finest(layer) for layer in layers)
    names = tuple(str(layer.name) for layer in layers)
    sizes = _voxel_size(first, axes)
    spacing = [Spacing(sizes[a], 0.0, "micrometer") if a in sizes else Spacing() for a in axes]
    shape, chunks = tuple(map(int, arrays[0].shape)), _chunks(arrays[0])
    dtype = np.result_type(*(pixel_type(name, array.dtype) for name, array in zip(names, arrays, strict=True)))
    channels: tuple[str, ...] = ()
    letters = axes
    if len(arrays) > 1:
        letters, shape, chunks = f"c{axes}", (len(arrays), *shape), (1, *chunks)
        spacing, channels = [Spacing(), *spacing], names
    image = Image(
        LayersSource(arrays), ", ".join(names), letters, shape, dtype, chunks, tuple(spacing), channels, letters
    )
    files = tuple(dict.fromkeys(filter(None, map(file_of, layers))))
    return ChosenImage(image, axes, names, files, placed_as(first))


def split_channels(layer: Any, axes: str) -> list[Any]:
    """Return the data of each channel of a layer whose axes have a c; nothing is copied or read."""
    data, place = finest(layer), axes.index("c")
    if not isinstance(data, np.ndarray):
        import dask.array

        data = data if isinstance(data, dask.array.Array) else dask.array.from_array(data, _chunks(data), name=False)
    return [data[(slice(None),) * place + (number,)] for number in range(data.shape[place])]


def finest(layer: Any) -> Any:
    """Return the array of a layer, of a pyramid the one of full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def file_of(layer: Any) -> str:
    """Return where a layer was opened from; '' where that is not known."""
    return str(layer.metadata.get(SOURCE) or getattr(layer.source, "path", None) or "")


def placed_as(layer: Any, *, leaving_out: int | None = None) -> dict[str, Any]:
    """Return how a layer lies in the viewer, as arguments of a new layer that lies there too, maybe less an axis."""
    kept = [axis for axis in range(layer.ndim) if axis != leaving_out]
    units = getattr(layer, "units", None)
    placed: dict[str, Any] = {
        "scale": np.asarray(layer.scale)[kept], "translate": np.asarray(layer.translate)[kept],
    }  # fmt: skip
    matrix = np.asarray(layer.affine.affine_matrix)
    if not np.allclose(matrix, np.eye(layer.ndim + 1)):
        placed["affine"] = matrix[np.ix_([*kept, layer.ndim], [*kept, layer.ndim])]
    if units is not None:
        placed["units"] = tuple(str(units[axis]) for axis in kept)
    return placed


def _require_fit(layer: Any, first: Any, axes: str) -> None:
    if layer.rgb:
        raise InputError(
            f"{layer.name} is a colour picture (RGB): right-click it, choose Split RGB, and check the colours that "
            "show what you look for"
        )
    shape, expected = finest(layer).shape, finest(first).shape
    if tuple(shape) != tuple(expected):
        raise InputError(
            f"{layer.name} has {_tell(shape)} pixels, but {first.name} {_tell(expected)}: checked layers are channels "
            "of one image; uncheck one of them"
        )
    if len(axes) != len(shape) or "c" in axes:
        raise InputError(f"{layer.name} has {len(shape)} axes, which cannot be {axes!r}; choose its axes")
    if not (np.allclose(layer.scale, first.scale) and np.allclose(layer.translate, first.translate)):
        raise InputError(
            f"{layer.name} lies elsewhere in the viewer than {first.name} (its scale or place differs): checked layers "
            "are channels of one image; uncheck one of them"
        )


def _tell(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _voxel_size(layer: Any, axes: str) -> dict[str, float]:
    """Return micrometres per voxel. Layers without a unit of length whose scale is not 1 are in micrometres.

    That is what most readers of napari mean.
    """
    units = [str(unit) for unit in getattr(layer, "units", ())] or [""] * layer.ndim
    scales = [abs(float(scale)) for scale in layer.scale]
    is_scaled = any(scale != 1 for axis, scale in zip(axes, scales, strict=True) if axis in "zyx")
    found = {}
    for axis, unit, scale in zip(axes, units, scales, strict=True):
        if axis in "zyx" and scale > 0 and (unit in UNITS or is_scaled):
            found[axis] = scale * UNITS.get(unit, 1.0)
    return found


def _chunks(array: Any) -> tuple[int, ...]:
    found = getattr(array, "chunksize", None)  # Dask's
    if found is None and not isinstance(array, np.ndarray):
        found = getattr(array, "chunks", None)  # Zarr's and HDF5's
    usable = isinstance(found, tuple) and all(isinstance(length, (int, np.integer)) for length in found)
    return tuple(map(int, found)) if usable and found else rows(tuple(map(int, array.shape)))
