"""Fitting one stage with Lightning: checkpoints, early stopping, interruptions, and going on after one."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
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
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from eseg_zoo.config import TrainingSettings
from eseg_zoo.errors import CheckpointError, StoppedError, TrainingError
from eseg_zoo.patches.source import Batch
from eseg_zoo.progress import Watch
from eseg_zoo.training.batches import EpochNumbers, StepBatch, StepBatches
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


class EpochCheckpoint(ModelCheckpoint):
    """A checkpoint of whole epochs only: one that Ctrl-C cut short is done again when the training is resumed.

    It goes on where the folder is now: Lightning would forget the best score of a folder that has moved.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | paths | {"best_k_models": best, "dirpath": self.dirpath})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Stage)
        if trainer.global_step % pl_module.settings.epoch_steps == 0:
            super().on_train_epoch_end(trainer, pl_module)


class StopTogether(Callback):
    """Ends the training after the step in which any of the processes was interrupted."""

    def __init__(self, interruption: threading.Event):
        self.interruption = interruption

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.strategy.reduce_boolean_decision(self.interruption.is_set(), all=False):
            self.interruption.set()
            trainer.should_stop = True


class Waiting(Callback):
    """Logs `train/waiting`: the share of an epoch's time that the steps waited for their batches, 0 to 1."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = self.ready = time.perf_counter()
        self.waited = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.waited += time.perf_counter() - self.ready

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.ready = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.log("train/waiting", self.waited / max(time.perf_counter() - self.began, 1e-9), sync_dist=True)


class Reporting(Callback):
    """Tells the watch how far the stage is: the loss, and the validation's mean Dice, the last and the best one.

    Not of every step: a step's loss has to wait for the device.
    """

    EVERY = 0.1  # seconds

    def __init__(self, name: str, steps: int, watch: Watch):
        self.name, self.steps, self.watch = name, steps, watch
        self.figures: dict[str, float] = {}
        self.told = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.watch.callback and time.monotonic() - self.told > self.EVERY:
            # Lightning returns a part of the loss where a step has several batches.
            self._tell(trainer, {"loss": float(outputs["loss"]) * trainer.accumulate_grad_batches})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics, found = trainer.callback_metrics, {"loss": "train/loss", "dice": "val/mean_dice"}
        figures = {name: float(metrics[key]) for name, key in found.items() if key in metrics}
        if "dice" in figures:
            figures["best"] = max(figures["dice"], self.figures.get("best", 0.0))
        self._tell(trainer, figures, is_validated=True)

    def _tell(self, trainer: pl.Trainer, figures: dict[str, float], *, is_validated: bool = False) -> None:
        self.figures |= figures
        self.told = time.monotonic()
        if trainer.is_global_zero:
            step = trainer.global_step
            self.watch.report(self.name, step, self.steps, self.figures, is_validated=is_validated)


class Patience(EarlyStopping):
    """Early stopping that also stops a training which had stopped before it was interrupted and resumed."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class Started(Callback):
    """Remembers whether the training has begun: until then a checkpoint is being taken up."""

    has_begun = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_begun = True


def fit(
    stage: Stage, batches: StepBatches, held_out: list[Batch], folder: Path, *, name: str, watch: Watch,
    start: Path | None = None, callbacks: Sequence[Callback] = (),
) -> Fitted:  # fmt: skip
    """Train the stage and leave its best weights in it, or without held-out labels its last ones.

    `folder` gets `metrics.csv`, `last.ckpt` after every validation, and `best.ckpt`. From the checkpoint `start` the
    training goes on with the same numbers as if it had never stopped. Raises `StoppedError` after SIGTERM.
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
            logger=_logger(folder),
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


def _logger(folder: Path) -> CSVLogger:
    """Return a logger to `metrics.csv` in the folder; what an interrupted training logged there gets a number."""
    earlier = folder / "metrics.csv"
    if earlier.exists():
        earlier.rename(folder / f"metrics.{len(list(folder.glob('metrics.*.csv'))) + 1}.csv")
    return CSVLogger(folder, name="", version="")


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
