"""The stages of a training as Lightning sees them: what one step of each learns from, and how it is validated."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.errors import TrainingError
from eseg_zoo.losses import Anchors, LossTerms, UnlabelledTerms, loss_terms, unlabelled_terms
from eseg_zoo.metrics import Confusion, soft_dice
from eseg_zoo.model.dense import Classifier
from eseg_zoo.model.hvae import HVAE, Generation
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch, inner_region
from eseg_zoo.training.batches import StepBatch, Unlabelled
from eseg_zoo.training.optimisation import CHOICE, optimisation
from eseg_zoo.training.teacher import Teacher


class Stage(pl.LightningModule):
    """What all stages share: the network, its losses on either kind of patch, validation, and the optimiser.

    `settings` are those of the optimisation with the stage's own number of steps; `geometry` is that of labelled
    patches.
    """

    def __init__(self, run: Run, settings: TrainingSettings, hvae: HVAE, geometry: PatchGeometry):
        super().__init__()
        self.run, self.settings, self.hvae, self.patch_geometry = run, settings, hvae, geometry
        self.held_out: list[tuple[Tensor, Tensor]] = []  # logits and labels of the validation at hand
        self.accumulated = 0  # batches of the step at hand before this one

    @property
    def strides(self) -> list[tuple[int, ...]]:
        """Total stride of each level, finest first."""
        geometry = self.hvae.classifier.geometry
        return [geometry.stride_of(level) for level in range(len(geometry.axes[0].strides))]

    @property
    def result(self) -> Classifier:
        """The classifier that is validated and that the stage is for."""
        return self.hvae.classifier

    def settle(self) -> None:
        """Let the network's classifier be the result; called when the stage is over."""
        self.hvae.classifier.load_state_dict(self.result.state_dict())

    def noise(self) -> torch.Generator:
        """Return what the latents of this batch are drawn from.

        It follows from the seed, the number of the step, and which of the step's batches and processes this is.
        """
        part = self.global_rank * self.settings.accumulate + self.accumulated
        key = [self.run.seed, self.global_step, *([part] if part else [])]
        seed = np.random.SeedSequence(key).generate_state(1)
        return torch.Generator(self.device).manual_seed(int(seed[0]))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.accumulated = batch_idx % self.settings.accumulate

    def labelled_loss(self, batch: Batch, noise: torch.Generator) -> tuple[LossTerms, Generation]:
        """Return the terms of a labelled batch, and what the network made of it."""
        generation = self.hvae(batch.patches * (1 - batch.hidden), noise)
        terms = loss_terms(
            generation,
            self.hvae.mixture,
            Anchors(batch.position, batch.labels),
            image=batch.target,
            hidden=inner_region(batch.hidden, self.patch_geometry),
            strides=self.strides,
        )
        return terms, generation

    def unlabelled_loss(self, unlabelled: Unlabelled, noise: torch.Generator) -> tuple[UnlabelledTerms, Generation]:
        """Return the terms of unlabelled patches in the student's view, and what the network made of it."""
        student = unlabelled.student
        generation = self.hvae(student.patches * (1 - student.hidden), noise)
        geometry = PatchGeometry(tuple(student.target.shape[2:]), self.patch_geometry.margin)
        hidden = inner_region(student.hidden, geometry)
        return unlabelled_terms(generation, self.hvae.mixture, image=student.target, hidden=hidden), generation

    def on_train_epoch_end(self) -> None:
        if not all(bool(weights.isfinite().all()) for weights in self.hvae.parameters()):
            raise TrainingError(
                f"the weights are no longer finite after step {self.global_step}: the training diverged; start anew "
                f"with --force and a lower training.learning_rate than {self.settings.learning_rate:g}"
            )

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


class Supervised(Stage):
    """Stage 1 of ε-Seg: all four losses on patches around labelled pixels."""

    def training_step(self, batch: StepBatch, index: int) -> Tensor:
        assert batch.labelled is not None
        terms, _ = self.labelled_loss(batch.labelled, self.noise())
        total = terms.total(self.run.loss)
        self.log_terms(len(batch.labelled.labels), loss=total, **terms.named())
        return total


class SemiSupervised(Stage):
    """Stage 2 of ε-Seg: the same, and the generative losses and the teacher's pseudo-labels on unlabelled patches."""

    def __init__(self, run: Run, settings: TrainingSettings, hvae: HVAE, geometry: PatchGeometry):
        super().__init__(run, settings, hvae, geometry)
        self.teacher = Teacher(hvae.classifier, kept=run.semi_supervised.teacher)

    @property
    def result(self) -> Classifier:
        return self.teacher.classifier  # the better one of the two in every comparison so far, if by little

    def training_step(self, batch: StepBatch, index: int) -> Tensor:
        assert batch.labelled is not None
        assert batch.unlabelled is not None
        weights, noise = self.run.loss, self.noise()
        labelled, _ = self.labelled_loss(batch.labelled, noise)
        unlabelled, student = self.unlabelled_loss(batch.unlabelled, noise)
        pseudo = F.cross_entropy(student.logits, self.teacher.label(batch.unlabelled.clean))
        total = labelled.total(weights) + unlabelled.total(weights) + weights.delta * pseudo
        self.log_terms(
            len(batch.labelled.labels),
            loss=total,
            pseudo_labels=pseudo,
            unlabelled_inpainting=unlabelled.inpainting,
            unlabelled_kl=unlabelled.kl,
            **labelled.named(),
        )
        return total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.accumulated == self.settings.accumulate - 1:
            self.teacher.follow(self.hvae.classifier)
