"""One training run: read, train, choose the best, measure, and write `model.pt`."""

from __future__ import annotations

import copy
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from eseg_zoo.calibration import fit_temperature
from eseg_zoo.checkpoint import Checkpoint, TrainingRecord
from eseg_zoo.config import Run
from eseg_zoo.data.patches import PatchGeometry
from eseg_zoo.data.sampling import AnchorSet, Batch, PatchSource
from eseg_zoo.errors import OutputError
from eseg_zoo.frequencies import consistent_frequencies, largest_strength, log_prior_shift, supported_strength
from eseg_zoo.inference.volume import predict_section, prepare
from eseg_zoo.losses import Anchors
from eseg_zoo.model.dense import Architecture, DenseSegmenter
from eseg_zoo.output import make_folder, refuse_existing
from eseg_zoo.training.averaging import MovingAverage
from eseg_zoo.training.data import TrainingBatches, TrainingData, read_training_data, validation_batches
from eseg_zoo.training.module import CHOICE, SMALLEST_GAIN, SupervisedTraining
from eseg_zoo.training.progress import TrainingProgress

log = logging.getLogger(__name__)

# What EM sees of the training images: sections spread over the stack, of each the centre, and of that every few pixels
# along each axis, because neighbours say the same.
FREQUENCY_SECTIONS = 8
FREQUENCY_SIDE = {2: 768, 3: 96}
FREQUENCY_STEP = {2: 5, 3: 3}
# Side of the sample in the checkpoint: large enough to look at, small enough to ship.
SAMPLE_SIDE = {2: 512, 3: 64}


def train(run: Run, *, force: bool = False) -> Path:
    """Train and return the path of `out/model.pt`; beside it are `metrics.csv`, `best.ckpt` and `last.ckpt`.

    Raises `InputError` for unusable data, and `OutputError` when `model.pt` exists (unless `force`) or cannot be
    written. An interruption (Ctrl-C) ends the training early and still writes the best model so far.
    """
    target = run.out / "model.pt"
    refuse_existing(target, force=force)
    data = read_training_data(run)
    make_folder(run.out)
    architecture = run.network.architecture(channels=data.channels, classes=len(run.classes))
    geometry = Architecture(**architecture).geometry
    source = PatchSource.of(data.images, PatchGeometry(geometry.stride, geometry.margin), data.statistics)
    names = tuple(run.classes.values())
    module = SupervisedTraining(run, Architecture(**architecture), source.geometry, names)
    started = time.monotonic()
    try:
        trainer = _fit(run, module, source, data)
    except OSError as error:
        raise OutputError(f"{run.out} cannot be written to: {error.strerror or error}") from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error):  # how torch reports a full disk
            raise
        raise OutputError(f"{run.out} cannot be written to: {error}") from error
    record = TrainingRecord(
        seconds=time.monotonic() - started,
        steps=trainer.global_step,
        labelled_pixels=_pixels(data.training, names),
        labelled_fraction=data.labelled_fraction,
        validation_pixels=_pixels(data.validation, names),
        validation=_figures(trainer),
        versions={package: version(package) for package in ("eseg_zoo", "torch", "lightning", "numpy")},
    )
    _checkpoint(run, data, source, module, architecture, record).save(target, force=force)
    return target


