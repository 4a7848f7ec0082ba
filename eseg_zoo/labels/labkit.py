"""What Labkit saves: `.labeling` or `.json` with lists of pixels, or a TIFF with a file `NAME.tif.labels` beside it.

Coordinates are whole pixels, x first, and count from `interval.min`. A pixel may have several labels; the later one in
the file counts, and their number is told. Read in Labkit's sources (October 2024): `LabelingSerializer`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.image import Image, tell
from eseg_zoo.labels.canvas import MOST_CLASSES, Canvas, axes_of, blocks_of_plane
from eseg_zoo.labels.json_file import coordinates, ends_of, hex_colour, read_json
from eseg_zoo.labels.painted import Block, Painted, PaintOptions
from eseg_zoo.paths import TIFF, kind_by_beginning

_SIDECAR = ".labels"


def knows(path: Path) -> bool:
    """Say whether a file is a labeling of Labkit, or a TIFF with label names of Labkit beside it."""
    if path.suffix == _SIDECAR:
        return '"labelSets"' in ends_of(path)
    text = ends_of(path)
    if text:
        return '"interval"' in text and '"labels"' in text
    return _is_tiff(path) and '"labelSets"' in ends_of(_beside(path))


def read(path: Path, options: PaintOptions) -> Painted:
    """Return what was labelled in Labkit; raises `InputError` for a file that cannot be read or has another size."""
    if path.suffix == _SIDECAR:
        path = path.with_suffix("")
    return _read_tiff(path, options) if _is_tiff(path) else _read_json(path, options)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _SIDECAR)


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return kind_by_beginning(file.read(16)) == TIFF
    except (OSError, ValueError):
        return False


def _read_json(path: Path, options: PaintOptions) -> Painted:
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise InputError(
            f"{path} is no labeling of Labkit: its labels are {shown(labels)}, not lists of pixels by name"
        )
    interval, colours = content.get("interval"), content.get("colors")
    canvas = Canvas(path, options)
    with canvas.object("its interval"):
        start, axes = _interval(interval, options)
    for name, pixels in labels.items():
        with canvas.object(f"label {shown(name)}"):
            value = canvas.named(name, hex_colour(colours.get(name)) if isinstance(colours, dict) else None)
            canvas.paint_pixels(*_pixels(pixels, start, axes, value))
    return canvas.finish(objects="pixel")


def _interval(interval: Any, options: PaintOptions) -> tuple[list[int], str]:
    """Return the first pixel (x first) and the axes (x last) of a labeling, which has the size of the image."""
    start, last = (interval.get(key) if isinstance(interval, dict) else None for key in ("min", "max"))
    if not _are_numbers(start) or not _are_numbers(last) or len(start) != len(last):
        raise ValueError(f"it is {shown(interval)}, not min and max of whole numbers")
    axes = axes_of(len(start), options.space)
    sizes = [end - first + 1 for first, end in zip(start, last, strict=True)][::-1]
    expected = [options.space["tzyx".index(axis)] for axis in axes]
    if sizes != expected or any(n > 1 for axis, n in zip("tzyx", options.space, strict=True) if axis not in axes):
        raise ValueError(f"it is {_tell(sizes)} pixels, but the image {_tell(options.space)} (t, z, y, x)")
    return start, axes


def _are_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(isinstance(one, int) for one in value)


def _pixels(pixels: Any, start: list[int], axes: str, value: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pixels (n, 4), t, z, y, x, of a list of coordinates, and the value of each."""
    places = coordinates(pixels, least=len(axes), most=len(axes))
    if not (np.abs(places) < 1 << 40).all():
        raise ValueError("a coordinate is no place of a pixel")
    found = np.zeros((len(places), 4), np.int64)
    found[:, ["tzyx".index(axis) for axis in reversed(axes)]] = np.floor(places) - start
    return found, np.full(len(found), value, np.int64)


def _read_tiff(path: Path, options: PaintOptions) -> Painted:
    """Return the labels in a TIFF, whose values are numbers of sets of names in the file beside it."""
    from eseg_zoo.images.opening import open_image

    beside = _beside(path)
    content = read_json(beside)
    sets = content.get("labelSets") if isinstance(content, dict) else None
    if not isinstance(sets, list) or not all(
        isinstance(one, list) and all(isinstance(name, str) for name in one) for one in sets
    ):
        raise InputError(f"{beside}: labelSets is {shown(sets)}, not a list of lists of names")
    canvas = Canvas(path, options)
    with canvas.object(beside.name):
        names = sorted({name for one in sets for name in one})
        if len(names) > MOST_CLASSES:
            raise ValueError(f"it names {len(names)} labels; at most {MOST_CLASSES} are read")
        values = {name: canvas.named(name) for name in names}
    table = np.array([max((values[name] for name in one), default=0) for one in sets] or [0], np.uint16)
    several = np.array([len(one) > 1 for one in sets] or [False])
    axes = "".join(axis for axis, n in zip("tzyx", options.space, strict=True) if n > 1 or axis in "yx")
    image = open_image(path, usual_axes=axes)
    blocks, overlap = _blocks(image, table, several, options)
    notes = [f"{tell(overlap, 'pixel')} with several labels; the last one by name counts"] if overlap else []
    return Painted(str(path), tuple(canvas.classes.values()), tuple(blocks), tuple(notes))


def _blocks(
    image: Image, table: NDArray[np.uint16], several: NDArray[np.bool_], options: PaintOptions
) -> tuple[list[Block], int]:
    """Return what is labelled in an image of numbers of label sets, and how many pixels have several labels."""
    sizes = tuple(image.sizes[axis] for axis in "tzyx")
    if sizes != options.space or image.sizes["c"] > 1:
        raise InputError(f"{image.name} has {_tell(sizes)} pixels, but the image {_tell(options.space)} (t, z, y, x)")
    blocks: list[Block] = []
    overlap = 0
    for t, z in np.ndindex(options.space[:2]):
        plane = image.read({"t": slice(t, t + 1), "z": slice(z, z + 1)})[0, 0, 0]
        wrong = ~((plane >= 0) & (plane < len(table)) & (plane == plane // 1))
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            raise InputError(
                f"{image.name} has the value {plane[y, x]:g} at t={t}, z={z}, y={y}, x={x}; its labels are the "
                f"numbers 0 to {len(table) - 1} in {_beside(Path(image.name)).name}"
            )
        numbers = plane.astype(np.int64)
        overlap += int(several[numbers].sum())
        blocks += blocks_of_plane(table[numbers], t, z)
    return blocks, overlap


def _tell(sizes: Any) -> str:
    return " x ".join(map(str, sizes))
