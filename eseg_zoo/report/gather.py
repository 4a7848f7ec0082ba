"""What a report says, gathered from a training that is over: its record, its log, and pixels around labelled places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.errors import ConfigError, EsegError
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.metrics import Reliability
from eseg_zoo.report.history import History, read_history
from eseg_zoo.report.scenes import Pair, Scene, look, look_at
from eseg_zoo.report.suggestions import Suggestion, suggest

# The log of a frequency's ratio to an equal share, below which the strength of its correction is not told from it.
_EQUAL = 1e-3


@dataclass(frozen=True)
class Truth:
    """Dense labels, where there are any: shown beside the maps, with the figures that they gave."""

    labels: Sequence[LabelImage]  # for each image
    unseen: int  # a section of the first image that the training did not see
    figures: Mapping[str, Any]  # as `eseg evaluate --json` writes them, on sections like it


@dataclass(frozen=True)
class Trained:
    """A training that is over, as its report is told of it."""

    checkpoint: Checkpoint
    model: Path  # its file, beside the log
    planned: int  # steps of all stages, at most
    is_finished: bool  # all stages are over
    pairs: Sequence[Pair] = ()  # images and their labels; none where they are not there any more
    lacking: str = ""  # why there are none
    truth: Truth | None = None


@dataclass(frozen=True)
class Labelled:
    """How much of a class was labelled; None for what models of earlier versions do not say."""

    pixels: int
    strokes: int | None
    slices: int | None = None


@dataclass(frozen=True)
class ClassFacts:
    """What there is to say of a class."""

    name: str
    value: int
    colour: str
    training: Labelled
    held_out: Labelled
    frequency: float  # in the data, 0..1
    odds: float  # what the correction multiplies its odds with
    strength: float | None  # of the correction, 0..1; None where the frequency is an equal share
    expected: tuple[float, ...]  # Dice without the correction, with it, with the whole of it; () where not known


@dataclass(frozen=True)
class Judged:
    """How good the maps are on labelled pixels; what is not known is None or empty."""

    pixels: dict[str, int]
    dice: dict[str, float | None]
    mean_dice: float
    confusion: list[list[int]]  # by true and predicted class
    reliability: dict[str, Reliability]  # 'with' and 'without' the temperature
    errors: dict[str, float]  # expected calibration error of these
    strokes: dict[str, int] | None = None  # None where the pixels are whole planes, or it is not known
    auroc: float | None = None


@dataclass(frozen=True)
class Setting:
    """A setting of the run, and what it is by default."""

    key: str
    value: object
    default: object
    is_default: bool


@dataclass(frozen=True)
class Report:
    """All that a report says."""

    trained: Trained
    classes: tuple[ClassFacts, ...]
    held_out: Judged | None
    history: History
    temperature: float
    settings: tuple[Setting, ...]
    scenes: tuple[Scene, ...]
    suggestions: tuple[Suggestion, ...]
    lacking: str  # why there are no scenes
    unseen: Judged | None = None
    unseen_scene: Scene | None = None


def gather(trained: Trained) -> Report:
    """Return what there is to say of a training; where its images cannot be read, the report is without scenes."""
    checkpoint, truth, lacking = trained.checkpoint, trained.truth, trained.lacking
    scenes: tuple[Scene, ...] = ()
    unseen_scene = None
    try:
        if trained.pairs:
            scenes = look(checkpoint, trained.pairs, truth=truth.labels if truth else None)
            if truth:
                unseen_scene = look_at(checkpoint, trained.pairs[0], truth.unseen, truth=truth.labels[0])
    except EsegError as error:
        lacking = str(error)
    return Report(
        trained, tuple(_classes(checkpoint)), _held_out(checkpoint), read_history(trained.model.parent),
        float(checkpoint.segmenter_state["temperature"]), tuple(_settings(checkpoint.settings)), scenes,
        _suggested(trained), lacking, _evaluated(truth.figures) if truth else None, unseen_scene,
    )  # fmt: skip


def _suggested(trained: Trained) -> tuple[Suggestion, ...]:
    """Return where to label next; nowhere where the images cannot be read, or have no place left."""
    try:
        return suggest(trained.checkpoint, trained.pairs) if trained.pairs else ()
    except EsegError:
        return ()


def _classes(checkpoint: Checkpoint) -> Iterator[ClassFacts]:
    record, shifts = checkpoint.training, checkpoint.segmenter_state["log_prior_shift"].flatten().tolist()
    for one, shift in zip(checkpoint.classes, shifts, strict=True):
        wanted = float(np.log(one.frequency * len(shifts)))
        yield ClassFacts(
            one.name, one.value, one.colour,
            Labelled(
                record.labelled_pixels.get(one.name, 0), record.strokes.get(one.name), record.slices.get(one.name)
            ),
            Labelled(record.validation_pixels.get(one.name, 0), record.validation_strokes.get(one.name)),
            one.frequency, float(np.exp(shift)), shift / wanted if abs(wanted) > _EQUAL else None,
            tuple(record.expected_dice.get(one.name, ())),
        )  # fmt: skip


def _held_out(checkpoint: Checkpoint) -> Judged | None:
    """Return the figures of the record; None where no label was held out."""
    record, names = checkpoint.training, checkpoint.class_names
    mean = record.validation.get("mean_dice")
    if mean is None:
        return None
    curves = {
        kind: Reliability(*(np.array(column) for column in zip(*bins, strict=True)))
        for kind, bins in record.reliability.items()
    }
    return Judged(
        {name: record.validation_pixels.get(name, 0) for name in names},
        {name: record.validation.get(f"dice/{name}") for name in names},
        mean, record.confusion, curves, {kind: one.error for kind, one in curves.items()},
        {name: record.validation_strokes.get(name, 0) for name in names} if record.validation_strokes else None,
    )  # fmt: skip


def _evaluated(figures: Mapping[str, Any]) -> Judged:
    """Return the figures of `eseg evaluate --json`."""
    columns = [[bin_[key] for bin_ in figures["reliability"]] for key in ("pixels", "accuracy", "confidence")]
    pixels, accuracy, confidence = (np.array(column) for column in columns)
    errors = {"with": "calibration_error", "without": "calibration_error_without_temperature"}
    return Judged(
        figures["pixels"], figures["dice"], figures["mean_dice"], figures["confusion"],
        {"with": Reliability(pixels, accuracy * pixels, confidence * pixels)},
        {kind: figures[key] for kind, key in errors.items()}, auroc=figures["uncertainty_auroc"],
    )  # fmt: skip


def _settings(settings: Mapping[str, Any]) -> list[Setting]:
    """Return the settings of a run; first those that are not as the preset has them, or that have no default."""
    found, defaults = dict(_flattened(settings)), _defaults(settings)
    rows = [Setting(key, value, defaults.get(key), defaults.get(key, value) == value) for key, value in found.items()]
    given = ("images", "labels", "classes", "out", "preset")
    rows = [row for row in rows if row.key not in given]
    return sorted(rows, key=lambda row: row.is_default)


def _defaults(settings: Mapping[str, Any]) -> dict[str, object]:
    """Return the defaults of the run's preset; none where the settings are those of another version."""
    kept = {key: settings.get(key) for key in ("images", "labels", "classes", "out", "preset")}
    kept |= {"network": {"dims": settings.get("network", {}).get("dims", 2)}}
    try:
        return dict(_flattened(Run.checked(kept, "the settings of the model").model_dump(mode="json")))
    except ConfigError:
        return {}


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield each setting with its whole name, such as `loss.beta`."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value and key not in ("classes", "frequencies", "voxel_size"):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
