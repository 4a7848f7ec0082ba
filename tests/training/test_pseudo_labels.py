"""What the semi-supervised stage knows beside the weights, against calculations by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eseg_zoo.config import SemiSupervisedSettings
from eseg_zoo.model.dense import Architecture, Classifier
from eseg_zoo.training.pseudo_labels import MEMORY, PseudoLabels

PLANE = Architecture(2, 1, 3, [4, 6], 2, [[2, 2]] * 2, [[3, 3]] * 2)
VOLUME = Architecture(3, 1, 3, [3, 4], 2, [[1, 2, 2], [2, 2, 2]], [[1, 3, 3], [3, 3, 3]])
BOTH = pytest.mark.parametrize("shape", [PLANE, VOLUME], ids=["2D", "3D"])


def classifier_of(shape: Architecture = PLANE, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(shape)


def made(shape: Architecture = PLANE, **settings: Any) -> PseudoLabels:
    latents = len(shape.filters) * shape.latents
    return PseudoLabels(classifier_of(shape), SemiSupervisedSettings(**settings), classes=3, latents=latents)


def patches(shape: Architecture, cells: int = 2) -> Tensor:
    size = [cells * s + 2 * m for s, m in zip(shape.geometry.stride, shape.geometry.margin, strict=True)]
    return torch.randn((2, 1, *size), generator=torch.Generator().manual_seed(0))


# --------------------------------------------------------------------------------------------------------- teacher


def test_the_teacher_starts_as_the_classifier_and_is_its_moving_average() -> None:
    known = made(teacher=0.9)
    start, first, second = classifier_of(seed=0), classifier_of(seed=1), classifier_of(seed=2)
    known.follow(first)
    known.follow(second)
    for teacher, *weights in zip(*(m.parameters() for m in (known.teacher, start, first, second)), strict=True):
        a, b, c = weights
        torch.testing.assert_close(teacher, 0.9 * (0.9 * a + 0.1 * b) + 0.1 * c)


def test_the_teacher_is_apart_from_the_classifier_and_without_gradient() -> None:
    classifier = classifier_of()
    known = PseudoLabels(classifier, SemiSupervisedSettings(), classes=3, latents=4)
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.add_(1)
    assert all(torch.equal(a, b) for a, b in zip(known.teacher.parameters(), classifier_of().parameters(), strict=True))
    assert not any(weight.requires_grad for weight in known.parameters())
    assert not known.label(patches(PLANE)).requires_grad


@BOTH
def test_labels_of_the_teacher_are_its_class_probabilities(shape: Architecture) -> None:
    known, x = made(shape, labeller="teacher"), patches(shape)
    with torch.no_grad():
        logits = known.teacher(x).numpy().astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(known.label(x).numpy(), expected, rtol=1e-4)


# ----------------------------------------------------------------------------------------------------- class means


def test_class_means_are_the_means_of_the_batches_that_have_the_class() -> None:
    known = made()
    first, second = torch.arange(12.0).reshape(3, 4), torch.tensor([[1.0, 0, 5, 2], [7, 7, 7, 7]])
    known.observe_anchors(first, torch.tensor([0, 1, 0]))
    known.observe_anchors(second, torch.tensor([0, 2]))
    of_first, of_second = (first[0] + first[2]) / 2, second[0]
    expected = torch.stack([(of_first + of_second) / 2, first[1], second[1]])
    torch.testing.assert_close(known.class_means, expected)
    assert known.seen.tolist() == [2, 1, 1]


def test_old_batches_are_forgotten_as_of_a_hundred() -> None:
    known, rng = made(), np.random.default_rng(0)
    mean, spread = np.zeros(4), 1.0
    for batch in range(1, MEMORY + 20):
        latents = rng.normal(batch / 10, 1, (5, 4)).astype(np.float32)
        known.observe_anchors(torch.from_numpy(latents), torch.ones(5, dtype=torch.long))
        rate = max(1 / batch, 0.01)
        mean = (1 - rate) * mean + rate * latents.mean(0)
        spread = (1 - rate) * spread + rate * ((latents - mean) ** 2).sum(1).mean()
    np.testing.assert_allclose(known.class_means[1].numpy(), mean, rtol=1e-4)
    assert float(known.spread) == pytest.approx(spread, rel=1e-4)
    assert not known.class_means[[0, 2]].any()


def known_means(known: PseudoLabels, seen: list[int]) -> None:
    known.class_means.copy_(torch.randn(known.class_means.shape, generator=torch.Generator().manual_seed(1)))
    known.seen.copy_(torch.tensor(seen))
    known.spread.fill_(1.7)


@BOTH
@pytest.mark.parametrize("seen", [[4, 2, 9], [4, 0, 9]], ids=["all classes seen", "one class unseen"])
def test_labels_by_class_means_are_a_softmax_of_the_squared_distances(shape: Architecture, seen: list[int]) -> None:
    known, x = made(shape, labeller="class_means"), patches(shape)
    known_means(known, seen)
    found = known.label(x).numpy()
    with torch.no_grad():
        levels = known.teacher.recognition(x).means
    steps = [shape.geometry.stride_of(level) for level in range(len(levels))]
    region = [2 * s for s in shape.geometry.stride]
    assert found.shape == (2, 3, *region)
    for i, place in product(range(2), np.ndindex(*region)):
        latents = []
        for mean, step in zip(levels, steps, strict=True):
            cells = [length // s for length, s in zip(region, step, strict=True)]
            margins = [(have - n) // 2 for have, n in zip(mean.shape[2:], cells, strict=True)]
            cell = [m + p // s for m, p, s in zip(margins, place, step, strict=True)]
            latents.append(mean[(i, slice(None), *cell)].numpy())
        squared = ((np.concatenate(latents) - known.class_means.numpy()) ** 2).sum(1)
        weights = np.where(np.array(seen) > 0, np.exp(-squared / 1.7), 0)
        np.testing.assert_allclose(found[(i, slice(None), *place)], weights / weights.sum(), rtol=1e-3, atol=1e-6)


def test_a_spread_of_zero_still_gives_probabilities() -> None:
    known = made(labeller="class_means")
    for _ in range(2):
        known.observe_anchors(torch.eye(4)[:3], torch.arange(3))
    known.spread.zero_()
    found = known.label(patches(PLANE))
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))


# ------------------------------------------------------------------------------------------------------ neighbours


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
@pytest.mark.parametrize("region", [(6, 8), (3, 4, 5)], ids=str)
def test_neighbours_are_the_pixels_within_the_radius_but_not_the_anchor(region: tuple[int, ...], radius: int) -> None:
    known = made()
    known.radius.fill_(radius)
    positions = [tuple(n - 1 for n in region), tuple(n // 2 for n in region), (0,) * len(region)]
    found = known.neighbours(torch.tensor(positions), region)
    assert found.shape == (3, *region)
    for i, position in enumerate(positions):
        for place in np.ndindex(*region):
            squared = sum((a - b) ** 2 for a, b in zip(place, position, strict=True))
            assert bool(found[(i, *place)]) == (0 < squared <= radius**2), (place, position)


def test_the_radius_grows_by_a_pixel_after_so_many_stalled_validations() -> None:
    known, radii = made(radius=3, radius_patience=2), []
    # A best, a gain below 0.001 and a loss: stalled twice. Stalled once, a gain; twice stalled, and once more.
    for figure in (0.5, 0.5005, 0.4, 0.5, 0.6, 0.6, 0.6, 0.1):
        known.observe_validation(figure)
        radii.append(int(known.radius))
    assert radii == [3, 3, 4, 4, 4, 4, 5, 5]


def test_a_radius_of_zero_stays_zero() -> None:
    known = made(radius=0, radius_patience=1)
    for _ in range(5):
        known.observe_validation(0.5)
    assert int(known.radius) == 0


def test_the_confidence_changes_linearly() -> None:
    known = made(confidence=(0.5, 0.9))
    assert [known.confidence(share) for share in (0, 0.25, 0.5, 1)] == pytest.approx([0.5, 0.6, 0.7, 0.9])


# -------------------------------------------------------------------------------------------------------- the state


def test_everything_it_knows_survives_a_state_dict() -> None:
    known = made(radius=2, radius_patience=2)
    known.follow(classifier_of(seed=3))
    known.observe_anchors(torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 1, 0]))
    for figure in (0.5, 0.4, 0.4, 0.4):
        known.observe_validation(figure)
    assert (int(known.radius), int(known.stalled), float(known.best)) == (3, 1, 0.5)
    other = PseudoLabels(classifier_of(seed=9), known.settings, classes=3, latents=4)
    other.load_state_dict(known.state_dict())
    for again in (known, other):  # what follows depends on nothing else
        again.follow(classifier_of(seed=5))
        again.observe_anchors(torch.ones(2, 4), torch.tensor([2, 0]))
        again.observe_validation(0.5)
    assert int(other.radius) == 4
    for key, value in known.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
