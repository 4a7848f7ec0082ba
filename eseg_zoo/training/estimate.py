"""How long a training takes in all, told from its first steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from eseg_zoo.config import Run
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.progress import told_time

if TYPE_CHECKING:
    from eseg_zoo.training.run import StagePlan

log = logging.getLogger(__name__)

# Steps that are timed, after one that is slower because everything is done for the first time.
TIMED = 5
# What a pass through the network costs: forwards, and backwards twice as much.
LEARNT, LOOKED_AT = 3, 1


def step_cost(plan: StagePlan, run: Run, geometry: PatchGeometry) -> float:
    """Return what a step costs beside those of other stages: pixels of patches times passes through the network.

    An unlabelled patch is seen by the network that learns and by the one that tells its labels. Beside measured steps
    it is right to about a fifth.
    """
    region = run.unlabelled_region(geometry.region)
    wide = prod(PatchGeometry(region, geometry.margin).size)
    return float(plan.labelled * prod(geometry.size) * LEARNT + plan.unlabelled * wide * (LEARNT + LOOKED_AT))


class Estimate:
    """The whole time of the stages, `name -> (steps, cost of a step)`, in their order."""

    def __init__(self, stages: Mapping[str, tuple[int, float]]):
        self.stages = stages

    def of(self, name: str) -> Callback:
        """Return what times the first steps of a stage and tells the estimate."""
        return _Timing(self, name)

    def seconds(self, name: str, step: int, each: float) -> float:
        """Return the seconds from this step of a stage to the end of the last one, where a step takes `each`."""
        steps, cost = self.stages[name]
        later = list(self.stages)[list(self.stages).index(name) + 1 :]
        return each * (steps - step + sum(self.stages[other][0] * self.stages[other][1] / cost for other in later))

    def tell(self, name: str, step: int, each: float) -> None:
        """Log how long it takes from here."""
        number = list(self.stages).index(name) + 1
        log.info(
            "Stage %d of %d, %s: about %s to the end of the training, less where validation stalls.",
            number, len(self.stages), name.replace("_", "-"), told_time(self.seconds(name, step, each)),
        )  # fmt: skip


class _Timing(Callback):
    """Times the first steps of a stage."""

    def __init__(self, estimate: Estimate, name: str):
        self.estimate, self.name, self.done, self.began = estimate, name, 0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.done > TIMED * trainer.accumulate_grad_batches or not trainer.is_global_zero:
            return
        if self.done == 0:
            self.began = time.perf_counter()
        elif self.done == TIMED * trainer.accumulate_grad_batches:
            each = (time.perf_counter() - self.began) / TIMED
            self.estimate.tell(self.name, trainer.global_step, each)
        self.done += 1
