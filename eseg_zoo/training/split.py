"""Which slices and labels of a run are learnt from, and which are held out for validation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from eseg_zoo.config import Run
from eseg_zoo.errors import InputError
from eseg_zoo.images.slices import chosen_slices
from eseg_zoo.patches.anchors import AnchorSet

log = logging.getLogger(__name__)

# Fewer held-out pixels than these judge nothing, and of a class with fewer strokes each one is needed: all of them are
# learnt from.
FEWEST_HELD_OUT, FEWEST_STROKES = 15, 5


def choose_slices(run: Run, count: int, name: str) -> dict[str, range]:
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


def split_labels(
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
            f"{_files(run)}: no label is held out for validation, which preset: paper needs; "
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


def _require_labels(anchors: AnchorSet, run: Run) -> None:
    files = _files(run)
    if not len(anchors):
        raise InputError(f"{files}: no pixel is labelled (every pixel is {run.unlabelled})")
    counts = np.bincount(anchors.labels, minlength=len(run.classes))
    for (value, name), pixels in zip(run.classes.items(), counts, strict=True):
        if not pixels:
            raise InputError(f"{files}: class {value} ({name}) has no labelled pixel; label some or remove the class")


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


def _files(run: Run) -> str:
    """Return the names of all label files."""
    return ", ".join(dict.fromkeys(str(one.file) for files in run.labels for one in files))
