"""What a run trains on: images and labels opened and checked, and what one look at all their pixels tells."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eseg_zoo.config import Run
from eseg_zoo.errors import AbsentPartsError, InputError
from eseg_zoo.images.blocks import keep_blocks, load
from eseg_zoo.images.channels import name_channels, tell_count
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.images.slices import chosen_slices
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.memory import free_memory
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.sections import Section, sections_of
from eseg_zoo.patches.survey import Statistics, survey

if TYPE_CHECKING:
    from eseg_zoo.patches.source import PatchSource

log = logging.getLogger(__name__)

# Voxel sizes of several images that differ by no more than this share of the larger one are the same.
SAME_SIZE = 0.01
# Images are loaded where they take no more than this share of the free memory; of larger ones the chunks that were read
# last are kept, in so many bytes for each process.
LOADED_SHARE = 0.25
KEPT_BYTES = 512 << 20
# Fewer held-out pixels than these judge nothing, and of a class with fewer strokes each one is needed: all of them are
# learnt from.
FEWEST_HELD_OUT, FEWEST_STROKES = 15, 5


@dataclass(frozen=True)
class LabelledImage:
    """An image and its labels."""

    image: Image
    labels: LabelImage


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
    voxel_size: dict[str, float]

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


def open_pairs(
    run: Run, images: Sequence[Any] | None = None, labels: Sequence[Any] | None = None
) -> list[LabelledImage]:
    """Return the images of a run with their labels: those in its files, or these, which may be arrays.

    Raises `InputError` for files that are missing, unreadable or do not fit each other.
    """
    pairs = []
    for number, (given, given_labels) in enumerate(zip(images or run.images, labels or run.labels, strict=True)):
        image = open_image(given, axes=run.axes, allow_missing=run.missing_chunks, name=_name("images", number, given))
        log.info("%s: %s", image.name, image.describe())
        found = _open_labels(run, given_labels, image, _name("labels", number, given_labels))
        values = LabelImage.of(found, image, classes=run.classes, unlabelled=run.unlabelled, dims=run.network.dims)
        pairs.append(LabelledImage(image, values))
    return pairs


def _open_labels(run: Run, given: Any, image: Image, name: str | None) -> Image:
    """Return the label image of an image.

    Of a few strokes in a large Zarr or HDF5 file most chunks hold nothing and were never written: there nothing is
    labelled, and that is told, because a file that was not copied whole looks the same.
    """
    usual = image.axes.replace("c", "")
    try:
        return open_image(given, usual_axes=usual, allow_missing=run.missing_chunks, name=name)
    except AbsentPartsError as error:
        if run.unlabelled:
            raise
        log.warning("%s: nothing is labelled there, if the file was copied whole", error.lacking)
        return open_image(given, usual_axes=usual, allow_missing=True, name=name)


def _name(kind: str, number: int, given: Any) -> str | None:
    """Return what messages call an array; files have names of their own."""
    return None if isinstance(given, (str, Path, Image)) else f"{kind}[{number}]"


def read_training_data(run: Run, pairs: Sequence[LabelledImage] | None = None) -> TrainingData:
    """Return the images, labels and statistics of a run; `pairs` are by default what its files hold.

    Raises `InputError` for files that are missing or do not fit, another number of channels than was named, other
    channels than the first image has, voxel sizes that differ and planes where a 3D network needs volumes, NaN pixels,
    constant channels, label values without a class name, classes without a label, no labels at all, and validation
    slices with labels of fewer than two classes.
    """
    pairs = _in_memory(open_pairs(run) if pairs is None else pairs)
    images = tuple(pair.image for pair in pairs)
    sections: list[Section] = []
    chosen: dict[str, list[int]] = {"training": [], "validation": []}
    anchors: dict[int, AnchorSet] = {}
    for pair in pairs:
        _require_fit(pair.image, images[0], run)
        found = sections_of(pair.image, run.network.dims)
        for use, numbers in _choose_slices(run, len(found), pair.image.name).items():
            chosen[use] += [len(sections) + number for number in numbers]
        anchors |= enumerate(pair.labels.anchors(first=len(sections)), start=len(sections))
        sections += found
    training, validation = _split(anchors, chosen, run)
    names = name_channels(run.channels or list(images[0].channels), images[0].sizes["c"], images[0].name)
    voxel_size = _common_voxel_size({image.name: image.voxel_size for image in images}, run)
    _tell_voxel_size(voxel_size, run, images[0].name)
    surveyed = survey(sections, measured=chosen["training"])
    used = [n for n in chosen["training"] if all(part.start < part.stop for part in surveyed.contents[n])]
    _tell_padding(len(chosen["training"]) - len(used), len(chosen["training"]))
    return TrainingData(
        images, sections, surveyed.contents, used, training, validation, names, surveyed.statistics(names), voxel_size
    )


def with_labels(data: TrainingData, run: Run, pairs: Sequence[LabelledImage]) -> TrainingData:
    """Return the same images with other labels; `pairs` are of these images. Nothing of the images is read again.

    Raises `InputError` for labels that cannot be used, as `read_training_data` does.
    """
    chosen: dict[str, list[int]] = {"training": [], "validation": []}
    anchors: dict[int, AnchorSet] = {}
    for pair in pairs:
        first, found = len(anchors), pair.labels.sections
        for use, numbers in _choose_slices(run, len(found), pair.image.name).items():
            chosen[use] += [first + number for number in numbers]
        anchors |= enumerate(pair.labels.anchors(first=first), start=first)
    training, validation = _split(anchors, chosen, run)
    return replace(data, training=training, validation=validation)


def _in_memory(pairs: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the pairs with their images loaded, or, where that takes too much, with the chunks read last kept."""
    total = sum(pair.image.dtype.itemsize * prod(pair.image.shape) for pair in pairs)
    if total <= LOADED_SHARE * free_memory():
        return [LabelledImage(load(pair.image), pair.labels) for pair in pairs]
    log.info("The images take %.1f GB: they stay on disk and are read in parts.", total / 1e9)
    most = KEPT_BYTES // len(pairs)
    return [LabelledImage(keep_blocks(pair.image, most), pair.labels) for pair in pairs]


