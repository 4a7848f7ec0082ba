"""How long a training takes in all: told before its first step, and again from its first steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from eseg_zoo.progress import told_time

log = logging.getLogger(__name__)

# Steps that are timed, after one that is slower because everything is done for the first time.
TIMED = 5


class Estimate:
    """The whole time of the stages, `name -> (steps, work of a step)`, in their order.

    `rate` is the work of a second, as far as it is known: that of the machine at first, then that of the steps.
    """

    def __init__(self, stages: Mapping[str, tuple[int, float]], rate: float | None):
        self.stages, self.rate = stages, rate

    def of(self, name: str) -> Callback:
        """Return what tells the estimate when a stage begins, times its first steps and tells it again."""
        return _Timing(self, name)

    def measured(self, name: str, seconds: float) -> None:
        """Hear how long a step of a stage takes."""
        self.rate = self.stages[name][1] / max(seconds, 1e-9)

    def seconds(self, name: str, step: int) -> float | None:
        """Return the seconds from this step of a stage to the end of the last one; None where no rate is known."""
        if self.rate is None:
            return None
        steps, work = self.stages[name]
        later = list(self.stages)[list(self.stages).index(name) + 1 :]
        return (
            (steps - step) * work + sum(self.stages[other][0] * self.stages[other][1] for other in later)
        ) / self.rate

    def tell(self, name: str, step: int, how: str) -> None:
        """Log how long it takes from here, if that is known, and how it is known."""
        seconds = self.seconds(name, step)
        if seconds is None:
            return
        number = list(self.stages).index(name) + 1
        log.info(
            "Stage %d of %d, %s: about %s to the end of the training, %s, less where validation stalls.",
            number, len(self.stages), name.replace("_", "-"), told_time(seconds), how,
        )  # fmt: skip


class _Timing(Callback):
    """Tells the estimate at the beginning of a stage and after its first steps, which it times."""

    def __init__(self, estimate: Estimate, name: str):
        self.estimate, self.name, self.done, self.began = estimate, name, 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.estimate.tell(self.name, trainer.global_step, "as estimated before its first step")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.done > TIMED * trainer.accumulate_grad_batches or not trainer.is_global_zero:
            return
        if self.done == 0:
            self.began = time.perf_counter()
        elif self.done == TIMED * trainer.accumulate_grad_batches:
            self.estimate.measured(self.name, (time.perf_counter() - self.began) / TIMED)
            self.estimate.tell(self.name, trainer.global_step, "as its first steps show")
        self.done += 1
