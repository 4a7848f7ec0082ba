"""What a training would find in the files of a run, what it would take, and what will hurt: known in seconds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from eseg_zoo.config import Run
from eseg_zoo.images.channels import default_names
from eseg_zoo.machine import has_gpu, multiply_adds_per_second
from eseg_zoo.memory import free_memory
from eseg_zoo.output import make_folder, replacing
from eseg_zoo.patches.intensity import Intensities
from eseg_zoo.patches.survey import Differences
from eseg_zoo.progress import told_time
from eseg_zoo.training.cautions import Labelled, cautions, intensities_of_images
from eseg_zoo.training.data import (
    LabelledImage,
    TrainingData,
    bytes_held,
    open_pairs,
    read_labels,
    read_training_data,
    with_classes,
)
from eseg_zoo.training.expected import expected
from eseg_zoo.training.label_summary import LabelSummary, summary_of
from eseg_zoo.training.length import suited_to_labels
from eseg_zoo.training.likeness import with_likeness
from eseg_zoo.training.plans import VALIDATION_ANCHORS_PER_CLASS, with_preset_of_machine

# Images of no more bytes are read whole, as training does: it takes a few seconds. Of larger ones samples are read.
READ_WHOLE = 1 << 28
# A training of more seconds on a CPU is told: two days.
LONG = 2 * 86400


@dataclass(frozen=True)
class Check:
    """What was found."""

    run: Run  # with its preset
    data: Labelled
    intensities: list[Intensities | None]  # of each image
    summary: LabelSummary
    on_gpu: bool
    memory: float  # bytes
    seconds: float | None  # None on a GPU, whose rate is not known before it is used
    notes: list[str]  # what training would tell
    warnings: list[str]

    def figures(self) -> dict[str, Any]:
        """Return everything as plain values, for a JSON file."""
        summary, run = self.summary, self.run
        return {
            "images": [self._image(number) for number in range(len(self.data.images))],
            "axes": [image.axes for image in self.data.images],
            "voxel_size": self.data.voxel_size,
            "labelled_pixels": summary.pixels,
            "strokes": summary.strokes,
            "slices": {
                "by_class": summary.slices,
                "all": summary.all_slices,
                "labelled": [
                    {"image": self.data.images[image].name, "slice": number}
                    for image, number in summary.labelled_slices
                ],
            },
            "held_out": {
                "slices": run.slices.validation,
                "fraction": None if run.slices.validation else run.training.validation_fraction,
                "pixels": summary.held_out_pixels,
                "strokes": summary.held_out_strokes,
            },
            "preset": run.preset,
            "on_gpu": self.on_gpu,
            "memory_bytes": round(self.memory),
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "warnings": self.warnings,
        }

    def _image(self, number: int) -> dict[str, Any]:
        image, known = self.data.images[number], self.intensities[number]
        names = image.channels or default_names(image.sizes["c"])
        channels = zip(self.data.channel_names, known.channels, strict=True) if known else ()
        return {
            "name": image.name,
            "shape": list(image.shape),
            "axes": image.axes,
            "channels": list(self.run.channels or names),
            "voxel_size": image.voxel_size,
            "dtype": image.dtype.name,
            "intensity": {name: asdict(one) for name, one in channels},
            "sampled": known is not None and known.sampled,
        }


def check_run(run: Run) -> Check:
    """Return what training would find and take; of large images only samples are read.

    Raises what `train_run` raises for settings and files that it does not take.
    """
    on_gpu = has_gpu() and run.training.accelerator != "cpu"
    with _kept_log() as records:
        run = with_preset_of_machine(run, on_gpu=on_gpu)
        pairs = open_pairs(run)
        run = with_classes(run, pairs)
        data, intensities = _look(run, pairs)
        differences = data.differences if isinstance(data, TrainingData) else Differences()
        run = suited_to_labels(with_likeness(run, differences), data.training, differences)
    names = list(run.classes.values())
    shape = run.network.architecture(channels=len(data.channel_names), classes=len(names), voxel_size=data.voxel_size)
    summary = summary_of(data.sections, data.training, data.validation, names)
    validated = sum(min(count, VALIDATION_ANCHORS_PER_CLASS) for count in summary.held_out_pixels.values())
    found = expected(run, shape, validated=validated)
    seconds = None if on_gpu else found.work * run.training.devices / multiply_adds_per_second()
    memory = found.memory + bytes_held([pair.image for pair in pairs])
    warnings = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    warnings += cautions(run, data, shape.geometry, intensities)
    warnings += _of_machine(memory, seconds, on_gpu=on_gpu)
    notes = [record.getMessage() for record in records if record.levelno < logging.WARNING]
    return Check(run, data, intensities, summary, on_gpu, memory, seconds, notes, warnings)


def _look(run: Run, pairs: Sequence[LabelledImage]) -> tuple[Labelled, list[Intensities | None]]:
    """Return images and labels, as training opens and splits them, and what the pixels of each image hold."""
    if sum(pair.image.dtype.itemsize * prod(pair.image.shape) for pair in pairs) > READ_WHOLE:
        labelled = read_labels(run, pairs)
        return labelled, intensities_of_images(labelled)
    data = read_training_data(run, pairs)
    return data, intensities_of_images(data, data.contents)


def write_figures(check: Check, path: Path, *, force: bool) -> None:
    """Write what was found as JSON; raises `OutputError` where that cannot be, or `path` exists without `force`."""
    make_folder(path.parent)
    with replacing(path, force=force) as temporary:
        temporary.write_text(json.dumps(check.figures(), indent=2) + "\n", encoding="utf-8")


def _of_machine(memory: float, seconds: float | None, *, on_gpu: bool) -> Iterator[str]:
    free = free_memory()
    if memory > free and not on_gpu:
        yield (
            f"The training takes about {memory / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: close other "
            "programs, or set a smaller training.batch_size and semi_supervised.labelled"
        )
    if seconds is not None and seconds > LONG:
        yield f"The training takes about {told_time(seconds)} on this CPU; preset: small is for CPUs, others want a GPU"


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _kept_log() -> Iterator[Sequence[logging.LogRecord]]:
    """Keep what the package logs instead of showing it; the same code tells it while it trains."""
    logger, kept = logging.getLogger("eseg_zoo"), _Kept()
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [kept], False
    logger.setLevel(logging.INFO)
    try:
        yield kept.records
    finally:
        logger.handlers, logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
