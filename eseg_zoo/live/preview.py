"""Maps of a part of an image, from a model that is still being trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.image import Image
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import predict_window, tile_size, tiles_of
from eseg_zoo.metrics import entropy
from eseg_zoo.patches.sections import Section, Window

MAPS = ("classes", "probabilities", "uncertainty")
Region = Mapping[str, int | slice]
"""A part of an image: pixels along some of t, z, y and x, one by its number, several by a slice; of others all."""


@dataclass(frozen=True)
class Part:
    """A part of an image, checked: where it begins and ends along each axis."""

    image: Image
    windows: dict[str, slice]  # along t, z, y and x
    axes: str  # of the maps: those of the image but for those of which one pixel was asked

    @classmethod
    def of(cls, image: Image, region: Region) -> Part:
        """Check a region; raises `InputError` for an axis or pixels that the image does not have."""
        there = [axis for axis in "tzyx" if axis in image.axes]
        windows = {axis: slice(0, image.sizes[axis]) for axis in "tzyx"}
        for axis, wanted in region.items():
            if axis not in there:
                raise InputError(f"the region has the axis {shown(axis)}; {image.name} has {', '.join(there)}")
            windows[axis] = _window(image, axis, wanted)
        single = {axis for axis, wanted in region.items() if not isinstance(wanted, slice)}
        return cls(image, windows, "".join(axis for axis in there if axis not in single))


def _window(image: Image, axis: str, wanted: int | slice) -> slice:
    length = image.sizes[axis]
    if isinstance(wanted, slice):
        start, stop, step = wanted.start or 0, length if wanted.stop is None else wanted.stop, wanted.step or 1
    else:
        start, stop, step = wanted, wanted + 1, 1
    if not (0 <= start < stop <= length and step == 1):
        raise InputError(f"the region has {axis} {shown(wanted)}; {image.name} has {axis} 0 to {length - 1}")
    return slice(int(start), int(stop))


def maps_of(
    predictor: Predictor, part: Part, what: Collection[str], check: Callable[[], None] = lambda: None
) -> xr.Dataset:
    """Return the maps that `what` names, `MAPS` or some of them, of a part of an image; coordinates are its pixels.

    They are what the model's prediction of the whole image has there, to rounding. `check` is called before each tile,
    and may raise to stop.
    """
    unknown = set(what) - set(MAPS)
    if unknown:
        raise InputError(f"what is {shown(sorted(unknown)[0])}; it must be some of {', '.join(MAPS)}")
    shape = [part.windows[axis].stop - part.windows[axis].start for axis in "tzyx"]
    classes = predictor.checkpoint.classes
    found = np.empty((len(classes), *shape), np.float32)
    for place, section, window in _sections(part, predictor.checkpoint.dims):
        found[(slice(None), *place)] = _predict(predictor, section, window, check)
    return _dataset(found, part, predictor, what)


def _sections(part: Part, dims: int) -> list[tuple[tuple[int | slice, ...], Section, Window]]:
    """Return what of each section is asked for: where it lies in the maps, the section, and the window in it."""
    t, z = part.windows["t"], part.windows["z"]
    plane = part.windows["y"], part.windows["x"]
    if dims == 3:
        return [((i, slice(None)), Section(part.image, at, None), (z, *plane)) for i, at in enumerate(_range(t))]
    return [
        ((i, j), Section(part.image, at, depth), plane)
        for (i, at), (j, depth) in product(enumerate(_range(t)), enumerate(_range(z)))
    ]


def _range(part: slice) -> range:
    return range(part.start, part.stop)


def _predict(predictor: Predictor, section: Section, window: Window, check: Callable[[], None]) -> NDArray[np.float32]:
    """Return the probabilities (classes, *window), of tiles that begin on the network's grid."""
    shape = predictor.checkpoint.architecture
    steps = shape.geometry.stride
    starts = [part.start - part.start % step for part, step in zip(window, steps, strict=True)]
    space = [part.stop - start for part, start in zip(window, starts, strict=True)]
    found = np.empty((shape.classes, *space), np.float32)
    for tile in tiles_of(space, tile_size(shape, space)):
        check()
        place = tuple(slice(p.start + s, p.stop + s) for p, s in zip(tile, starts, strict=True))
        found[(slice(None), *tile)] = predict_window(predictor, section, place)
    inside = (slice(part.start - start, None) for part, start in zip(window, starts, strict=True))
    return found[(slice(None), *inside)]


def _dataset(found: NDArray[np.float32], part: Part, predictor: Predictor, what: Collection[str]) -> xr.Dataset:
    """Return the maps of probabilities (classes, t, z, y, x)."""
    classes = predictor.checkpoint.classes
    kept = tuple(axis for axis in "tzyx" if axis in part.axes)
    index = tuple(slice(None) if axis in kept else 0 for axis in "tzyx")
    found = found[(slice(None), *index)]
    values = np.array([one.value for one in classes], np.min_scalar_type(max(one.value for one in classes)))
    maps: dict[str, Any] = {}
    coordinates: dict[str, Any] = {axis: np.arange(part.windows[axis].start, part.windows[axis].stop) for axis in kept}
    if "classes" in what:
        maps["classes"] = (kept, values[found.argmax(0)])
    if "probabilities" in what:
        maps["probabilities"] = (("class", *kept), found)
        coordinates["class"] = [one.name for one in classes]
    if "uncertainty" in what:
        maps["uncertainty"] = (kept, entropy(found))
    return xr.Dataset(maps, coordinates, {"classes": {one.value: one.name for one in classes}})
