"""Label images in an OME-Zarr (OME-NGFF 0.4 and 0.5): which one is meant, its classes, and the level that fits."""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import Any

import zarr

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.images.ome_zarr import attributes_of, is_zarr, open_node, read_levels
from eseg_zoo.labels.painted import LabelClass
from eseg_zoo.names import plain_name

_NAMES = ("name", "class", "label")  # of a property that names a class
_NEAR = 0.01  # share by which the pixel sizes of a level and an image may differ


def label_image_in(path: Path) -> Path:
    """Return the label image that a Zarr means: the only one in its `labels`, or itself where it has none.

    Raises `InputError` that lists them where it has several, and where its `labels` list none that is there.
    """
    folder = path / "labels"
    if not is_zarr(folder):
        return path
    node = open_node(folder)
    listed = attributes_of(node).get("labels") if isinstance(node, zarr.Group) else None
    named = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    names = [name for name in named if is_zarr(folder / name) and ".." not in Path(name).parts]
    if len(names) > 1:
        raise InputError(f"{path} holds the labels {', '.join(names)}; name one, such as {folder / names[0]}")
    if not names:
        raise InputError(f"{path} has a folder of labels that lists none; name the label image, such as {folder}/NAME")
    return folder / names[0]


def classes_in(path: Path) -> tuple[LabelClass, ...]:
    """Return the classes that a label image names, a name for several values where they share it; none if it does not.

    Metadata that cannot be understood name none.
    """
    said = _image_label(path)
    colours = {value: colour for one in _entries(said, "colors") if (colour := _colour(one)) for value in [_value(one)]}
    found = []
    for one in _entries(said, "properties"):
        name = next((one[key] for key in _NAMES if isinstance(one.get(key), str)), None)
        if name is not None:
            try:
                found.append(LabelClass(plain_name(name), _value(one), colours.get(_value(one))))
            except ValueError as error:
                raise InputError(f"{path} has a class name that {error}") from error
    return tuple(found)


def level_for(path: Path, image: Image) -> int | None:
    """Return the resolution level that has the size of an image, or else its pixels; None where the path is one."""
    node = open_node(path)
    if not isinstance(node, zarr.Group) or not attributes_of(node).get("multiscales"):
        return None
    levels, _ = read_levels(path, node)
    if any(len(level.axes) != len(level.shape) for level in levels):
        return 0  # whoever opens it says what does not fit
    expected = {axis: n for axis, n in image.sizes.items() if axis != "c"}
    for number, level in enumerate(levels):
        if dict.fromkeys(expected, 1) | dict(zip(level.axes, level.shape, strict=True)) == expected:
            return number
    sizes = image.voxel_size
    for number, level in enumerate(levels):
        found = level.voxel_size()
        if sizes and all(isclose(found.get(axis, 0), size, rel_tol=_NEAR) for axis, size in sizes.items()):
            return number
    return 0


def _image_label(path: Path) -> Mapping[str, Any]:
    """Return what is said of a label image, at itself or at the OME-Zarr of which it is a level."""
    for place in (path, path.parent):
        node = open_node(place) if is_zarr(place) else None
        said = attributes_of(node).get("image-label") if isinstance(node, zarr.Group) else None
        if isinstance(said, Mapping):
            return said
    return {}


def _entries(said: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the entries of a list that are of a value of the pixels."""
    found = said.get(key)
    entries = found if isinstance(found, list) else []
    return [one for one in entries if isinstance(one, Mapping) and _value(one) >= 0]


def _value(entry: Mapping[str, Any]) -> int:
    value = entry.get("label-value")
    return int(value) if isinstance(value, (int, float)) and value == value // 1 and 0 <= value < 2**16 else -1


def _colour(entry: Mapping[str, Any]) -> str | None:
    numbers = entry.get("rgba")
    if not isinstance(numbers, list) or len(numbers) < 3:
        return None
    if not all(isinstance(n, int) and 0 <= n <= 255 for n in numbers[:3]):
        return None
    return "#{:02x}{:02x}{:02x}".format(*numbers[:3])
