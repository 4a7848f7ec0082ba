"""The teacher of the semi-supervised stage: it tells the network which classes unlabelled pixels have."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from eseg_zoo.model.dense import Classifier


class Teacher(nn.Module):
    """An exponential moving average of the classifier that learns, of which it keeps the share `kept` in a step.

    Source: A. Tarvainen, H. Valpola, "Mean teachers are better role models", NeurIPS 2017. Its weights are part of a
    stage's checkpoint.
    """

    def __init__(self, classifier: Classifier, *, kept: float):
        super().__init__()
        self.kept = kept
        self.classifier = copy.deepcopy(classifier).requires_grad_(False)

    def label(self, patches: Tensor) -> Tensor:
        """Return class probabilities (b, classes, *region) of patches (b, c, *region + 2 * margin), normalised."""
        with torch.no_grad():
            logits: Tensor = self.classifier(patches)
            return logits.softmax(1)

    @torch.no_grad()
    def follow(self, classifier: Classifier) -> None:
        """Move towards the classifier, after one of its steps."""
        for average, current in zip(self.classifier.parameters(), classifier.parameters(), strict=True):
            average.lerp_(current, 1 - self.kept)