def _fit(run: Run, module: SupervisedTraining, source: PatchSource, data: TrainingData) -> pl.Trainer:
    """Train the module and leave the best weights in it; returns the trainer with the figures of these weights."""
    settings = run.training
    validated = len(data.validation) > 0
    with _quiet_lightning():
        last = ModelCheckpoint(run.out, filename="last", enable_version_counter=False)
        best = ModelCheckpoint(run.out, filename="best", monitor=CHOICE, mode="max", enable_version_counter=False)
        callbacks: list[Callback] = [TrainingProgress(), last]
        if settings.ema:
            callbacks.append(MovingAverage(settings.ema))
        if validated:
            callbacks += [best, EarlyStopping(CHOICE, mode="max", patience=settings.patience, min_delta=SMALLEST_GAIN)]
        trainer = pl.Trainer(
            accelerator=settings.accelerator,
            devices=1,
            max_steps=settings.steps,
            gradient_clip_val=settings.gradient_clip,
            num_sanity_val_steps=0,
            logger=CSVLogger(run.out, name="", version=""),
            callbacks=callbacks,
            enable_model_summary=False,
        )
        batches = DataLoader(TrainingBatches(source, data.training, run), batch_size=None)
        held_out: Any = validation_batches(source, data.validation, run)  # a list is a data set to DataLoader
        validation: DataLoader[Batch] = DataLoader(held_out, batch_size=None)
        with _stop_on_interrupt(trainer):
            trainer.fit(module, batches, validation if validated else None)
        if best.best_model_path:
            module.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
        if validated:
            trainer.validate(module, validation, verbose=False)
    return trainer


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence what Lightning tells a user who cannot or need not change it."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)  # tips, and lines on absent devices
    with warnings.catch_warnings():
        # One process is right here: cutting a patch costs less than sending it to another process.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # With --force an existing folder is what the user wants.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        # Few labels may leave none to hold out.
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
        # Lightning 2.6 with torch 2.13.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        yield
    logger.setLevel(level)


@contextmanager
def _stop_on_interrupt(trainer: pl.Trainer) -> Iterator[None]:
    """Let the first Ctrl-C end the training after the step at hand; a second one aborts it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        log.warning("Stopping after this step; press Ctrl-C again to abort without a model.")
        trainer.should_stop = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _figures(trainer: pl.Trainer) -> dict[str, float]:
    """Return the validation figures without Lightning's prefix: 'mean_dice', 'loss', 'dice/<class>'."""
    measured = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {key.removeprefix("val/"): value for key, value in measured.items() if key.startswith("val/")}


