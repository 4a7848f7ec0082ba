"""Fitting one stage with Lightning: checkpoints, early stopping, interruptions, and going on after one."""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.data.sampling import Batch
from eseg_zoo.errors import TrainingError
from eseg_zoo.training.averaging import MovingAverage
from eseg_zoo.training.batches import StepBatches
from eseg_zoo.training.optimisation import CHOICE, SMALLEST_GAIN
from eseg_zoo.training.progress import TrainingProgress
from eseg_zoo.training.stages import Pretraining, Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """What came of a stage."""

    steps: int
    seconds: float  # of training, without the time between an interruption and its resumption
    interrupted: bool


class RandomState(Callback):
    """Keeps the random state of the batches in the stage's checkpoints."""

    def __init__(self, batches: StepBatches):
        self.batches = batches

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches.restore(state_dict["batches"])


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


class Patience(EarlyStopping):
    """Early stopping that also stops a training which had stopped before it was interrupted and resumed."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def fit(stage: Stage, batches: StepBatches, held_out: list[Batch], folder: Path, *, name: str) -> Fitted:
    """Train the stage and leave its best weights in it, or without held-out labels its last ones.

    `folder` gets `metrics.csv`, `last.ckpt` after every validation, and `best.ckpt`. If it holds a `last.ckpt`, the
    training goes on from there, with the same numbers as if it had never stopped.
    """
    keep_freed_memory()
    settings, validated = stage.settings, bool(held_out) and not isinstance(stage, Pretraining)
    with quiet_lightning():
        last = EpochCheckpoint(folder, filename="last", enable_version_counter=False)
        best = EpochCheckpoint(folder, filename="best", monitor=CHOICE, mode="max", enable_version_counter=False)
        timer = Timer()
        interruption = threading.Event()
        callbacks: list[Callback] = [timer, TrainingProgress(name, settings.steps), RandomState(batches)]
        callbacks += [StopTogether(interruption), Waiting()]
        if settings.ema:
            callbacks.append(MovingAverage(settings.ema))
        if validated:
            callbacks += [best, Patience(CHOICE, mode="max", patience=settings.patience, min_delta=SMALLEST_GAIN)]
        trainer = pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            # Not every step uses every weight: pre-training classifies nothing.
            strategy="ddp_find_unused_parameters_true" if settings.distributed else "auto",
            precision=settings.precision,
            accumulate_grad_batches=settings.accumulate,
            use_distributed_sampler=False,  # every process validates on all that is held out, and draws its own part
            # Not max_steps: with that, Lightning would end the last epoch once more when a training is resumed.
            max_epochs=settings.steps // settings.epoch_steps,
            gradient_clip_val=settings.gradient_clip,
            num_sanity_val_steps=0,
            logger=_logger(folder),
            callbacks=[*callbacks, last],
            enable_model_summary=False,
        )
        unfinished = folder / "last.ckpt"
        validation: Any = DataLoader(held_out, batch_size=None) if validated else None  # type: ignore[arg-type]
        with _setting_on_interrupt(interruption), _keeping_what_was_good(best, interruption):
            trainer.fit(
                stage,
                DataLoader(batches, batch_size=None),
                validation,
                ckpt_path=unfinished if unfinished.exists() else None,
                weights_only=True,
            )
        if best.best_model_path:
            stage.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    return Fitted(trainer.global_step, timer.time_elapsed(), interruption.is_set())


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
        # One process is right here: cutting a patch costs less than sending it to another process.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # With --force an existing folder is what the user wants.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        # Few labels may leave none to hold out.
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
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
