"""Looking at a model: which part of the image is seen, its maps, and what of them is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image

# Pixels beyond the border of the view that are mapped too, so that small moves show no gap.
MARGIN = 32
# A map of more pixels would take too long to be called a look.
MOST_PIXELS = 1 << 20


@dataclass(frozen=True)
class View:
    """What a viewer shows of an image layer, in its pixels."""

    shown: tuple[int, ...]  # the axes on the screen, as numbers
    corners: NDArray[np.integer]  # (2, axes), first and last pixel on the screen
    point: tuple[float, ...]  # where the sliders are


@dataclass(frozen=True)
class Seen:
    """The part of an image that is seen."""

    region: Mapping[str, int | slice]
    is_cut: bool = False  # more is seen than is mapped


@dataclass(frozen=True)
class Maps:
    """Maps of a part of the image, one pixel thick along axes with a slider."""

    classes: NDArray[np.integer]
    uncertainty: NDArray[np.floating]
    starts: tuple[int, ...]  # of its first pixel, along the axes of the layers

    def sure(self, limit: float) -> NDArray[np.integer]:
        """Return the classes of pixels whose uncertainty is at most `limit`, 0 elsewhere."""
        if limit >= 1:
            return self.classes
        return np.where(self.uncertainty <= limit, self.classes, 0).astype(self.classes.dtype)


def seen(view: View, shape: Sequence[int], axes: str, *, most: int = MOST_PIXELS) -> Seen:
    """Return the part of an image that a view shows, with a margin; of a very large one the middle.

    Raises `InputError` for a view in 3D, and for one in which nothing of the image is seen.
    """
    if len(view.shown) != 2:
        raise InputError("the maps are of a slice: switch the viewer to 2D (the button with the cube, below left)")
    region: dict[str, int | slice] = {}
    bounds = {}
    for number, (axis, length) in enumerate(zip(axes, shape, strict=True)):
        if number not in view.shown:
            region[axis] = int(np.clip(round(view.point[number]), 0, length - 1))
            continue
        first, last = sorted(view.corners[:, number].tolist())
        if first == last:  # nothing was drawn yet
            first, last = 0, length - 1
        if last < 0 or first >= length:
            raise InputError("the image is not in view: press Home, or the button with the house, and look again")
        bounds[axis] = [max(first - MARGIN, 0), min(last + 1 + MARGIN, length)]
    side = int(most**0.5)
    is_cut = bool(np.prod([float(stop - start) for start, stop in bounds.values()]) > most)
    for axis, (start, stop) in bounds.items():
        if is_cut and stop - start > side:
            middle = (start + stop) // 2
            start, stop = max(middle - side // 2, 0), min(middle + side - side // 2, stop)
        region[axis] = slice(start, stop)
    return Seen({axis: region[axis] for axis in axes}, is_cut)


def look(model: Any, image: Image, axes: str, part: Seen, check: Callable[[], None] = lambda: None) -> Maps:
    """Return what a model makes of a part of an image with these axes; `check` may raise to stop it."""
    from eseg_zoo.inference.network import Predictor
    from eseg_zoo.live.preview import Part, maps_of

    whole = {axis: slice(n, n + 1) if isinstance(n, int) else n for axis, n in part.region.items()}
    found = maps_of(Predictor(model.checkpoint), Part.of(image, whole), ("classes", "uncertainty"), check)
    starts = tuple(whole[axis].start for axis in axes)
    return Maps(found["classes"].transpose(*axes).values, found["uncertainty"].transpose(*axes).values, starts)