def _split(
    anchors: Mapping[int, AnchorSet], chosen: Mapping[str, Sequence[int]], run: Run
) -> tuple[AnchorSet, AnchorSet]:
    """Return the anchors for training and for validation."""
    training, validation = (
        AnchorSet.merged([anchors[number] for number in chosen[use]], dims=run.network.dims)
        for use in ("training", "validation")
    )
    _require_labels(training, run)
    if chosen["validation"]:
        _require_validation(validation, run)
    else:
        training, validation = _hold_out(training, run)
    if run.preset == "paper" and not len(validation):
        raise InputError(
            f"{', '.join(map(str, run.labels))}: no label is held out for validation, which preset: paper follows; "
            "choose another preset, label more strokes, or set slices.validation or training.validation_fraction"
        )
    _tell_what_is_not_validated(validation, run)
    return training, validation


def _hold_out(anchors: AnchorSet, run: Run) -> tuple[AnchorSet, AnchorSet]:
    """Return the anchors for training and for validation, by whole strokes; of few labels all are for training.

    What a handful of pixels says of a model is mostly luck, and each of them teaches. A person who sets
    `training.validation_fraction`, and the published training, which goes by validation, have what they ask for.
    """
    fraction = run.training.validation_fraction
    if "validation_fraction" in run.training.model_fields_set or run.preset == "paper":
        return anchors.split_by_strokes(fraction, run.seed)
    training, validation = anchors.split_by_strokes(fraction, run.seed, fewest=FEWEST_STROKES)
    if len(validation) < FEWEST_HELD_OUT:
        return anchors, validation.select(np.zeros(0, np.int64))
    return training, validation


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


def _choose_slices(run: Run, count: int, name: str) -> dict[str, range]:
    """Return the numbers of the training and the validation sections of one image with `count` sections."""
    training = chosen_slices(run.slices.training, count, name, setting="slices.training")
    validation = range(0)
    if run.slices.validation:
        validation = chosen_slices(run.slices.validation, count, name, setting="slices.validation")
    shared = set(training) & set(validation)
    if shared and run.slices.training:
        raise InputError(f"slices.training and slices.validation share slice {min(shared)}")
    if shared:
        raise InputError(f"slices.validation is {run.slices.validation}; slices.training must then be set too")
    return {"training": training, "validation": validation}


def _require_validation(validation: AnchorSet, run: Run) -> None:
    """Raise `InputError` where `slices.validation` has labels of fewer than two classes: they could judge nothing."""
    found = np.unique(validation.labels).tolist()
    if len(found) < 2:
        names = list(run.classes.values())
        labelled = f"labels of {names[found[0]]} only" if found else "no labelled pixel"
        raise InputError(f"slices.validation is {run.slices.validation}, where the label images have {labelled}")


def _tell_what_is_not_validated(validation: AnchorSet, run: Run) -> None:
    """Log a warning that names the classes without a held-out label."""
    present = np.unique(validation.labels)
    missing = [name for index, name in enumerate(run.classes.values()) if index not in present]
    if len(missing) == len(run.classes):
        log.warning(
            "No label is held out for validation: the model is that of the last step and its probabilities are not "
            "calibrated; label more strokes, or set slices.validation or training.validation_fraction"
        )
    elif missing:
        log.warning(
            "No label of %s is held out, so validation and calibration ignore it; two strokes are enough, or one in "
            "slices.validation",
            ", ".join(missing),
        )


def _require_labels(anchors: AnchorSet, run: Run) -> None:
    files = ", ".join(str(path) for path in run.labels)
    if not len(anchors):
        raise InputError(f"{files}: no pixel is labelled (every pixel is {run.unlabelled})")
    counts = np.bincount(anchors.labels, minlength=len(run.classes))
    for (value, name), pixels in zip(run.classes.items(), counts, strict=True):
        if not pixels:
            raise InputError(f"{files}: class {value} ({name}) has no labelled pixel; label some or remove the class")
