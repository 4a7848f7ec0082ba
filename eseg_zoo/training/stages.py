"""The stages of a training as Lightning sees them: it drives their steps, and validates what comes of them."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.losses import Anchors
from eseg_zoo.metrics import Confusion, soft_dice
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch
from eseg_zoo.training.batches import StepBatch
from eseg_zoo.training.optimisation import CHOICE, optimisation
from eseg_zoo.training.steps import SemiSupervisedSteps, Steps, SupervisedSteps


class Stage(Steps, pl.LightningModule):
    """What all stages share: the steps, their log, validation, and the optimiser."""

    def __init__(self, run: Run, settings: TrainingSettings, hvae: HVAE, geometry: PatchGeometry):
        super().__init__(run, settings, hvae, geometry)
        self.held_out: list[tuple[Tensor, Tensor]] = []  # logits and labels of the validation at hand
        self.accumulated = 0  # batches of the step at hand before this one

    def noise(self) -> torch.Generator:
        """Return what the latents of this batch are drawn from."""
        part = self.global_rank * self.settings.accumulate + self.accumulated
        return self.noise_of(self.global_step, part, self.device)

    def training_step(self, batch: StepBatch, index: int) -> Tensor:
        assert batch.labelled is not None
        losses = self.losses(batch, self.noise())
        self.log_terms(len(batch.labelled.labels), **losses)
        return losses["loss"]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.accumulated = batch_idx % self.settings.accumulate

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.accumulated == self.settings.accumulate - 1:
            self.after_step()

    def on_train_epoch_end(self) -> None:
        self.require_finite(self.global_step)

    def log_terms(self, batch_size: int, **terms: Tensor) -> None:
        """Log the terms of a step; the epoch's mean becomes 'train/<name>'."""
        named = {f"train/{name}": value for name, value in terms.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=batch_size, sync_dist=True)

    def on_validation_epoch_start(self) -> None:
        self.held_out = []

    def validation_step(self, batch: Batch, index: int) -> None:
        logits = self.result(batch.patches).float()  # whatever the precision of the training
        at_anchor = Anchors(batch.position, batch.labels).pick(logits, tuple(1 for _ in self.patch_geometry.region))
        self.log("val/loss", F.cross_entropy(at_anchor, batch.labels), batch_size=len(batch.labels))
        self.held_out.append((at_anchor.cpu(), batch.labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        logits, labels = (torch.cat(parts) for parts in zip(*self.held_out, strict=True))
        names = self.run.classes.values()
        confusion = Confusion.of(labels.numpy(), logits.argmax(1).numpy(), classes=len(names))
        labelled = confusion.pixels > 0
        self.log("val/mean_dice", confusion.mean_dice)
        choice = float(soft_dice(logits.softmax(1).numpy(), labels.numpy())[labelled].mean())
        self.log(CHOICE, choice)
        for name, dice, present in zip(names, confusion.dice, labelled, strict=True):
            if present:
                self.log(f"val/dice/{name}", float(dice))
        self.validated(choice)

    def validated(self, choice: float) -> None:
        """Hear of a finished validation; `choice` is the figure that the best weights are chosen by."""

    def configure_optimizers(self) -> Any:
        return optimisation(self.hvae.parameters(), self.settings)


class Supervised(SupervisedSteps, Stage):
    """Stage 1."""


class SemiSupervised(SemiSupervisedSteps, Stage):
    """Stage 2."""
