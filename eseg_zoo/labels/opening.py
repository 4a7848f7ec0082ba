"""Opening the labels of images: which reader takes which file, by its content, and what all files say together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image, tell
from eseg_zoo.label_files import LabelFile, label_lists
from eseg_zoo.labels import ilastik
from eseg_zoo.labels.classes import Stated, classes_of_run, indices_of, merged_classes
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.lanes import fits_of
from eseg_zoo.labels.layers import AXES, ImageLayer, Layer, PaintedLayer, Place, Values, tell_place
from eseg_zoo.labels.origin import origin_of
from eseg_zoo.labels.painted import LabelClass, Painted, PaintOptions
from eseg_zoo.labels.pixels import classes_of_pixels, open_pixels
from eseg_zoo.labels.readers import reader_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GivenLabels:
    """A label file as a run or a script gives it."""

    source: Any  # a path, an array or an image
    said: LabelFile
    name: str  # what messages call it

    @property
    def path(self) -> Path | None:
        """Where it is; None for what is in memory."""
        return Path(self.source).expanduser() if isinstance(self.source, (str, Path)) else None


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
    classes: tuple[LabelClass, ...]  # that the file names, or the run for it

    @property
    def stated(self) -> Stated:
        return Stated(self.given.name, self.classes, is_image=isinstance(self.content, Image))


def given_labels(labels: Any, images: int) -> list[list[GivenLabels]]:
    """Return the label files of each of so many images, as `open_labels` takes them.

    A label file is a path, an array, an image, or a mapping or `LabelFile` with more to say. One is given, or one for
    each image; a list in its place is of one image, and with one image a list is of that. Raises `ConfigError` for a
    mapping that is none of a label file.
    """
    return [
        [_given(one, f"labels[{number}]" + f"[{place}]" * (len(entry) > 1)) for place, one in enumerate(entry)]
        for number, entry in enumerate(label_lists(labels, images))
    ]


def _given(one: Any, name: str) -> GivenLabels:
    """Return a label file; an array has the name, files have names of their own."""
    if isinstance(one, LabelFile):
        return GivenLabels(one.file, one, str(one.file))
    source = one.get("file") if isinstance(one, Mapping) else one
    named = source.name if isinstance(source, Image) else str(source) if isinstance(source, (str, Path)) else name
    said = LabelFile.checked({**one, "file": named} if isinstance(one, Mapping) else {"file": named}, "labels")
    return GivenLabels(source, said, named)


def open_labels(
    images: Sequence[Image], files: Sequence[Sequence[GivenLabels]], reading: LabelReading
) -> list[LabelImage]:
    """Return the labels of each image; `files` has an entry for each, or one of ilastik projects for all of them.

    Logs a line for labels outside an image and for pixels with several classes. Raises `InputError`, in one line, for
    files that cannot be read or do not fit, for classes that nobody names, and for names that do not agree.
    """
    files = _of_each_image(images, files)
    projects = _read_projects(images, files)
    opened: list[list[_Opened]] = []
    for number, (image, entry) in enumerate(zip(images, files, strict=True)):
        found = [
            _painted(one, projects[number, one.name]) if (number, one.name) in projects else _open(one, image, reading)
            for one in entry
        ]
        opened.append([one for one in found if one is not None])
    stated = [one.stated for entry in opened for one in entry]
    classes = classes_of_run(reading.classes, stated, reading.unlabelled)
    labels = []
    for image, contents in zip(images, opened, strict=True):
        layers = tuple(_layer(one, image, classes, reading) for one in contents)
        labels.append(LabelImage(image, layers, classes, reading.dims))
        _tell_faults(labels[-1])
    return labels


def classes_in(
    files: Sequence[LabelFile], *, space: Place = (1, 1, 1, 1), voxel_size: Mapping[str, float] | None = None
) -> tuple[LabelClass, ...]:
    """Return the classes that label files name together, as a run without `classes` has them; none where none is named.

    `space` (t, z, y, x) and `voxel_size` are those of an image, where it is known: files that state a size or lengths
    cannot be read without. Raises `InputError` for files that cannot be read.
    """
    stated = []
    for one in files:
        path, is_image = one.file.expanduser(), False
        if ilastik.knows(path):
            classes = ilastik.read_project(path).classes
        elif reader := reader_of(path):
            classes = reader.read(path, PaintOptions(space, voxel_size or {}, one.class_name)).classes
        else:
            classes, is_image = classes_of_pixels(path) or _said(one), True
        stated.append(Stated(str(one.file), classes, is_image))
    return merged_classes(stated)


def images_of(path: Path) -> tuple[ilastik.Lane, ...]:
    """Return the images that a label file says it is of: those of an ilastik project, none for other files."""
    return ilastik.read_project(path).lanes if ilastik.knows(path) else ()


def _of_each_image(images: Sequence[Image], files: Sequence[Sequence[GivenLabels]]) -> list[Sequence[GivenLabels]]:
    """Return the files of each image; raises `InputError` where there are neither as many entries nor one for all."""
    if len(files) == len(images):
        return list(files)
    if len(files) != 1:
        raise InputError(f"there are {tell(len(images), 'image')} but {len(files)} entries in labels")
    for one in files[0]:
        if not (one.path and ilastik.knows(one.path)):
            raise InputError(
                f"there are {tell(len(images), 'image')}, but {one.name} is of one; give labels an entry for each"
            )
    return list(files) * len(images)


def _read_projects(
    images: Sequence[Image], files: Sequence[Sequence[GivenLabels]]
) -> dict[tuple[int, str], Painted | None]:
    """Return what each ilastik project has for each image that it is given for, by number of the image and file."""
    given: dict[str, list[tuple[int, GivenLabels]]] = {}
    for number, entry in enumerate(files):
        for one in entry:
            if one.path and ilastik.knows(one.path):
                given.setdefault(one.name, []).append((number, one))
    found: dict[tuple[int, str], Painted | None] = {}
    for name, ones in given.items():
        path = ones[0][1].path
        assert path is not None, "it was looked into"
        project = ilastik.read_project(path)
        fits = fits_of(project, [(images[number], bool(one.said.offset)) for number, one in ones])
        for (number, _), fit in zip(ones, fits, strict=True):
            found[number, name] = (
                None if fit is None else ilastik.read_lane(project, fit.lane, frames_are_slices=fit.frames_are_slices)
            )
    return found


def _open(given: GivenLabels, image: Image, reading: LabelReading) -> _Opened | None:
    """Return what a file holds for an image."""
    said = given.said
    if given.path and (reader := reader_of(given.path)):
        t, z, y, x = (n - first for n, first in zip(space_of(image), _offset(said, image), strict=True))
        options = PaintOptions((t, z, y, x), image.voxel_size, said.class_name, said.width or 1.0, said.unit)
        return _painted(given, reader.read(given.path, options))
    named = tuple(one for one in classes_of_pixels(given.source) if one.value != reading.unlabelled)
    _require_no_class(given, named)
    pixels = open_pixels(
        given.source, image, name=given.name, unlabelled=reading.unlabelled, allow_missing=reading.allow_missing
    )
    return _Opened(given, pixels, named or _said(said))


def _painted(given: GivenLabels, painted: Painted | None) -> _Opened | None:
    if painted is None:
        return None
    _require_no_class(given, painted.classes)
    for note in painted.notes:
        log.warning("%s: %s", given.name, note)
    return _Opened(given, painted, painted.classes)


def _said(said: LabelFile) -> tuple[LabelClass, ...]:
    """Return the class that a run says for all labels of a file."""
    return () if said.class_name is None else (LabelClass(said.class_name, 1),)


def _require_no_class(given: GivenLabels, named: Sequence[LabelClass]) -> None:
    """Raise `InputError` where the run says the class of a file that names others itself."""
    names = [one.name for one in named]
    if given.said.class_name is not None and names and given.said.class_name not in names:
        raise InputError(
            f"{given.name} names its classes itself ({', '.join(names)}), but the run says class: "
            f"{given.said.class_name}; leave that out"
        )


def _layer(opened: _Opened, image: Image, classes: Sequence[LabelClass], reading: LabelReading) -> Layer:
    said, content = opened.given.said, opened.content
    indices, offset = indices_of(opened.stated, classes), _offset(said, image)
    if isinstance(content, Painted):
        return PaintedLayer.of(content, indices, space_of(image), offset)
    told = ", ".join(f"{one.value}: {one.name}" for one in opened.classes or classes)
    others = None if said.class_name is None else indices[opened.classes[0].value]
    values = Values(indices, reading.unlabelled, others, told)
    origin = origin_of(content, image, offset if said.offset else None)
    meaning = repr((origin, sorted(indices.items()))) if opened.classes or any(origin) else ""
    return ImageLayer(content, origin, space_of(image), values, meaning)


def space_of(image: Image) -> Place:
    """Return the lengths of an image along t, z, y and x."""
    t, z, y, x = (image.sizes[axis] for axis in AXES)
    if prod((t, z, y, x)) >= 2**62:  # far beyond any disk
        raise InputError(f"{image.name} has {t} x {z} x {y} x {x} pixels, which cannot be numbered")
    return t, z, y, x


def _offset(said: LabelFile, image: Image) -> Place:
    """Return the first pixel of a file's labels; raises `InputError` where it is outside of the image."""
    for axis, first in said.offset.items():
        if first >= image.sizes[axis]:
            raise InputError(
                f"{said.file} has the offset {axis}: {first}, but {image.name} has {image.sizes[axis]} pixels along "
                f"{axis}, counted from 0"
            )
    t, z, y, x = (said.offset.get(axis, 0) for axis in ("t", "z", "y", "x"))
    return t, z, y, x


def _tell_faults(labels: LabelImage) -> None:
    """Warn of labels outside the image and of pixels with several classes.

    Raises `InputError` where all labels of a file are outside.
    """
    image = labels.image
    size = " x ".join(f"{axis}={image.sizes[axis]}" for axis in AXES if axis in image.axes)
    for layer in labels.layers:
        outside, is_any_within = layer.count_outside()
        if not is_any_within and outside:
            raise InputError(
                f"{layer.name} has no label within {image.name} ({size}): {tell(outside, 'labelled pixel')} outside of "
                "it; is it of this image, and is the offset right?"
            )
        if outside:
            log.warning(
                "%s: %s outside of %s (%s) do not count", layer.name, tell(outside, "labelled pixel"), image.name, size
            )
    conflicts = labels.conflicts()
    if conflicts.first:
        log.warning(
            "%s give %s of %s several classes, the first at %s; what is painted last counts",
            " and ".join(conflicts.names),
            tell(conflicts.count, "pixel"),
            image.name,
            tell_place(conflicts.first, image.axes),
        )
