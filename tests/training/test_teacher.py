"""The averaged network that gives pseudo-labels, against calculations by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import Classifier
from eseg_zoo.training.teacher import Teacher

PLANE = Architecture(2, 1, 3, [4, 6], 2, [[2, 2]] * 2, [[3, 3]] * 2)
VOLUME = Architecture(3, 1, 3, [3, 4], 2, [[1, 2, 2], [2, 2, 2]], [[1, 3, 3], [3, 3, 3]])


def classifier_of(shape: Architecture = PLANE, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(shape)


def patches(shape: Architecture) -> Tensor:
    size = [2 * s + 2 * m for s, m in zip(shape.geometry.stride, shape.geometry.margin, strict=True)]
    return torch.randn((2, 1, *size), generator=torch.Generator().manual_seed(0))


def test_it_starts_as_the_classifier_and_is_its_moving_average() -> None:
    teacher = Teacher(classifier_of(), kept=0.9)
    start, first, second = classifier_of(seed=0), classifier_of(seed=1), classifier_of(seed=2)
    teacher.follow(first)
    teacher.follow(second)
    for average, *weights in zip(*(m.parameters() for m in (teacher, start, first, second)), strict=True):
        a, b, c = weights
        torch.testing.assert_close(average, 0.9 * (0.9 * a + 0.1 * b) + 0.1 * c)


def test_it_is_apart_from_the_classifier_and_without_gradient() -> None:
    classifier = classifier_of()
    teacher = Teacher(classifier, kept=0.99)
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.add_(1)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), classifier_of().parameters(), strict=True))
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert not teacher.label(patches(PLANE)).requires_grad


@pytest.mark.parametrize("shape", [PLANE, VOLUME], ids=["2D", "3D"])
def test_its_labels_are_its_class_probabilities(shape: Architecture) -> None:
    teacher, x = Teacher(classifier_of(shape), kept=0.99), patches(shape)
    with torch.no_grad():
        logits = teacher.classifier(x).numpy().astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(teacher.label(x).numpy(), expected, rtol=1e-4)
