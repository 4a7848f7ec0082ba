"""Progress that a person can read: steps done, loss, validation Dice now and at best, time left."""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress(ProgressBar):
    """One bar on stderr for a stage of the training; where stderr is no terminal, one line for each validation."""

    def __init__(self, stage: str, steps: int) -> None:
        super().__init__()
        self.stage, self.steps = stage.replace("_", "-"), steps
        self.console = Console(stderr=True)
        self.progress: Progress | None = None
        self.best = float("nan")
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (self._enabled and sys.stderr.isatty()):
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("<"),
        )
        text = TextColumn("loss {task.fields[loss]:.3f}  Dice {task.fields[dice]:.3f} (best {task.fields[best]:.3f})")
        self.progress = Progress(*columns, TimeRemainingColumn(), text, console=self.console)
        nan = float("nan")
        self.progress.add_task(self.stage, total=self.steps, loss=nan, dice=nan, best=nan)
        self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.progress:
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches  # of which Lightning returns a part
            self.progress.update(self.progress.task_ids[0], completed=trainer.global_step, loss=loss)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        loss, dice = (float(metrics.get(key, float("nan"))) for key in ("train/loss", "val/mean_dice"))
        self.best = max(dice, self.best) if self.best == self.best else dice
        if self.progress:
            self.progress.update(self.progress.task_ids[0], dice=dice, best=self.best)
        elif self._enabled:
            self.console.print(
                f"{self.stage} step {trainer.global_step}/{self.steps}  loss {loss:.3f}  "
                f"validation Dice {dice:.3f} (best {self.best:.3f})",
                highlight=False,
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None
