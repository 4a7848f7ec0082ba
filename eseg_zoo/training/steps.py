"""What one step of each stage learns from, in plain torch: whoever drives the steps, their losses are these."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.errors import TrainingError
from eseg_zoo.losses import Anchors, LossTerms, UnlabelledTerms, loss_terms, unlabelled_terms
from eseg_zoo.model.dense import Classifier
from eseg_zoo.model.hvae import HVAE, Generation
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch, inner_region
from eseg_zoo.training.batches import StepBatch, Unlabelled
from eseg_zoo.training.teacher import Teacher


class Steps(nn.Module):
    """The network of a stage, and its losses on either kind of patch.

    `settings` are those of the optimisation with the stage's own number of steps; `geometry` is that of labelled
    patches.
    """

    def __init__(self, run: Run, settings: TrainingSettings, hvae: HVAE, geometry: PatchGeometry):
        super().__init__()
        self.run, self.settings, self.hvae, self.patch_geometry = run, settings, hvae, geometry

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

    def losses(self, batch: StepBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """Return what the step minimises, as `loss`, and the terms that it is made of, each a scalar."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Follow the weights after the optimiser's step."""

    def noise_of(self, step: int, part: int, device: torch.device) -> torch.Generator:
        """Return what the latents of a batch are drawn from.

        It follows from the seed, the number of the step, and which of the step's batches and processes this is.
        """
        key = [self.run.seed, step, *([part] if part else [])]
        seed = np.random.SeedSequence(key).generate_state(1)
        return torch.Generator(device).manual_seed(int(seed[0]))

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

    def require_finite(self, step: int) -> None:
        """Raise `TrainingError` where the training has diverged."""
        if not all(bool(weights.isfinite().all()) for weights in self.hvae.parameters()):
            raise TrainingError(
                f"the weights are no longer finite after step {step}: the training diverged; start anew "
                f"with --force and a lower training.learning_rate than {self.settings.learning_rate:g}"
            )


class SupervisedSteps(Steps):
    """Stage 1 of ε-Seg: all four losses on patches around labelled pixels."""

    def losses(self, batch: StepBatch, noise: torch.Generator) -> dict[str, Tensor]:
        assert batch.labelled is not None
        terms, _ = self.labelled_loss(batch.labelled, noise)
        return {"loss": terms.total(self.run.loss), **terms.named()}


class SemiSupervisedSteps(Steps):
    """Stage 2 of ε-Seg: the same, and the generative losses and the teacher's pseudo-labels on unlabelled patches."""

    def __init__(self, run: Run, settings: TrainingSettings, hvae: HVAE, geometry: PatchGeometry):
        super().__init__(run, settings, hvae, geometry)
        self.teacher = Teacher(hvae.classifier, kept=run.semi_supervised.teacher)

    @property
    def result(self) -> Classifier:
        return self.teacher.classifier  # the better one of the two in every comparison so far, if by little

    def losses(self, batch: StepBatch, noise: torch.Generator) -> dict[str, Tensor]:
        assert batch.labelled is not None
        assert batch.unlabelled is not None
        weights = self.run.loss
        labelled, _ = self.labelled_loss(batch.labelled, noise)
        unlabelled, student = self.unlabelled_loss(batch.unlabelled, noise)
        labels = batch.unlabelled.labels_of(self.teacher.label(batch.unlabelled.clean))
        pseudo = F.cross_entropy(student.logits, labels)
        return {
            "loss": labelled.total(weights) + unlabelled.total(weights) + weights.delta * pseudo,
            "pseudo_labels": pseudo,
            "unlabelled_inpainting": unlabelled.inpainting,
            "unlabelled_kl": unlabelled.kl,
            **labelled.named(),
        }

    def after_step(self) -> None:
        self.teacher.follow(self.hvae.classifier)
