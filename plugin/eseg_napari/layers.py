"""Image layers of napari, made from images that eseg_zoo reads, lazily where they are large."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from eseg_napari.chosen_image import SOURCE, placed_as, split_channels
from eseg_zoo.images.image import Image

# Images up to so many bytes are loaded, which is quicker to scroll; larger ones are read a plane at a time.
LOADED = 256 << 20
COLOURS = ("green", "magenta", "cyan", "yellow", "red", "blue")  # of channels


@dataclass(frozen=True)
class ImageArray:
    """An image as an array that Dask reads by slices, in the order of its axes."""

    image: Image

    @property
    def shape(self) -> tuple[int, ...]:
        """Its lengths."""
        return self.image.shape

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.image.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its pixels."""
        return self.image.dtype

    def __getitem__(self, where: Any) -> Any:
        parts = [slice(*one.indices(n)) for one, n in zip(where, self.image.shape, strict=True)]
        found = self.image.read(dict(zip(self.image.axes, parts, strict=True)))
        kept = [axis for axis in "tczyx" if axis in self.image.axes]
        found = found[tuple(slice(None) if axis in kept else 0 for axis in "tczyx")]
        return found.transpose([kept.index(axis) for axis in self.image.axes])


def pixels_of(image: Image) -> Any:
    """Return the pixels of an image in the order of its axes: in memory, or as a Dask array of its planes."""
    array = ImageArray(image)
    if prod(image.shape) * image.dtype.itemsize <= LOADED:
        return array[tuple(slice(0, n) for n in image.shape)]
    import dask.array

    # Chunks of rows, as uncompressed files have them, would be too many tasks.
    side = {axis: max(1024 // chunk, 1) * chunk for axis, chunk in zip(image.axes, image.chunks, strict=True)}
    chunks = tuple(
        min(side[axis], n) if axis in "yx" else min(chunk, n)
        for axis, n, chunk in zip(image.axes, image.shape, image.chunks, strict=True)
    )
    return dask.array.from_array(array, chunks, name=False)


def placed(image: Image, axes: str) -> dict[str, Any]:
    """Return scale and units of a layer with these axes of an image: micrometres, where they are known."""
    sizes = image.voxel_size
    known = any(axis in sizes for axis in axes)
    found: dict[str, Any] = {"scale": [sizes.get(axis, 1.0) for axis in axes]}
    if known:
        found["units"] = ["micrometer" if axis in sizes else "pixel" for axis in axes]
    return found


def add_image(viewer: Any, image: Image, source: str) -> list[Any]:
    """Add an image to a viewer, and return its layers: one, or one for each channel."""
    axes, pixels = image.axes, pixels_of(image)
    about = {"metadata": {SOURCE: source}, **placed(image, axes.replace("c", ""))}
    short = source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if "c" not in axes:
        return [viewer.add_image(pixels, name=short, multiscale=False, **about)]
    place, count = axes.index("c"), image.sizes["c"]
    names = image.channels or tuple(f"{short} channel {number + 1}" for number in range(count))
    return [
        viewer.add_image(
            pixels[(slice(None),) * place + (number,)],
            name=names[number],
            multiscale=False,
            blending="additive",
            colormap="gray" if count == 1 else COLOURS[number % len(COLOURS)],
            **about,
        )
        for number in range(count)
    ]


def add_channels(viewer: Any, layer: Any, axes: str) -> list[Any]:
    """Add a layer for each channel of a layer whose axes have a c, hide that, and return the new ones."""
    kept = placed_as(layer, leaving_out=axes.index("c"))
    source = getattr(layer.source, "path", None)
    about = {SOURCE: layer.metadata.get(SOURCE) or str(source or "")}
    channels = split_channels(layer, axes)
    added = [
        viewer.add_image(
            data, name=f"{layer.name} channel {number}", blending="additive", multiscale=False, metadata=about,
            colormap="gray" if len(channels) == 1 else COLOURS[(number - 1) % len(COLOURS)], **kept,
        )
        for number, data in enumerate(channels, start=1)
    ]  # fmt: skip
    layer.visible = False
    return added
