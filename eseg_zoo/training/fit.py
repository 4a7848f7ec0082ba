"""Fitting one stage with Lightning: checkpoints, early stopping, interruptions, and going on after one."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import dask
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from eseg_zoo.config import TrainingSettings
from eseg_zoo.errors import CheckpointError, StoppedError, TrainingError
from eseg_zoo.patches.source import Batch
from eseg_zoo.progress import Watch
from eseg_zoo.training.batches import EpochNumbers, StepBatch, StepBatches
from eseg_zoo.training.callbacks import EpochCheckpoint, Patience, Reporting, Started, StopTogether, Waiting
from eseg_zoo.training.optimisation import CHOICE, SMALLEST_GAIN
from eseg_zoo.training.processes import environment_of
from eseg_zoo.training.saving import WholeCheckpoints, read_stage
from eseg_zoo.training.stages import Stage

log = logging.getLogger(__name__)

# Processes that cut batches beside a GPU, at most.
MOST_WORKERS = 8


@dataclass(frozen=True)
class Fitted:
    """What came of a stage."""

    steps: int
    seconds: float  # of training, without the time between an interruption and its resumption
    interrupted: bool


def fit(
    stage: Stage, batches: StepBatches, held_out: list[Batch], folder: Path, *, name: str, watch: Watch,
    start: Path | None = None, callbacks: Sequence[Callback] = (),
) -> Fitted:  # fmt: skip
    """Train the stage and leave its best weights in it, or without held-out labels its last ones.

    `folder` gets `last.ckpt` after every validation, and `best.ckpt`. From the checkpoint `start` the training goes on
    with the same numbers as if it had never stopped. `callbacks` hear of an epoch's end before its checkpoints are
    written. Raises `StoppedError` after SIGTERM.
    """
    settings, validated = stage.settings, bool(held_out)
    with quiet_lightning():
        last = EpochCheckpoint(folder, filename="last", enable_version_counter=False)
        best = EpochCheckpoint(folder, filename="best", monitor=CHOICE, mode="max", enable_version_counter=False)
        timer, started = Timer(), Started()
        own: list[Callback] = [started, timer, Reporting(name, settings.steps, watch)]
        own += [StopTogether(watch.stopped), Waiting(), *callbacks]
        if validated:
            own += [best, Patience(CHOICE, mode="max", patience=settings.patience, min_delta=SMALLEST_GAIN)]
        trainer = pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy="ddp" if settings.distributed else "auto",
            precision=settings.precision,
            accumulate_grad_batches=settings.accumulate,
            use_distributed_sampler=False,  # every process validates on all that is held out, and draws its own part
            # Not max_steps: with that, Lightning would end the last epoch once more when a training is resumed.
            max_epochs=settings.steps // settings.epoch_steps,
            log_every_n_steps=settings.epoch_steps,  # means of epochs are logged; Lightning warns of shorter ones
            gradient_clip_val=settings.gradient_clip,
            num_sanity_val_steps=0,
            logger=False,  # EpochLog writes one row for each epoch
            callbacks=[*own, last],
            plugins=[WholeCheckpoints(), environment_of(settings)],
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        validation: Any = DataLoader(held_out, batch_size=None) if validated else None  # type: ignore[arg-type]
        with (
            _setting_on_interrupt(watch.stopped),
            _keeping_what_was_good(best, watch.stopped),
            _ending_in_words(trainer, started, start),
        ):
            trainer.fit(stage, _loader(batches, settings), validation, ckpt_path=start, weights_only=True)
        if best.best_model_path:
            stage.load_state_dict(read_stage(Path(best.best_model_path))["state_dict"])
    return Fitted(trainer.global_step, timer.time_elapsed(), watch.stopped.is_set())


def _loader(batches: StepBatches, settings: TrainingSettings) -> DataLoader[StepBatch]:
    """Return what hands out the batches, each process cutting the next ones while a step is made."""
    workers = wanted_workers(settings)
    return DataLoader(
        batches,
        batch_size=None,
        sampler=EpochNumbers(settings.epoch_steps * settings.accumulate),
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_compute_here,
    )


def _compute_here(number: int) -> None:
    """Let Dask arrays be computed in this process itself: the threads of its parent are not in a forked one."""
    dask.config.set(scheduler="synchronous")


def wanted_workers(settings: TrainingSettings) -> int:
    """Return how many processes cut batches: by default none on a CPU, which the steps keep busy.

    Beside a GPU it is a core each, up to `MOST_WORKERS`, but one; on Windows and macOS, where each would hold a copy of
    the images, none.
    """
    if "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":
        return 0
    if settings.workers is not None:
        return settings.workers
    on_gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    return min(max((os.cpu_count() or 1) // settings.devices - 1, 0), MOST_WORKERS) if on_gpu else 0


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence what Lightning tells a user who cannot or need not change it."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)  # tips, and lines on absent devices
    with warnings.catch_warnings(), ExitStack() as stack:
        stack.callback(logger.setLevel, level)
        # On a CPU one process is right: cutting a patch costs less than sending it to another process.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # With --force an existing folder is what the user wants.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        # Few labels may leave none to hold out.
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
        # The processes that cut batches only read, and use no thread of this one.
        warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
        # Lightning 2.6 with torch 2.13.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        yield


@contextmanager
def _keeping_what_was_good(best: ModelCheckpoint, interruption: threading.Event) -> Iterator[None]:
    """Let a training that diverged end like an interrupted one, with the best weights before it, if there are any."""
    try:
        yield
    except TrainingError as error:
        if not best.best_model_path:
            raise
        log.warning("The best weights so far become the model: %s", error)
        interruption.set()


@contextmanager
def _ending_in_words(trainer: pl.Trainer, started: Started, start: Path | None) -> Iterator[None]:
    """Tell in one line that SIGTERM ended the training, or that a checkpoint is not what Lightning takes up."""
    try:
        yield
    except SIGTERMException as error:
        raise StoppedError(f"SIGTERM ended the training after step {trainer.global_step}; --resume goes on") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if start is None or started.has_begun:
            raise
        raise CheckpointError(f"{start} is damaged: it lacks what a training goes on with ({error})") from error


@contextmanager
def _setting_on_interrupt(interruption: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C set the event, which ends the training after the step at hand; a second one aborts it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        log.warning("Stopping after this step; press Ctrl-C again to abort at once, without a model.")
        interruption.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
