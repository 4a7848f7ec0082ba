"""What a run trains on: images and labels opened and checked, and what one look at all their pixels tells."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eseg_zoo.colours import class_colours
from eseg_zoo.config import Run
from eseg_zoo.errors import InputError
from eseg_zoo.images.blocks import keep_blocks, load
from eseg_zoo.images.channels import name_channels, tell_count
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels
from eseg_zoo.labels.painted import LabelClass
from eseg_zoo.memory import free_memory
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.sections import Section, sections_of
from eseg_zoo.patches.survey import Differences, Statistics, survey
from eseg_zoo.training.split import choose_slices, split_labels

if TYPE_CHECKING:
    from eseg_zoo.patches.source import PatchSource

log = logging.getLogger(__name__)

# Voxel sizes of several images that differ by no more than this share of the larger one are the same.
SAME_SIZE = 0.01
# Images are loaded where they take no more than this share of the free memory; of larger ones the chunks that were read
# last are kept, in so many bytes for each process.
LOADED_SHARE = 0.25
KEPT_BYTES = 512 << 20


@dataclass(frozen=True)
class LabelledImage:
    """An image and its labels."""

    image: Image
    labels: LabelImage


@dataclass(frozen=True)
class LabelledData:
    """Images and labels that fit each other, and which labels are learnt from; `sections` are those of all images."""

    images: tuple[Image, ...]
    sections: list[Section]
    chosen: list[int]  # the sections that are for training
    training: AnchorSet
    validation: AnchorSet
    channel_names: tuple[str, ...]
    voxel_size: dict[str, float]


@dataclass(frozen=True)
class TrainingData:
    """Everything opened and checked; `sections` are those of all images, in their order."""

    images: tuple[Image, ...]
    sections: list[Section]
    contents: tuple[tuple[slice, ...], ...]  # of each section, what of it is no padding
    training_sections: list[int]  # those that are not all padding
    training: AnchorSet
    validation: AnchorSet
    channel_names: tuple[str, ...]
    statistics: Statistics
    differences: Differences  # of the training sections' intensities
    voxel_size: dict[str, float]
    colours: tuple[str, ...]  # of the classes, in the order of the run

    @property
    def labelled_fraction(self) -> float:
        """Share of the training sections' pixels that training may learn from, 0..1."""
        return len(self.training) / sum(prod(self.sections[i].space) for i in self.training_sections)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that holds the pixels of all images."""
        return np.result_type(*(image.dtype for image in self.images))

    def source(self, geometry: PatchGeometry) -> PatchSource:
        """Return where patches of this geometry are cut from."""
        from eseg_zoo.patches.source import PatchSource  # here, so that data are checked without waiting for torch

        return PatchSource(geometry, self.sections, self.contents, self.statistics)


def open_pairs(run: Run, images: Sequence[Any] | None = None, labels: Any = None) -> list[LabelledImage]:
    """Return the images of a run with their labels: those in its files, or these, which may be arrays.

    `labels` are a label file for each image, or what else `labels` of a run may be.

    Raises `InputError` for files that are missing, unreadable or do not fit each other.
    """
    opened = []
    for number, given in enumerate(images or run.images):
        name = None if isinstance(given, (str, Path, Image)) else f"images[{number}]"
        image = open_image(given, axes=run.axes, allow_missing=run.missing_chunks, name=name)
        log.info("%s: %s", image.name, image.describe())
        opened.append(image)
    files = given_labels(run.labels if labels is None else labels, len(opened))
    reading = LabelReading(run.classes, run.unlabelled, run.network.dims, run.missing_chunks)
    pairs = zip(opened, open_labels(opened, files, reading), strict=True)
    return [LabelledImage(image, found) for image, found in pairs]


def with_classes(run: Run, pairs: Sequence[LabelledImage]) -> Run:
    """Return the run with the classes that the label files name, where it gives none itself.

    Raises `ConfigError` where they do not go together with the other settings.
    """
    return run if run.classes else run.with_classes({one.value: one.name for one in pairs[0].labels.classes})


def read_labels(run: Run, pairs: Sequence[LabelledImage]) -> LabelledData:
    """Return what is labelled in the images of a run, split into training and validation; no pixel of them is read.

    Raises `InputError` for another number of channels than was named, other channels than the first image has, voxel
    sizes that differ and planes where a 3D network needs volumes, label values without a class name, classes without a
    label, no labels at all, and validation slices with labels of fewer than two classes.
    """
    run = with_classes(run, pairs)
    images = tuple(pair.image for pair in pairs)
    sections: list[Section] = []
    chosen: dict[str, list[int]] = {"training": [], "validation": []}
    anchors: dict[int, AnchorSet] = {}
    for pair in pairs:
        _require_fit(pair.image, images[0], run)
        found = sections_of(pair.image, run.network.dims)
        for use, numbers in choose_slices(run, len(found), pair.image.name).items():
            chosen[use] += [len(sections) + number for number in numbers]
        anchors |= enumerate(pair.labels.anchors(first=len(sections)), start=len(sections))
        sections += found
    training, validation = split_labels(anchors, chosen, run)
    names = name_channels(run.channels or list(images[0].channels), images[0].sizes["c"], images[0].name)
    voxel_size = _common_voxel_size({image.name: image.voxel_size for image in images}, run)
    _tell_voxel_size(voxel_size, run, images[0].name)
    return LabelledData(images, sections, chosen["training"], training, validation, names, voxel_size)


def read_training_data(run: Run, pairs: Sequence[LabelledImage] | None = None) -> TrainingData:
    """Return the images, labels and statistics of a run; `pairs` are by default what its files hold.

    Raises `InputError` for files that are missing, what `read_labels` refuses, NaN pixels, and constant channels.
    """
    pairs = _in_memory(open_pairs(run) if pairs is None else pairs)
    found = read_labels(run, pairs)
    surveyed = survey(found.sections, measured=found.chosen)
    used = [n for n in found.chosen if all(part.start < part.stop for part in surveyed.contents[n])]
    _tell_padding(len(found.chosen) - len(used), len(found.chosen))
    names = found.channel_names
    return TrainingData(
        found.images, found.sections, surveyed.contents, used, found.training, found.validation, names,
        surveyed.statistics(names), surveyed.differences, found.voxel_size, _colours(run, pairs[0].labels.classes),
    )  # fmt: skip


def _colours(run: Run, classes: Sequence[LabelClass]) -> tuple[str, ...]:
    """Return the colour of each class: that of the run, or of its label file, or else the palette's."""
    usual = class_colours(len(classes))
    given = run.colours or {}
    return tuple(given.get(one.name) or one.colour or colour for one, colour in zip(classes, usual, strict=True))


