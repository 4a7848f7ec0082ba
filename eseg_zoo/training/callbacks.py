"""What Lightning calls while a stage is fitted: checkpoints, stopping, waiting times, and news of how far it is."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from eseg_zoo.progress import Watch
from eseg_zoo.training.stages import Stage


def is_whole_epoch(trainer: pl.Trainer, stage: pl.LightningModule) -> bool:
    """Say whether the epoch that ends was not cut short, by Ctrl-C for instance."""
    assert isinstance(stage, Stage)
    return trainer.global_step % stage.settings.epoch_steps == 0


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
        if is_whole_epoch(trainer, pl_module):
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
