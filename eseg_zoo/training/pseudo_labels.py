"""What the semi-supervised stage knows beside the weights, all of it saved: the teacher, class means, the radius."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from eseg_zoo.config import SemiSupervisedSettings
from eseg_zoo.model.dense import Classifier
from eseg_zoo.model.hvae import crop_to_cells
from eseg_zoo.training.optimisation import SMALLEST_GAIN

# The oldest batches that a running class mean still feels.
MEMORY = 100


class PseudoLabels(nn.Module):
    """Gives unlabelled pixels class probabilities, from the teacher's outputs or from its latent means.

    The teacher is an exponential moving average of the classifier that learns (A. Tarvainen, H. Valpola, "Mean teachers
    are better role models", NeurIPS 2017). Everything is a buffer or a weight, so a checkpoint of the stage has it all.
    """

    class_means: Tensor  # (classes, latents of all levels), of the anchors, a running average
    seen: Tensor  # (classes,), batches that each mean is made of
    spread: Tensor  # mean squared distance of the anchors to their class mean, a running average
    radius: Tensor  # pixels around an anchor in which neighbours get pseudo-labels
    best: Tensor  # highest validation figure so far
    stalled: Tensor  # validations since it last rose

    def __init__(self, classifier: Classifier, settings: SemiSupervisedSettings, *, classes: int, latents: int):
        super().__init__()
        self.settings = settings
        self.teacher = copy.deepcopy(classifier).requires_grad_(False)
        self.register_buffer("class_means", torch.zeros(classes, latents))
        self.register_buffer("seen", torch.zeros(classes))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("radius", torch.tensor(settings.radius))
        self.register_buffer("best", torch.tensor(-1.0))
        self.register_buffer("stalled", torch.tensor(0))

    def label(self, patches: Tensor) -> Tensor:
        """Return class probabilities (b, classes, *region) of patches (b, c, *region + 2 * margin)."""
        with torch.no_grad():
            if self.settings.labeller == "teacher":
                logits: Tensor = self.teacher(patches)
                return logits.softmax(1)
            return self._nearness(self._latents(patches))

    def confidence(self, progress: float) -> float:
        """Return the probability that a pseudo-label needs, at this share (0..1) of the stage."""
        first, last = self.settings.confidence
        return first + (last - first) * progress

    def neighbours(self, position: Tensor, region: tuple[int, ...]) -> Tensor:
        """Return a mask (b, *region): the pixels within the radius of `position` (b, dims), but not that itself."""
        squared = torch.zeros(len(position), *region, device=position.device)
        for axis, length in enumerate(region):
            offsets = torch.arange(length, device=position.device) - position[:, axis, None]
            shape = [len(position), *(length if other == axis else 1 for other in range(len(region)))]
            squared = squared + offsets.square().reshape(shape)
        return (squared > 0) & (squared <= self.radius.square())

    @torch.no_grad()
    def follow(self, classifier: Classifier) -> None:
        """Move the teacher towards the classifier."""
        for average, current in zip(self.teacher.parameters(), classifier.parameters(), strict=True):
            average.lerp_(current, 1 - self.settings.teacher)

    @torch.no_grad()
    def observe_anchors(self, latents: Tensor, labels: Tensor) -> None:
        """Update the running class means by the anchors' latent means (n, latents of all levels)."""
        for index in torch.unique(labels):
            self.seen[index] += 1
            rate = max(1 / float(self.seen[index]), 1 / MEMORY)
            self.class_means[index] += rate * (latents[labels == index].mean(0) - self.class_means[index])
        distance = (latents - self.class_means[labels]).square().sum(1).mean()
        self.spread += max(1 / float(self.seen.max()), 1 / MEMORY) * (distance - self.spread)

    def observe_validation(self, figure: float) -> None:
        """Let the radius grow by a pixel when validation has stalled for `radius_patience` validations."""
        if figure > float(self.best) + SMALLEST_GAIN:
            self.best.fill_(figure)
            self.stalled.zero_()
            return
        self.stalled += 1
        if self.settings.radius and int(self.stalled) >= self.settings.radius_patience:
            self.radius += 1
            self.stalled.zero_()

    def _latents(self, patches: Tensor) -> Tensor:
        """Return the teacher's latent means of all levels at every pixel, (b, latents of all levels, *region)."""
        geometry = self.teacher.geometry
        column = []
        for level, mean in enumerate(self.teacher.recognition(patches).means):
            cells = crop_to_cells(mean, geometry, level)
            for axis, stride in enumerate(geometry.stride_of(level), start=2):
                cells = cells.repeat_interleave(stride, axis)
            column.append(cells)
        return torch.cat(column, 1)

    def _nearness(self, latents: Tensor) -> Tensor:
        """Return softmax(-d^2 / spread) over the class means; a class without an anchor so far has probability 0."""
        means = self.class_means[(None, ..., *(None for _ in latents.shape[2:]))]
        distance = (latents[:, None] - means).square().sum(2)
        unseen = (self.seen == 0).reshape(1, -1, *(1 for _ in latents.shape[2:]))
        return (-distance / self.spread.clamp(min=1e-6)).masked_fill(unseen, -1e9).softmax(1)
