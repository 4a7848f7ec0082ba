"""The training as it was published, where it differs from this project's own: `preset: paper`.

Source: S. Rahnamai Kordasiabi, D. Dalle Nogare, F. Jug, arXiv:2510.18637 (2025). Both stages step by Adamax and halve
the learning rate where validation stalls. In the semi-supervised stage each anchor brings unlabelled neighbours within
a radius, which grows where validation stalls. A neighbour gets a pseudo-label where its latent means are near to the
running means of a class, by more and more certainty. There is no teacher.

The losses and the network are those of the default training, whose dense patches change two things. The neighbours of
an anchor are pixels of its own patch, as far as they lie in the region that this predicts. And what pays inpainting and
the KL to the mixture without labels are patches from anywhere, not around anchors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from eseg_zoo.config import PaperSettings, Run, TrainingSettings
from eseg_zoo.losses import Anchors, pseudo_label_loss
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.training.batches import StepBatch
from eseg_zoo.training.optimisation import CHOICE, SMALLEST_GAIN, warmup_steps
from eseg_zoo.training.stages import Stage, Supervised

# The oldest batches that a running class mean still feels.
MEMORY = 100


def paper_optimisation(parameters: Iterable[nn.Parameter], settings: TrainingSettings, paper: PaperSettings) -> Any:
    """Return Adamax and its schedule as Lightning wants them: a warm-up, then half the rate where validation stalls."""
    optimiser = torch.optim.Adamax(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rising = warmup_steps(settings)
    warmup = LinearLR(optimiser, 1 / rising, total_iters=rising - 1)
    plateau = ReduceLROnPlateau(
        optimiser,
        "max",
        factor=0.5,
        patience=paper.plateau_patience - 1,  # torch lowers the rate one validation after its patience
        threshold=SMALLEST_GAIN,
        threshold_mode="abs",
    )
    plateau.cooldown_counter = rising // settings.epoch_steps  # validations within the warm-up do not count
    epoch_batches = settings.epoch_steps * settings.accumulate
    return [optimiser], [
        {"scheduler": warmup, "interval": "step"},
        # After the last step of an epoch: at its end it would be too late for the checkpoint, which is written before.
        # Lightning counts batches here, not steps.
        {"scheduler": plateau, "interval": "step", "frequency": epoch_batches, "monitor": CHOICE},
    ]


def paper_settings(run: Run) -> PaperSettings:
    """Return the settings that a run with `preset: paper` has."""
    assert run.paper is not None, "the preset fills them in"
    return run.paper


def latents_of(posteriors: list[Gaussian], strides: list[tuple[int, ...]]) -> Tensor:
    """Return the latent means of all levels at every pixel, (b, latents of all levels, *region), without gradient.

    `posteriors` have means (b, latents, *cells of the level); `strides` are the levels' total strides. Finest first.
    """
    column = []
    for posterior, stride in zip(posteriors, strides, strict=True):
        mean = posterior.mean.detach()
        for axis, step in enumerate(stride, start=2):
            mean = mean.repeat_interleave(step, axis)
        column.append(mean)
    return torch.cat(column, 1)


class PseudoLabeller(nn.Module):
    """Gives pixels class probabilities by the nearness of their latents to running class means.

    All that it knows is in buffers, so a checkpoint of the stage has it.
    """

    class_means: Tensor  # (classes, latents of all levels), of the anchors, a running average
    seen: Tensor  # (classes,), batches that each mean is made of
    spread: Tensor  # mean squared distance of the anchors to their class mean, a running average
    radius: Tensor  # pixels around an anchor in which its neighbours are drawn
    best: Tensor  # highest validation figure so far
    stalled: Tensor  # validations since it last rose, or since the radius grew

    def __init__(self, settings: PaperSettings, *, classes: int, latents: int):
        super().__init__()
        self.settings = settings
        self.register_buffer("class_means", torch.zeros(classes, latents))
        self.register_buffer("seen", torch.zeros(classes))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("radius", torch.tensor(settings.radius))
        self.register_buffer("best", torch.tensor(-1.0))
        self.register_buffer("stalled", torch.tensor(0))

    @torch.no_grad()
    def observe_anchors(self, latents: Tensor, labels: Tensor) -> None:
        """Update the running class means by the anchors' latents (n, latents of all levels) and labels (n,)."""
        for index in torch.unique(labels):
            self.seen[index] += 1
            rate = max(1 / float(self.seen[index]), 1 / MEMORY)
            self.class_means[index] += rate * (latents[labels == index].mean(0) - self.class_means[index])
        distance = (latents - self.class_means[labels]).square().sum(1).mean()
        self.spread += max(1 / float(self.seen.max()), 1 / MEMORY) * (distance - self.spread)

    def label(self, latents: Tensor) -> Tensor:
        """Return class probabilities (b, classes, *region) of latents (b, latents of all levels, *region).

        They are softmax(-d^2 / spread) over the class means; a class without an anchor so far has probability 0.
        """
        means = self.class_means[(None, ..., *(None for _ in latents.shape[2:]))]
        distance = (latents[:, None] - means).square().sum(2)
        unseen = (self.seen == 0).reshape(1, -1, *(1 for _ in latents.shape[2:]))
        return (-distance / self.spread.clamp(min=1e-6)).masked_fill(unseen, -1e9).softmax(1)

    def neighbours(self, position: Tensor, region: tuple[int, ...], noise: torch.Generator) -> Tensor:
        """Return a mask (b, *region) of random pixels within the radius of `position` (b, dims), but not that itself.

        They are `settings.neighbours`, or all that there are where these are fewer.
        """
        squared = torch.zeros(len(position), *region, device=position.device)
        for axis, length in enumerate(region):
            offsets = torch.arange(length, device=position.device) - position[:, axis, None]
            shape = [len(position), *(length if other == axis else 1 for other in range(len(region)))]
            squared = squared + offsets.square().reshape(shape)
        within = (squared > 0) & (squared <= self.radius.square())
        order = torch.rand(within.shape, generator=noise, device=within.device).masked_fill(~within, -1).flatten(1)
        first = order.topk(min(self.settings.neighbours, order.shape[1]), 1).indices
        return torch.zeros_like(order, dtype=torch.bool).scatter(1, first, True).reshape(within.shape) & within

    def confidence(self, progress: float) -> float:
        """Return the probability that a pseudo-label needs, at this share (0..1) of the stage."""
        first, last = self.settings.confidence
        return first + (last - first) * progress

    def observe_validation(self, figure: float) -> None:
        """Let the radius grow by a pixel when validation has stalled for `radius_patience` validations."""
        if figure > float(self.best) + SMALLEST_GAIN:
            self.best.fill_(figure)
            self.stalled.zero_()
            return
        self.stalled += 1
        if int(self.stalled) >= self.settings.radius_patience:
            self.radius += 1
            self.stalled.zero_()


