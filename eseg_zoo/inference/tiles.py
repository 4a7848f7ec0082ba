"""The tiles of a prediction: how large they are, and what the network says of one, whatever the others are.

Every tile begins on the network's grid and is read with the margin around it, so the result is that of the whole image
to rounding, about 1e-6. The size follows from the network and the image, not from the machine unless its memory is too
small: the same image in another file, or on another computer, is cut the same way and gives the same map to the last
bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.inference.network import Predictor
from eseg_zoo.memory import free_memory
from eseg_zoo.model.architecture import Architecture, Geometry
from eseg_zoo.patches.sections import Section

Window = tuple[slice, ...]

# Sides of a plane's tile: the smaller one where there would be fewer tiles than FEWEST, which leaves cores idle.
PLANE_SIDES, FEWEST = (1024, 512), 8
# Sides of a volume's tile that are tried: the one with the smallest share of margin whose pass takes so many bytes.
VOLUME_DEPTHS, VOLUME_SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192), (64, 96, 128, 160, 192, 256, 320, 384, 512)
VOLUME_BYTES = 2 << 30
# Pixels of a section that is given whole: its values for one class fill 1 GiB.
LARGEST_WHOLE = 2**28
# The passes that run side by side take this share of the free memory together.
SHARE = 0.5


def pass_bytes(shape: Architecture, tile: Sequence[int]) -> int:
    """Return about how many bytes a forward pass over a tile of this size (its margin comes to it) takes.

    The peak is the head at full resolution: four tensors of twice the stem's width, beside the logits, and before it
    the stem with its margin. Both are written down with room for the convolutions' own copies. Measured for widths 24
    to 64 in 2D and 3D, the truth was 0.6 to 1.4 times as much.
    """
    geometry = shape.geometry
    sides = whole_cells(tile, geometry)
    padded = prod(n + 2 * margin for n, margin in zip(sides, geometry.margin, strict=True))
    stem = shape.stem_filters
    return 4 * (padded * (4 * stem + 2 * shape.channels) + prod(sides) * (8 * stem + 3 * shape.classes))


def whole_cells(sides: Sequence[int], geometry: Geometry) -> tuple[int, ...]:
    """Return sides in pixels, rounded up to whole cells of the network's coarsest level."""
    return tuple(-(-side // step) * step for side, step in zip(sides, geometry.stride, strict=True))


def tile_size(
    shape: Architecture | None, space: Sequence[int], count: int = 1, *, side: int | None = None
) -> tuple[int, ...]:
    """Return the size of the tiles, whole cells, for `count` sections of this size, (z,) y, x.

    `side` is what a person wants; a tile is no larger than a section needs, and without `side` no larger than fits the
    memory, unless that has no room for a cell. A network whose shape is not known is given the whole section: then
    `InputError` is raised for one that is too large, and for a `side`.
    """
    if shape is None:
        return _whole(space, side)

    def of_section(wanted: Sequence[int]) -> tuple[int, ...]:
        return whole_cells([min(n, length) for n, length in zip(wanted, space, strict=True)], shape.geometry)

    if side is not None:
        return of_section([side] * len(space))
    if len(space) == 2:
        large, small = PLANE_SIDES
        tile = of_section([large] * 2 if count * prod(-(-n // large) for n in space) >= FEWEST else [small] * 2)
    else:
        tile = of_section(_volume_tile(shape, space))
    while pass_bytes(shape, tile) > SHARE * free_memory() and tile != shape.geometry.stride:
        tile = of_section([max(n // 2, step) for n, step in zip(tile, shape.geometry.stride, strict=True)])
    return tile


def _whole(space: Sequence[int], side: int | None) -> tuple[int, ...]:
    if side is not None:
        raise InputError("a package of other software cuts its own tiles; leave out --tile")
    if prod(space) > LARGEST_WHOLE:
        raise InputError(
            f"a section of {' x '.join(map(str, space))} is too large for a package of other software, which is given "
            f"whole planes or volumes of at most {LARGEST_WHOLE} pixels; cut the image"
        )
    return tuple(space)


def _volume_tile(shape: Architecture, space: Sequence[int]) -> tuple[int, ...]:
    """Return the tile with the smallest share of margin among those that fit into `VOLUME_BYTES`; else the smallest."""
    geometry = shape.geometry

    def work(tile: tuple[int, ...]) -> tuple[float, int]:
        padded = [n + 2 * margin for n, margin in zip(tile, geometry.margin, strict=True)]
        return prod(padded) * prod(-(-n // side) for n, side in zip(space, tile, strict=True)), prod(tile)

    tried = {
        whole_cells([min(depth, space[0]), min(side, space[1]), min(side, space[2])], geometry)
        for depth, side in product(VOLUME_DEPTHS, VOLUME_SIDES)
    }
    fitting = [tile for tile in sorted(tried) if pass_bytes(shape, tile) <= VOLUME_BYTES]
    return min(fitting or [min(tried)], key=work)


def tiles_of(space: Sequence[int], size: Sequence[int]) -> Iterator[Window]:
    """Yield the windows of this size that cover a section, cut at its end."""
    axes = [[slice(i, min(i + side, n)) for i in range(0, n, side)] for n, side in zip(space, size, strict=True)]
    yield from product(*axes)


def passes_at_once(shape: Architecture | None, tile: Sequence[int], device: torch.device) -> int:
    """Return how many passes over tiles of this size to run side by side: on a CPU one a core, if they fit."""
    if device.type != "cpu" or shape is None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(cores, int(SHARE * free_memory()) // pass_bytes(shape, tile)), 1)


def read_padded(section: Section, window: Window, geometry: Geometry) -> NDArray[np.float32]:
    """Return the pixels (c, *space) of the whole cells that cover a window, with their margin.

    What lies outside the section is its reflection. Raises `InputError` for pixels in the window or its margin that
    are NaN, infinite, or beyond float32, and where the file cannot be read.
    """
    wanted = []
    for part, margin, step in zip(window, geometry.margin, geometry.stride, strict=True):
        cells = -(-(part.stop - part.start) // step) * step
        wanted.append(slice(part.start - margin, part.start + cells + margin))
    padded = section.read(wanted)
    with np.errstate(over="ignore"):
        pixels = np.array(padded, np.float32, order="C")
    if not np.isfinite(pixels).all():
        place = np.argwhere(~np.isfinite(pixels))[0]
        found = float(padded[tuple(place)])
        why = f"a pixel of {found:.3g}, beyond float32," if np.isfinite(found) else "NaN or infinite pixels, the first"
        raise InputError(f"{section.image.name} has {why} at {_tell_pixel(section, wanted, place[1:])}")
    return pixels


def _tell_pixel(section: Section, read: Sequence[slice], offsets: Sequence[int]) -> str:
    """Return where in its image a pixel lies that was read at these offsets; outside the section it is a reflection."""
    inside = []
    for part, offset, length in zip(read, offsets, section.space, strict=True):
        index = (part.start + int(offset)) % (2 * length)
        inside.append(min(index, 2 * length - 1 - index))
    region = section.region([slice(index, index + 1) for index in inside])
    return ", ".join(f"{axis}={region[axis].start}" for axis in "tzyx")


def require_probabilities(
    found: NDArray[np.float32], padded: NDArray[np.float32], section: Section, window: Window
) -> None:
    """Raise `InputError` where a network makes NaN of the pixels (c, *space) that it was given: they are too large."""
    if not np.isfinite(found).all():
        where = ", ".join(f"{axis} {part.start}-{part.stop - 1}" for axis, part in section.region(window).items())
        raise InputError(
            f"{section.image.name} has pixels from {padded.min():.3g} to {padded.max():.3g}, of which the model makes "
            f"no probabilities, in {where}"
        )


def predict_window(predictor: Predictor, section: Section, window: Window) -> NDArray[np.float32]:
    """Return class probabilities (classes, *window) of a window that begins on the network's grid."""
    padded = read_padded(section, window, predictor.checkpoint.geometry)
    found = crop_to(predictor.probabilities(padded), window)
    require_probabilities(found, padded, section, window)
    return found


def logits_of_window(predictor: Predictor, section: Section, window: Window) -> NDArray[np.float32]:
    """Return class-balanced logits (classes, *window) of a window that begins on the network's grid."""
    return crop_to(predictor.logits(read_padded(section, window, predictor.checkpoint.geometry)), window)


def crop_to(cells: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Return what of whole cells (classes, *space) lies in the window."""
    return cells[(slice(None), *(slice(0, part.stop - part.start) for part in window))]


def predict_section(
    predictor: Predictor, section: Section, *, window: Window | None = None, tile: int | None = None
) -> NDArray[np.float32]:
    """Return class probabilities (classes, *space) of a section, or of a window that begins on the network's grid.

    `tile` is the side of its tiles in pixels.
    """
    checkpoint = predictor.checkpoint
    window = section.whole if window is None else window
    space = [part.stop - part.start for part in window]
    size = tile_size(checkpoint.architecture, space, side=tile)
    result = np.empty((len(checkpoint.classes), *space), np.float32)
    for inside in tiles_of(space, size):
        moved = tuple(slice(p.start + i.start, p.start + i.stop) for p, i in zip(window, inside, strict=True))
        result[(slice(None), *inside)] = predict_window(predictor, section, moved)
    return result
