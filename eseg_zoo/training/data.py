"""What a run trains on: files read and checked, and the batches drawn from them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import isclose
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.config import Run
from eseg_zoo.data.channels import name_channels, tell_count
from eseg_zoo.data.labels import label_sections, read_labels
from eseg_zoo.data.sampling import AnchorSet
from eseg_zoo.data.statistics import Statistics, measure
from eseg_zoo.data.volumes import chosen_slices, read_image, require_finite, sections
from eseg_zoo.errors import InputError

log = logging.getLogger(__name__)

# Voxel sizes of several images that differ by no more than this share of the larger one are the same.
SAME_SIZE = 0.01


@dataclass(frozen=True)
class TrainingData:
    """Everything read and checked; the images are the training and validation sections (c, *space)."""

    images: list[NDArray[np.generic]]
    training_sections: list[int]
    training: AnchorSet
    validation: AnchorSet
    channel_names: tuple[str, ...]
    statistics: Statistics
    voxel_size: dict[str, float]

    @property
    def channels(self) -> int:
        return int(self.images[0].shape[0])

    @property
    def labelled_fraction(self) -> float:
        """Share of the training sections' pixels that training may learn from, 0..1."""
        pixels = sum(int(self.images[i][0].size) for i in self.training_sections)
        return len(self.training) / pixels


def read_training_data(run: Run) -> TrainingData:
    """Return the images, labels and statistics of a run.

    Raises `InputError` for files that are missing or do not fit, another number of channels than was named, other
    channels than the first image has, voxel sizes that differ and planes where a 3D network needs volumes, NaN pixels,
    constant channels, label values without a class name, classes without a label, no labels at all, and validation
    slices with labels of fewer than two classes.
    """
    images: list[NDArray[np.generic]] = []
    labels: list[NDArray[np.int16]] = []
    chosen: dict[str, list[int]] = {"training": [], "validation": []}
    stated: dict[Path, dict[str, float]] = {}
    for image_path, label_path in zip(run.images, run.labels, strict=True):
        image = read_image(image_path, run.axes)
        require_finite(image, image_path)
        found = sections(image, run.network.dims)
        _require_fit(found[0], images, image_path, run)
        for use, numbers in _choose_slices(run, len(found), image_path).items():
            chosen[use] += [len(images) + number for number in numbers]
        labelled = read_labels(label_path, image, run.axes, classes=run.classes, unlabelled=run.unlabelled)
        labels += label_sections(labelled, run.network.dims)
        images += found
        stated[image_path] = image.attrs["voxel_size"]
    anchors = AnchorSet.of(labels, chosen["training"])
    _require_labels(anchors, run)
    if chosen["validation"]:
        validation = AnchorSet.of(labels, chosen["validation"])
        _require_validation(validation, run)
    else:
        fraction = run.training.validation_fraction
        anchors, validation = anchors.split_by_strokes(fraction, np.random.default_rng(run.seed))
    if run.training.schedule == "plateau" and not len(validation):
        files = ", ".join(str(path) for path in run.labels)
        raise InputError(
            f"{files}: no label is held out for validation, which training.schedule plateau follows; choose cosine, "
            "label more strokes, or set slices.validation or training.validation_fraction"
        )
    _tell_what_is_not_validated(validation, run)
    names = name_channels(run.channels, images[0].shape[0], run.images[0])
    statistics = measure([images[i] for i in chosen["training"]], channels=names)
    voxel_size = _common_voxel_size(stated, run)
    _tell_voxel_size(voxel_size, run)
    return TrainingData(images, chosen["training"], anchors, validation, names, statistics, voxel_size)


def _common_voxel_size(stated: dict[Path, dict[str, float]], run: Run) -> dict[str, float]:
    """Return micrometres per voxel: those that the run gives, and of the other axes those that the image files state.

    Raises `InputError` where two files differ along an axis that the run does not give and the network is 3D, whose
    shape depends on it; of a 2D network along y and x that is only told.
    """
    compared = [axis for axis in "zyx"[-run.network.dims :] if axis not in run.voxel_size]
    first: dict[str, Path] = {}  # that states the size along an axis
    for path, sizes in stated.items():
        for axis, size in sizes.items():
            expected = stated[first.setdefault(axis, path)][axis]
            if axis in compared and not isclose(size, expected, rel_tol=SAME_SIZE):
                unequal = f"{path} has voxels of {size:.4g} µm along {axis}, but {first[axis]} of {expected:.4g} µm"
                if run.network.dims == 3:
                    raise InputError(
                        f"{unequal}; resample one of them, or set voxel_size in the run if a file is wrong"
                    )
                log.warning("%s", unequal)
    return {axis: stated[path][axis] for axis, path in first.items()} | run.voxel_size


def _tell_voxel_size(voxel_size: dict[str, float], run: Run) -> None:
    """Log a warning where a 3D network would be shaped for voxels of a size that nobody stated."""
    unknown = [axis for axis in "zyx" if axis not in voxel_size]
    if run.network.dims == 3 and unknown:
        log.warning(
            "%s does not say how large a voxel is along %s: z is taken to be as fine as y and x. If it is coarser, set "
            "voxel_size in the run; the network is then lighter and sees more.",
            run.images[0],
            ", ".join(unknown),
        )


def _require_fit(section: NDArray[np.generic], others: list[NDArray[np.generic]], path: Path, run: Run) -> None:
    """Raise `InputError` for a section (c, *space) of the image in `path` that does not fit the run or the others."""
    channels = section.shape[0]
    name_channels(run.channels, channels, path)
    if others and channels != others[0].shape[0]:
        raise InputError(f"{path} has {tell_count(channels)}, but the first image {others[0].shape[0]}")
    if others and section.dtype != others[0].dtype:
        log.warning(
            "%s holds %s pixels, but %s %s: they must mean the same",
            path,
            section.dtype,
            run.images[0],
            others[0].dtype,
        )
    if run.network.dims == 3 and section.shape[1] == 1:
        raise InputError(f"{path} is a 2D image (one slice along z), but network.dims is 3")


def _choose_slices(run: Run, count: int, path: Path) -> dict[str, range]:
    """Return the numbers of the training and the validation sections of one image with `count` sections."""
    training = chosen_slices(run.slices.training, count, path, setting="slices.training")
    validation = range(0)
    if run.slices.validation:
        validation = chosen_slices(run.slices.validation, count, path, setting="slices.validation")
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