class PaperSupervised(Supervised):
    """Stage 1: the default one's losses, by Adamax and a plateau decay."""

    def configure_optimizers(self) -> Any:
        return paper_optimisation(self.hvae.parameters(), self.settings, paper_settings(self.run))


class PaperSemiSupervised(Stage):
    """Stage 2: the same, and pseudo-labels of the anchors' neighbours; unlabelled patches pay the generative losses."""

    def __init__(self, run: Run, settings: TrainingSettings, hvae: HVAE, geometry: PatchGeometry):
        super().__init__(run, settings, hvae, geometry)
        latents = len(self.strides) * run.network.latents
        self.labeller = PseudoLabeller(paper_settings(run), classes=len(run.classes), latents=latents)

    def losses(self, batch: StepBatch, noise: torch.Generator) -> dict[str, Tensor]:
        assert batch.labelled is not None
        assert batch.unlabelled is not None
        weights = self.run.loss
        labelled, found = self.labelled_loss(batch.labelled, noise)
        unlabelled, _ = self.unlabelled_loss(batch.unlabelled, noise)
        anchors = Anchors(batch.labelled.position, batch.labelled.labels)
        latents = latents_of(found.posteriors, self.strides)
        self.labeller.observe_anchors(
            anchors.pick(latents, tuple(1 for _ in self.patch_geometry.region)), anchors.labels
        )
        guessed = self.labeller.label(latents)
        sure = guessed.amax(1) >= self.labeller.confidence(self.global_step / self.settings.steps)
        near = self.labeller.neighbours(anchors.position, self.patch_geometry.region, noise)
        pseudo = pseudo_label_loss(found.logits, guessed, near & sure)
        return {
            "loss": labelled.total(weights) + unlabelled.total(weights) + weights.delta * pseudo,
            "pseudo_labels": pseudo,
            "unlabelled_inpainting": unlabelled.inpainting,
            "unlabelled_kl": unlabelled.kl,
            **labelled.named(),
        }

    def validated(self, choice: float) -> None:
        self.labeller.observe_validation(choice)

    def configure_optimizers(self) -> Any:
        return paper_optimisation(self.hvae.parameters(), self.settings, paper_settings(self.run))
