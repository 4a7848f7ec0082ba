"""Each loss term against a hand-worked value or plain loops, its gradient, and its edge cases."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from eseg_zoo.config import LossWeights
from eseg_zoo.losses import (
    Anchors,
    LossTerms,
    UnlabelledTerms,
    class_posterior_loss,
    contrastive_loss,
    inpainting_loss,
    ladder_kl,
    loss_terms,
    pseudo_label_loss,
    unlabelled_terms,
)
from eseg_zoo.model.hvae import Generation
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.model.prior import MixturePrior


def random_gaussian(seed: int, *shape: int) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    return Gaussian(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))


# ------------------------------------------------------------------------------------------------- contrastive


def contrastive_by_loops(means: list[list[float]], labels: list[int]) -> float:
    """The contrastive term as its docstring says it, over pairs, with margin 5 and epsilon 0.1."""
    pulls: dict[int, list[float]] = {}
    pushes: dict[tuple[int, ...], list[float]] = {}
    for i, j in itertools.combinations(range(len(means)), 2):
        distance = math.dist(means[i], means[j])
        if labels[i] == labels[j]:
            pulls.setdefault(labels[i], []).append(distance)
        else:
            pushed = 1 / (distance + 0.1) + max(5 - distance, 0) ** 2
            pushes.setdefault(tuple(sorted((labels[i], labels[j]))), []).append(pushed)
    pull = [sum(values) / len(values) for values in pulls.values()]
    push = [sum(values) / len(values) for values in pushes.values()]
    shares = [math.exp(value - max(push)) for value in push] if push else []
    weighted = sum(share * value for share, value in zip(shares, push, strict=True))
    return (sum(pull) / len(pull) if pull else 0) + (weighted / sum(shares) if push else 0)


def test_contrastive_of_three_points_is_hand_worked() -> None:
    means, labels = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]), torch.tensor([0, 0, 1])
    # Same class: 5 apart. Classes 0 and 1: 2 and sqrt(13) apart.
    push = (1 / 2.1 + 3**2 + 1 / (13**0.5 + 0.1) + (5 - 13**0.5) ** 2) / 2
    assert contrastive_loss(means, labels, classes=2).item() == pytest.approx(5 + push)


def test_the_closest_pair_of_classes_weighs_most() -> None:
    means, labels = torch.tensor([[0.0], [4.0], [7.0]]), torch.tensor([0, 1, 2])
    a, b, c = 1 / 4.1 + 1, 1 / 3.1 + 4, 1 / 7.1  # 0-1, 1-2, 0-2: 7 is beyond the margin
    weights = [math.exp(value) for value in (a, b, c)]
    expected = sum(w * v for w, v in zip(weights, (a, b, c), strict=True)) / sum(weights)
    assert contrastive_loss(means, labels, classes=3).item() == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), *[st.integers(-40, 40)] * 2), min_size=1, max_size=9, unique=True))
def test_contrastive_equals_plain_loops(points: list[tuple[int, int, int]]) -> None:
    labels = [label for label, *_ in points]
    # Never two at one place: the tiny floor under the square root is not part of the formula.
    means = [[x / 10 + i * 1e-3, y / 10] for i, (_, x, y) in enumerate(points)]
    found = contrastive_loss(torch.tensor(means, dtype=torch.float64), torch.tensor(labels), classes=4)
    assert found.item() == pytest.approx(contrastive_by_loops(means, labels), rel=1e-6, abs=1e-6)


def test_contrastive_pulls_one_class_together_and_pushes_two_apart() -> None:
    for labels, direction in (([0, 0], 1.0), ([0, 1], -1.0)):
        means = torch.tensor([[0.0], [2.0]], requires_grad=True)
        (gradient,) = torch.autograd.grad(contrastive_loss(means, torch.tensor(labels), classes=2), means)
        assert gradient[1].item() * direction > 0
        torch.testing.assert_close(gradient[0], -gradient[1])


def test_contrastive_gradient_of_one_pair_is_hand_worked() -> None:
    means = torch.tensor([[0.0], [2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(contrastive_loss(means, torch.tensor([0, 1]), classes=2), means)
    assert gradient[1].item() == pytest.approx(-1 / 2.1**2 - 2 * 3)  # of 1 / (d + 0.1) + (5 - d)^2 at d = 2


def test_the_weights_of_class_pairs_carry_no_gradient() -> None:
    means = torch.tensor([[0.0], [2.0], [-4.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(contrastive_loss(means, torch.tensor([0, 1, 2]), classes=3), means)
    near, far = 1 / 2.1 + 9, 1 / 4.6 + 0.25
    beyond = 1 / 6.6
    weight = math.exp(near) / (math.exp(near) + math.exp(far) + math.exp(beyond))
    beyond_weight = math.exp(beyond) / (math.exp(near) + math.exp(far) + math.exp(beyond))
    expected = weight * (-1 / 2.1**2 - 6) + beyond_weight * (-1 / 6.6**2)
    assert gradient[1].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [[1], [0, 1, 2]], ids=["one sample", "one sample of each class"])
def test_contrastive_without_a_pair_of_one_class_has_no_pull(labels: list[int]) -> None:
    means = 100 * torch.arange(float(len(labels)))[:, None].requires_grad_()  # too far apart to be pushed
    loss = contrastive_loss(means, torch.tensor(labels), classes=3)
    assert loss.item() == pytest.approx(0, abs=0.011)  # 1 / distance is left, 0.01 at most
    (gradient,) = torch.autograd.grad(loss, means)
    assert gradient.isfinite().all()


def test_contrastive_of_one_class_is_the_mean_distance() -> None:
    means, labels = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([2, 2, 2])
    assert contrastive_loss(means, labels, classes=3).item() == pytest.approx((1 + 4 + 5) / 3)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 0]], ids=["one class", "two classes"])
def test_duplicates_have_a_finite_loss_and_gradient(labels: list[int]) -> None:
    means = torch.ones(3, 4, requires_grad=True)
    loss = contrastive_loss(means, torch.tensor(labels), classes=2)
    (gradient,) = torch.autograd.grad(loss, means)
    assert loss.item() == pytest.approx(1 / 0.1 + 25 if 1 in labels else 0, abs=1e-3)
    assert gradient.isfinite().all()


def test_contrastive_of_a_thousand_samples_equals_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn((1000, 3), generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (1000,), generator=generator)
    expected = contrastive_by_loops(means.tolist(), labels.tolist())
    assert contrastive_loss(means, labels, classes=5).item() == pytest.approx(expected)


def test_contrastive_in_half_precision_sums_in_single() -> None:
    """128 samples of two classes: 64 * 64 pushes of about 30 are beyond the largest number of 16 bits."""
    means = 0.05 * torch.randn((128, 16), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(2).repeat(64)
    expected = contrastive_loss(means, labels, classes=2)
    with torch.autocast("cpu", torch.float16):
        found = contrastive_loss(means.half(), labels, classes=2)
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)


def test_thousands_of_samples_with_duplicates_have_a_finite_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn((300, 4), generator=generator)
    means = distinct[torch.randint(300, (3000,), generator=generator)].requires_grad_()
    loss = contrastive_loss(means, torch.randint(5, (3000,), generator=generator), classes=5)
    (gradient,) = torch.autograd.grad(loss, means)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


# ----------------------------------------------------------------------------------------------------- inpainting


def test_inpainting_is_half_the_mean_squared_error_of_the_hidden_pixels() -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]])
    hidden = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [1.0, 1.0]]]])
    # Hidden: 1, 7, 8; reconstructed 0.
    assert inpainting_loss(torch.zeros(2, 1, 2, 2), image, hidden).item() == pytest.approx((1 + 49 + 64) / 2 / 3)


def test_inpainting_is_the_mean_over_channels() -> None:
    image = torch.tensor([2.0, 4.0]).reshape(1, 2, 1, 1)
    assert inpainting_loss(torch.zeros_like(image), image, torch.ones(1, 1, 1, 1)).item() == pytest.approx(5)


def test_only_hidden_pixels_have_an_inpainting_gradient() -> None:
    reconstruction = torch.zeros(1, 1, 2, 2, requires_grad=True)
    image, hidden = torch.full((1, 1, 2, 2), 3.0), torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    (gradient,) = torch.autograd.grad(inpainting_loss(reconstruction, image, hidden), reconstruction)
    assert gradient.tolist() == [[[[-1.5, 0.0], [0.0, -1.5]]]]  # (x_hat - x) / 2 pixels


def test_inpainting_without_hidden_pixels_is_zero_with_a_finite_gradient() -> None:
    reconstruction = torch.randn(2, 1, 3, 3, requires_grad=True)
    loss = inpainting_loss(reconstruction, torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3))
    (gradient,) = torch.autograd.grad(loss, reconstruction)
    assert loss.item() == 0
    assert gradient.abs().max() == 0


# ------------------------------------------------------------------------------------------------------------- KL


def test_ladder_kl_sums_channels_and_levels_and_averages_batch_and_places() -> None:
    posteriors = [random_gaussian(0, 2, 3, 4, 4), random_gaussian(1, 2, 3, 2, 2), random_gaussian(2, 2, 3, 1, 1)]
    priors = [random_gaussian(3, 2, 3, 4, 4), random_gaussian(4, 2, 3, 2, 2)]
    expected = 0.0
    for q, p, places in zip(posteriors, priors, (2 * 4 * 4, 2 * 2 * 2), strict=False):
        normals = [Normal(g.mean, (0.5 * g.log_variance).exp()) for g in (q, p)]
        expected += float(reference_kl(*normals).sum()) / places
    assert ladder_kl(posteriors, priors).item() == pytest.approx(expected, rel=1e-5)


def test_ladder_kl_of_one_level_is_zero() -> None:
    assert ladder_kl([random_gaussian(0, 2, 3, 1, 1)], []).item() == 0


def test_ladder_kl_is_zero_where_prior_and_posterior_agree_and_pulls_the_prior_elsewhere() -> None:
    q = Gaussian(torch.full((1, 2, 1, 1), 3.0), torch.zeros(1, 2, 1, 1))
    assert ladder_kl([q, q], [q]).item() == 0
    mean = torch.zeros(1, 2, 1, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(ladder_kl([q, q], [Gaussian(mean, q.log_variance)]), mean)
    assert gradient.flatten().tolist() == [-3.0, -3.0]


def test_class_posterior_loss_is_hand_worked() -> None:
    logits = torch.tensor([[0.9, 0.1], [0.6, 0.4]]).log()
    # Cross-entropy of labels 0 and 1; then the KL of the batch's average (0.75, 0.25) to (0.5, 0.5).
    expected = -(math.log(0.9) + math.log(0.4)) / 2 + 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = class_posterior_loss(logits, torch.tensor([0, 1]), torch.tensor([0.5, 0.5]).log())
    assert found.item() == pytest.approx(expected)


def test_sure_and_balanced_class_posteriors_cost_nothing() -> None:
    logits = 50 * torch.eye(3)
    found = class_posterior_loss(logits, torch.arange(3), torch.full((3,), 1 / 3).log())
    assert found.item() == pytest.approx(0, abs=1e-6)


def test_a_class_that_no_prediction_has_keeps_the_class_posterior_loss_finite() -> None:
    logits = torch.tensor([[200.0, -200.0]] * 4, requires_grad=True)
    loss = class_posterior_loss(logits, torch.zeros(4, dtype=torch.long), torch.tensor([0.5, 0.5]).log())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-5)  # KL of (1, 0) to (0.5, 0.5)
    assert gradient.isfinite().all()


def test_the_balance_of_class_posteriors_pushes_the_overpredicted_class_down() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]], requires_grad=True)
    labels, log_weights = torch.tensor([0, 1]), torch.tensor([0.5, 0.5]).log()
    (whole,) = torch.autograd.grad(class_posterior_loss(logits, labels, log_weights), logits)
    (supervised,) = torch.autograd.grad(F.cross_entropy(logits, labels), logits)
    balance = whole - supervised
    assert (balance[:, 0] > 0).all()
    assert (balance[:, 1] < 0).all()


# ------------------------------------------------------------------------------------------- anchors and the total


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_an_anchor_picks_the_cell_it_lies_in(stride: int) -> None:
    side = 16 // stride
    x = torch.arange(2 * 3 * side * side).reshape(2, 3, side, side)
    for y, z in itertools.product(range(16), repeat=2):
        position = torch.tensor([[y, z], [15 - y, z]])
        picked = Anchors(position, torch.zeros(2)).pick(x, (stride, stride))
        assert torch.equal(picked[0], x[0, :, y // stride, z // stride])
        assert torch.equal(picked[1], x[1, :, (15 - y) // stride, z // stride])


def test_an_anchor_in_a_volume_uses_the_stride_of_each_axis() -> None:
    x = torch.arange(4 * 3 * 2.0).reshape(1, 1, 4, 3, 2)
    picked = Anchors(torch.tensor([[3, 5, 7]]), torch.zeros(1)).pick(x, (1, 2, 4))
    assert picked.tolist() == [[float(x[0, 0, 3, 2, 1])]]


def test_the_total_weighs_each_term() -> None:
    terms = LossTerms(*(torch.tensor(value) for value in (2.0, 3.0, 5.0, 7.0)))
    assert terms.total(LossWeights(alpha=0.5, beta=0.1, gamma=10)).item() == pytest.approx(1 + 0.3 + 50 + 7)
    assert terms.total(LossWeights(alpha=0, beta=0, gamma=0)).item() == 7


def test_loss_terms_are_taken_at_the_anchors() -> None:
    """Every tensor is random, so a wrong cell, level or sample changes a number."""
    torch.manual_seed(0)
    mixture = MixturePrior(3, 2).requires_grad_(False)
    posteriors = [random_gaussian(i, 2, 2, 4 // s, 4 // s) for i, s in enumerate((2, 4))]
    ladder = [random_gaussian(9, 2, 2, 2, 2)]
    generation = Generation(
        torch.randn(2, 3, 4, 4), torch.randn(2, 3, 1, 1), posteriors, ladder, torch.randn(2, 1, 4, 4)
    )
    image, hidden = torch.randn(2, 1, 4, 4), (torch.rand(2, 1, 4, 4) > 0.5).float()
    labels = torch.tensor([2, 0])
    found = loss_terms(
        generation,
        mixture,
        Anchors(torch.tensor([[1, 3], [2, 0]]), labels),
        image=image,
        hidden=hidden,
        strides=[(2, 2), (4, 4)],
    )

    def at(x: Tensor, *cells: tuple[int, int]) -> Tensor:
        return torch.stack([x[i, :, y, z] for i, (y, z) in enumerate(cells)])

    fine = at(posteriors[0].mean, (0, 1), (1, 0))
    coarse = Gaussian(*(at(x, (0, 0), (0, 0)) for x in (posteriors[1].mean, posteriors[1].log_variance)))
    kl = (
        mixture.labelled_kl(coarse, labels).mean()
        + ladder_kl(posteriors, ladder)
        + class_posterior_loss(generation.class_logits[:, :, 0, 0], labels, torch.full((3,), 1 / 3).log())
    )
    torch.testing.assert_close(found.kl, kl)
    torch.testing.assert_close(found.inpainting, inpainting_loss(generation.reconstruction, image, hidden))
    levels = [contrastive_by_loops(means.tolist(), [2, 0]) for means in (fine, coarse.mean)]
    assert found.contrastive.item() == pytest.approx(sum(levels) / 2, rel=1e-5)
    log_probabilities = at(generation.logits, (1, 3), (2, 0)).log_softmax(1)
    assert found.cross_entropy.item() == pytest.approx(-(log_probabilities[0, 2] + log_probabilities[1, 0]).item() / 2)


# ----------------------------------------------------------------------------------------------------- unlabelled


def mixture_bound_by_hand(mixture: MixturePrior, q: Gaussian) -> list[float]:
    """-log sum_c pi_c exp(-KL(q || p_c)) at every cell of q (b, latents, *cells), one after the other."""
    found = []
    for place in itertools.product(*(range(n) for n in (q.mean.shape[0], *q.mean.shape[2:]))):
        index: Any = (place[0], slice(None), *place[1:])
        posterior = Normal(q.mean[index], (0.5 * q.log_variance[index]).exp())
        components = Normal(mixture.means, (0.5 * mixture.log_variances).exp())
        kls = reference_kl(posterior, components).sum(1).tolist()
        found.append(-math.log(sum(math.exp(-kl) / len(kls) for kl in kls)))
    return found


def random_generation(*cells: int) -> Generation:
    """Two levels; the region is 4 pixels for each cell of the coarsest."""
    fine, region = [2 * n for n in cells], [4 * n for n in cells]
    generator = torch.Generator().manual_seed(0)
    return Generation(
        torch.randn((2, 3, *region), generator=generator),
        torch.randn((2, 3, *cells), generator=generator),
        [random_gaussian(1, 2, 2, *fine), random_gaussian(2, 2, 2, *cells)],
        [random_gaussian(3, 2, 2, *fine)],
        torch.randn((2, 1, *region), generator=generator),
    )


@pytest.mark.parametrize("cells", [(2, 3), (1, 2, 1)], ids=["2D", "3D"])
def test_unlabelled_terms_are_the_mixture_bound_at_every_cell_the_ladder_and_the_inpainting(
    cells: tuple[int, ...],
) -> None:
    mixture, generation = MixturePrior(3, 2).requires_grad_(False), random_generation(*cells)
    mixture.means.mul_(0.2)  # they overlap, so that every component counts
    image, hidden = torch.randn_like(generation.reconstruction), torch.ones_like(generation.reconstruction)
    found = unlabelled_terms(generation, mixture, image=image, hidden=hidden)
    bounds = mixture_bound_by_hand(mixture, generation.posteriors[-1])
    ladder = ladder_kl(generation.posteriors, generation.ladder_priors).item()
    assert found.kl.item() == pytest.approx(sum(bounds) / len(bounds) + ladder, rel=1e-5)
    expected = 0.5 * (image - generation.reconstruction).square().mean()
    assert found.inpainting.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_unlabelled_kl_of_one_cell_between_two_components_is_hand_worked() -> None:
    mixture = MixturePrior(2, 2)  # means (5, 0) and (0, 5), unit variance
    q = Gaussian(torch.tensor([5.0, 1.0]).reshape(1, 2, 1, 1), torch.zeros(1, 2, 1, 1))
    generation = Generation(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 1, 1), [q], [], torch.zeros(1, 1, 2, 2))
    found = unlabelled_terms(generation, mixture, image=torch.zeros(1, 1, 2, 2), hidden=torch.zeros(1, 1, 2, 2))
    # KL 1/2 and (25 + 16) / 2.
    assert found.kl.item() == pytest.approx(-math.log(0.5 * math.exp(-0.5) + 0.5 * math.exp(-20.5)))
    assert found.inpainting.item() == 0


def test_the_unlabelled_kl_pulls_a_posterior_to_the_nearest_component() -> None:
    mixture = MixturePrior(2, 2)
    mean = torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1).requires_grad_()
    q = Gaussian(mean, torch.zeros(1, 2, 1, 1))
    generation = Generation(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 1, 1), [q], [], torch.zeros(1, 1, 2, 2))
    blank = torch.zeros(1, 1, 2, 2)
    unlabelled_terms(generation, mixture, image=blank, hidden=blank).total(LossWeights(beta=2.0)).backward()
    assert mean.grad is not None
    # The KLs are (4 + 1) / 2 and (9 + 16) / 2: the second component has a share of 1 / (1 + e^10).
    share = 1 / (1 + math.exp(10))
    expected = [(1 - share) * -2 + share * 3, (1 - share) * 1 + share * -4]
    assert mean.grad.flatten().tolist() == pytest.approx([2 * value for value in expected])


def test_unlabelled_terms_are_weighted() -> None:
    terms = UnlabelledTerms(torch.tensor(2.0), torch.tensor(3.0))
    assert terms.total(LossWeights(alpha=0.5, beta=0.1)).item() == pytest.approx(1.3)


# -------------------------------------------------------------------------------------------------- pseudo-labels


def test_pseudo_label_loss_is_the_mean_cross_entropy_of_the_chosen_pixels() -> None:
    logits = torch.tensor([[0.7, 0.1], [0.3, 0.9]]).log()[None, :, None]  # 2 classes, 1 x 2 pixels
    targets = torch.tensor([[0.8, 0.5], [0.2, 0.5]])[None, :, None]
    first, second = (
        -(0.8 * math.log(0.7) + 0.2 * math.log(0.3)),
        -(0.5 * math.log(0.1) + 0.5 * math.log(0.9)),
    )
    for chosen, expected in (([True, True], (first + second) / 2), ([True, False], first), ([False, True], second)):
        found = pseudo_label_loss(logits, targets, torch.tensor(chosen)[None, None])
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_a_pseudo_label_is_the_difference_of_the_probabilities() -> None:
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    targets = torch.randn(2, 3, 2, 2).softmax(1)
    chosen = torch.rand(2, 2, 2) > 0.3
    (gradient,) = torch.autograd.grad(pseudo_label_loss(logits, targets, chosen), logits)
    expected = (logits.softmax(1) - targets) * chosen[:, None] / chosen.sum()
    torch.testing.assert_close(gradient, expected.detach())


def test_pseudo_labels_without_a_chosen_pixel_cost_nothing() -> None:
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    loss = pseudo_label_loss(logits, torch.full((2, 3, 2, 2), 1 / 3), torch.zeros(2, 2, 2, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert gradient.abs().max() == 0
