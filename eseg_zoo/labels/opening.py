"""Opening the labels of images: which reader takes which file, by its content, and what all files say together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from eseg_zoo.errors import AbsentPartsError, InputError
from eseg_zoo.images.image import Image, tell
from eseg_zoo.images.opening import open_image
from eseg_zoo.label_files import LabelFile
from eseg_zoo.labels.classes import Stated, classes_of_run, indices_of
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.layers import AXES, ImageLayer, Layer, PaintedLayer, Place, Values, tell_place
from eseg_zoo.labels.origin import origin_of
from eseg_zoo.labels.painted import LabelClass, Painted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GivenLabels:
    """A label file as a run or a script gives it."""

    source: Any  # a path, an array or an image
    said: LabelFile
    name: str  # what messages call it


@dataclass(frozen=True)
class LabelReading:
    """How to read the labels of a run or an evaluation."""

    classes: Mapping[int, str]  # value -> name; none where the files name them
    unlabelled: int  # value of label images that means 'not labelled'
    dims: int  # spatial rank of the network
    allow_missing: bool = False  # parts of a file that are absent are empty


@dataclass(frozen=True)
class _Opened:
    """A label file with what it holds for one image."""

    given: GivenLabels
    content: Image | Painted
    stated: Stated


def open_labels(
    images: Sequence[Image], files: Sequence[Sequence[GivenLabels]], reading: LabelReading
) -> list[LabelImage]:
    """Return the labels of each image, which `files` has one entry for; one entry may be meant for all of them.

    Logs a line for labels outside an image and for pixels with several classes. Raises `InputError`, in one line, for
    files that cannot be read or do not fit, for classes that nobody names, and for names that do not agree.
    """
    if len(files) not in (1, len(images)):
        raise InputError(f"there are {tell(len(images), 'image')} but {len(files)} entries in labels")
    if len(files) != len(images):
        raise InputError(
            f"there are {tell(len(images), 'image')}, but {', '.join(one.name for one in files[0])} is of one; give "
            "labels an entry for each"
        )
    opened = [[_open(one, image, reading) for one in entry] for image, entry in zip(images, files, strict=True)]
    stated = [one.stated for entry in opened for one in entry]
    classes = classes_of_run(reading.classes, stated, reading.unlabelled)
    found = []
    for image, entry in zip(images, opened, strict=True):
        layers = tuple(_layer(one, image, classes, reading) for one in entry)
        labels = LabelImage(image, layers, classes, reading.dims)
        for layer in layers:
            _tell_outside(layer, image)
        _tell_conflicts(labels)
        found.append(labels)
    return found


def _open(given: GivenLabels, image: Image, reading: LabelReading) -> _Opened:
    pixels = _open_image(given, image, reading)
    return _Opened(given, pixels, Stated(given.name, _classes_said(given.said)))


def _classes_said(said: LabelFile) -> tuple[LabelClass, ...]:
    """Return the class that a run names for all labels of a file."""
    return () if said.class_name is None else (LabelClass(said.class_name, 1),)


def _open_image(given: GivenLabels, image: Image, reading: LabelReading) -> Image:
    """Return the label image of an image.

    Of a few strokes in a large Zarr or HDF5 file most chunks hold nothing and were never written: there nothing is
    labelled, and that is told, because a file that was not copied whole looks the same.
    """
    usual = image.axes.replace("c", "")

    def opened(allow_missing: bool) -> Image:
        return open_image(given.source, usual_axes=usual, allow_missing=allow_missing, name=given.name)

    try:
        pixels = opened(reading.allow_missing)
    except AbsentPartsError as error:
        if reading.unlabelled:
            raise
        log.warning("%s: nothing is labelled there, if the file was copied whole", error.lacking)
        pixels = opened(True)
    if pixels.sizes["c"] > 1:
        raise InputError(f"{pixels.name} has {pixels.sizes['c']} channels; a label image has one value at each pixel")
    return pixels


def _layer(opened: _Opened, image: Image, classes: Sequence[LabelClass], reading: LabelReading) -> Layer:
    said, content = opened.given.said, opened.content
    indices = indices_of(opened.stated, classes)
    if isinstance(content, Painted):
        return PaintedLayer.of(content, indices, space_of(image), _offset(said))
    told = ", ".join(f"{one.value}: {one.name}" for one in classes)
    others = None if said.class_name is None else indices[1]
    values = Values(indices, reading.unlabelled, others, told)
    return ImageLayer(
        content, origin_of(content, image, _offset(said) if said.offset else None), space_of(image), values
    )


def space_of(image: Image) -> Place:
    """Return the lengths of an image along t, z, y and x."""
    t, z, y, x = (image.sizes[axis] for axis in AXES)
    if prod((t, z, y, x)) >= 2**62:  # far beyond any disk
        raise InputError(f"{image.name} has {t} x {z} x {y} x {x} pixels, which cannot be numbered")
    return t, z, y, x


def _offset(said: LabelFile) -> Place:
    t, z, y, x = (said.offset.get(axis, 0) for axis in ("t", "z", "y", "x"))
    return t, z, y, x


def _tell_outside(layer: Layer, image: Image) -> None:
    """Warn of labels outside the image; raise `InputError` where all of them are."""
    outside, is_any_within = layer.count_outside()
    if not outside:
        return
    size = " x ".join(f"{axis}={n}" for axis, n in zip(AXES, space_of(image), strict=True))
    if not is_any_within:
        raise InputError(
            f"{layer.name} has no label within {image.name} ({size}): all {tell(outside, 'labelled pixel')} are "
            "outside of it; is it of this image, and is the offset right?"
        )
    log.warning("%s: %s outside of %s (%s) do not count", layer.name, tell(outside, "labelled pixel"), image.name, size)


def _tell_conflicts(labels: LabelImage) -> None:
    found = labels.conflicts()
    if found.first:
        log.warning(
            "%s: %s of %s given several classes, the first at %s; what is painted last counts",
            " and ".join(found.names),
            tell(found.count, "pixel"),
            f"{labels.image.name} {'was' if found.count == 1 else 'were'}",
            tell_place(found.first, labels.image.axes),
        )


def given_labels(entries: Sequence[Sequence[Any]]) -> list[list[GivenLabels]]:
    """Return the label files of each image: paths, arrays, images, or mappings and `LabelFile` with more to say.

    Raises `ConfigError` for a mapping that is none of a label file.
    """
    return [
        [
            _given(one, f"labels[{image}][{number}]" if len(entry) > 1 else f"labels[{image}]")
            for number, one in enumerate(entry)
        ]
        for image, entry in enumerate(entries)
    ]


def _given(one: Any, name: str) -> GivenLabels:
    """Return a label file; an array has the name, files have names of their own."""
    if isinstance(one, LabelFile):
        return GivenLabels(one.file, one, str(one.file))
    source = one.get("file") if isinstance(one, Mapping) else one
    named = source.name if isinstance(source, Image) else str(source) if isinstance(source, (str, Path)) else name
    said = LabelFile.checked({**one, "file": named} if isinstance(one, Mapping) else {"file": named}, "labels")
    return GivenLabels(source, said, named)