def _pixels(anchors: AnchorSet, names: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(anchors.labels, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def _checkpoint(
    run: Run,
    data: TrainingData,
    source: PatchSource,
    module: SupervisedTraining,
    architecture: dict[str, Any],
    record: TrainingRecord,
) -> Checkpoint:
    """Return the finished model: statistics and class-frequency correction go into the inference network."""
    segmenter = DenseSegmenter(**architecture)
    segmenter.classifier.load_state_dict(module.hvae.classifier.state_dict())
    segmenter.mean.copy_(torch.from_numpy(data.statistics.mean).reshape(segmenter.mean.shape))
    segmenter.std.copy_(torch.from_numpy(data.statistics.std).reshape(segmenter.std.shape))
    held_out = _held_out_logits(module, source, data)
    segmenter.temperature.fill_(fit_temperature(*held_out))
    balanced = np.full(len(run.classes), 1 / len(run.classes))
    frequencies, strength = _class_frequencies(run, data, segmenter, balanced, held_out)
    shift = torch.from_numpy(log_prior_shift(frequencies, training=balanced, strength=strength))
    segmenter.log_prior_shift.copy_(shift.reshape(segmenter.log_prior_shift.shape))
    return Checkpoint(
        architecture=architecture,
        segmenter_state=segmenter.state_dict(),
        generative_state=module.hvae.generative_state(),
        class_names=tuple(run.classes.values()),
        class_values=tuple(run.classes),
        class_frequencies=tuple(frequencies.tolist()),
        frequency_source={"estimate": "estimated", "balanced": "balanced"}.get(str(run.frequencies), "given"),
        channel_names=data.channel_names,
        axes=run.axes,
        voxel_size=data.voxel_size,
        image_dtype=str(data.images[0].dtype),
        sample=torch.from_numpy(_sample(run, data)),
        settings=run.model_dump(mode="json"),
        training=record,
    )


def _held_out_logits(
    module: SupervisedTraining, source: PatchSource, data: TrainingData
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the logits (pixels, classes) of the held-out labelled pixels, and their labels (pixels,)."""
    classifier = module.hvae.classifier.eval()
    logits, labels = [np.zeros((0, len(module.run.classes)), np.float32)], [np.zeros(0, np.int64)]
    with torch.inference_mode():
        for batch in validation_batches(source, data.validation, module.run):
            pixel = tuple(1 for _ in source.geometry.region)
            patches = batch.patches.to(module.device)
            logits.append(Anchors(batch.position, batch.labels).pick(classifier(patches).cpu(), pixel).numpy())
            labels.append(batch.labels.numpy())
    return np.concatenate(logits), np.concatenate(labels)


def _class_frequencies(
    run: Run,
    data: TrainingData,
    segmenter: DenseSegmenter,
    balanced: NDArray[np.float64],
    held_out: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> tuple[NDArray[np.float64], float]:
    """Return the class frequencies (classes,) that the run asks for, and the strength of the shift towards them."""
    if run.frequencies == "balanced":
        return balanced, run.prior_strength
    logits, temperature = _unlabelled_logits(run, data, segmenter), float(segmenter.temperature)
    if isinstance(run.frequencies, dict):
        given = np.array([run.frequencies[name] for name in run.classes.values()])
        frequencies = np.asarray(given / given.sum())
    else:
        frequencies = consistent_frequencies(logits, temperature=temperature, training=balanced)
    safe = largest_strength(logits / temperature, frequencies, training=balanced, limit=run.prior_strength)
    labelled, labels = held_out
    rng = np.random.default_rng(run.seed)
    strength = supported_strength(labelled / temperature, labels, frequencies, training=balanced, limit=safe, rng=rng)
    if strength < run.prior_strength:
        reason = "more would cost Dice on the held-out labels" if strength < safe else "more would erase a rare class"
        log.warning("The correction for class frequencies has strength %.2f: %s.", strength, reason)
    return frequencies, strength


def _unlabelled_logits(run: Run, data: TrainingData, segmenter: DenseSegmenter) -> NDArray[np.float32]:
    """Return logits (pixels, classes) of pixels all over the training sections, up to a constant of each pixel."""
    chosen = np.unique(np.linspace(0, len(data.training_sections) - 1, FREQUENCY_SECTIONS).round().astype(int))
    ready = prepare(copy.deepcopy(segmenter).eval(), torch.device("cpu"))
    ready.temperature.fill_(1)
    step = slice(None, None, FREQUENCY_STEP[run.network.dims])
    seen = []
    for number in chosen:
        section = data.images[data.training_sections[number]]
        window = tuple(_centred(n, FREQUENCY_SIDE[run.network.dims]) for n in section.shape[1:])
        found = predict_section(ready, section[(slice(None), *window)])
        thinned = found[(slice(None), *(step for _ in window))]
        seen.append(thinned.reshape(len(found), -1).T)
    probabilities = np.concatenate(seen)
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)))


def _centred(length: int, side: int) -> slice:
    start = max(length - side, 0) // 2
    return slice(start, min(start + side, length))


def _sample(run: Run, data: TrainingData) -> NDArray[np.generic]:
    """Return the crop (c, *space) of a training section in which the most classes have labels."""
    side = SAMPLE_SIDE[run.network.dims]
    places = data.training.places
    best, best_count = places[0], 0
    for candidate in places[np.linspace(0, len(places) - 1, 100).round().astype(int)]:
        near = (places[:, 0] == candidate[0]) & (np.abs(places[:, 1:] - candidate[1:]) < side // 2).all(1)
        count = len(np.unique(data.training.labels[near]))
        if count > best_count:
            best, best_count = candidate, count
    section = data.images[best[0]]
    starts = [min(max(p - side // 2, 0), max(n - side, 0)) for p, n in zip(best[1:], section.shape[1:], strict=True)]
    window = (slice(start, start + side) for start in starts)
    return np.ascontiguousarray(section[(slice(None), *window)])