def with_labels(data: TrainingData, run: Run, pairs: Sequence[LabelledImage]) -> TrainingData:
    """Return the same images with other labels; `pairs` are of these images. Nothing of the images is read again.

    Raises `InputError` for labels that cannot be used, as `read_training_data` does.
    """
    chosen: dict[str, list[int]] = {"training": [], "validation": []}
    anchors: dict[int, AnchorSet] = {}
    for pair in pairs:
        first, found = len(anchors), pair.labels.sections
        for use, numbers in choose_slices(run, len(found), pair.image.name).items():
            chosen[use] += [first + number for number in numbers]
        anchors |= enumerate(pair.labels.anchors(first=first), start=first)
    training, validation = split_labels(anchors, chosen, run)
    return replace(data, training=training, validation=validation, colours=_colours(run, pairs[0].labels.classes))


def _in_memory(pairs: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the pairs with their images loaded, or, where that takes too much, with the chunks read last kept."""
    images = [pair.image for pair in pairs]
    if _are_loaded(images):
        return [LabelledImage(load(pair.image), pair.labels) for pair in pairs]
    log.info("The images take %.1f GB: they stay on disk and are read in parts.", _bytes(images) / 1e9)
    most = KEPT_BYTES // len(pairs)
    return [LabelledImage(keep_blocks(pair.image, most), pair.labels) for pair in pairs]


def bytes_held(images: Sequence[Image]) -> int:
    """Return the bytes that training keeps of these images in memory, at most."""
    return _bytes(images) if _are_loaded(images) else min(_bytes(images), KEPT_BYTES)


def _are_loaded(images: Sequence[Image]) -> bool:
    return _bytes(images) <= LOADED_SHARE * free_memory()


def _bytes(images: Sequence[Image]) -> int:
    return sum(image.dtype.itemsize * prod(image.shape) for image in images)


def _common_voxel_size(stated: Mapping[str, Mapping[str, float]], run: Run) -> dict[str, float]:
    """Return micrometres per voxel: those that the run gives, and of the other axes those that the image files state.

    Raises `InputError` where two files differ along an axis that the run does not give and the network is 3D, whose
    shape depends on it; of a 2D network along y and x that is only told.
    """
    compared = [axis for axis in "zyx"[-run.network.dims :] if axis not in run.voxel_size]
    first: dict[str, str] = {}  # that states the size along an axis
    for name, sizes in stated.items():
        for axis, size in sizes.items():
            expected = stated[first.setdefault(axis, name)][axis]
            if axis in compared and not isclose(size, expected, rel_tol=SAME_SIZE):
                unequal = f"{name} has voxels of {size:.4g} µm along {axis}, but {first[axis]} of {expected:.4g} µm"
                if run.network.dims == 3:
                    raise InputError(
                        f"{unequal}; resample one of them, or set voxel_size in the run if a file is wrong"
                    )
                log.warning("%s", unequal)
    return {axis: stated[name][axis] for axis, name in first.items()} | run.voxel_size


def _tell_voxel_size(voxel_size: Mapping[str, float], run: Run, name: str) -> None:
    """Log a warning where a 3D network would be shaped for voxels of a size that nobody stated."""
    unknown = [axis for axis in "zyx" if axis not in voxel_size]
    if run.network.dims == 3 and unknown:
        log.warning(
            "%s does not say how large a voxel is along %s: z is taken to be as fine as y and x. If it is coarser, set "
            "voxel_size in the run; the network is then lighter and sees more.",
            name,
            ", ".join(unknown),
        )


def _require_fit(image: Image, first: Image, run: Run) -> None:
    """Raise `InputError` for an image that does not fit the run or the first one."""
    channels = image.sizes["c"]
    name_channels(run.channels, channels, image.name)
    if channels != first.sizes["c"]:
        raise InputError(f"{image.name} has {tell_count(channels)}, but {first.name} has {first.sizes['c']}")
    if image.dtype != first.dtype:
        log.warning(
            "%s holds %s pixels, but %s %s: they must mean the same", image.name, image.dtype, first.name, first.dtype
        )
    if run.network.dims == 3 and image.sizes["z"] == 1:
        frames = image.sizes["t"]
        hint = (
            f": its {frames} frames are time; if they are slices, set axes: {image.axes.replace('t', 'z')}"
            if frames > 1
            else ""
        )
        raise InputError(f"{image.name} has one slice along z, but network.dims is 3{hint}")


def _tell_padding(constant: int, count: int) -> None:
    if constant:
        log.warning(
            "%d of %d training slices are constant: they count as padding, which nothing is learnt from",
            constant,
            count,
        )
