"""The mixture prior against torch.distributions, Monte Carlo and a numerical optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.distributions import kl_divergence as reference_kl

from eseg_zoo.model.latent import Gaussian
from eseg_zoo.model.prior import MixturePrior


def random_prior(classes: int = 3, latents: int = 2, seed: int = 0) -> MixturePrior:
    """Components that overlap, so that no responsibility is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    prior = MixturePrior(classes, latents).requires_grad_(False)
    prior.means.normal_(0, 1, generator=generator)
    prior.log_variances.normal_(0, 0.5, generator=generator)
    return prior


def random_posterior(count: int, latents: int = 2, seed: int = 1) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, latents)
    return Gaussian(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator) - 1)


def normal(mean: torch.Tensor, log_variance: torch.Tensor) -> Independent[Normal]:
    return Independent(Normal(mean, (0.5 * log_variance).exp()), 1)


def test_labelled_kl_equals_the_reference() -> None:
    prior, q, labels = random_prior(), random_posterior(4), torch.tensor([2, 0, 1, 2])
    expected = reference_kl(normal(q.mean, q.log_variance), normal(prior.means[labels], prior.log_variances[labels]))
    torch.testing.assert_close(prior.labelled_kl(q, labels), expected)


def test_labelled_kl_at_the_start_is_hand_worked() -> None:
    q = Gaussian(torch.tensor([[5.0, 1.0]]), torch.zeros(1, 2))  # one beside the mean (5, 0) of class 0
    prior = MixturePrior(2, 2)
    torch.testing.assert_close(prior.component_kl(q), torch.tensor([[0.5, 20.5]]))  # (1 / 2, (25 + 16) / 2)


def test_mixture_kl_is_an_upper_bound_of_the_kl_to_the_mixture() -> None:
    torch.manual_seed(0)
    prior, q = random_prior(), random_posterior(5)
    mixture = MixtureSameFamily(Categorical(prior.log_weights.exp()), normal(prior.means, prior.log_variances))
    posterior = normal(q.mean, q.log_variance)
    draws = posterior.sample((100_000,))
    monte_carlo = (posterior.log_prob(draws) - mixture.log_prob(draws)).mean(0)
    bound = prior.mixture_kl(q)
    assert (bound > monte_carlo + 0.01).all()  # larger, although the error of 100,000 draws is below 0.01
    assert (bound < prior.component_kl(q).min(1).values - prior.log_weights[0]).all()


def test_mixture_kl_is_the_least_responsibility_weighted_bound() -> None:
    prior, q = random_prior(), random_posterior(3)
    found = prior.mixture_kl(q).numpy()
    for kls, value in zip(prior.component_kl(q).numpy().astype(float), found, strict=True):

        def bound(logits: np.ndarray, kls: np.ndarray = kls) -> float:
            weights = np.exp(logits - logits.max())
            weights /= weights.sum()
            return float((weights * (kls + np.log(weights) - np.log(1 / 3))).sum())

        assert minimize(bound, np.zeros(3)).fun == pytest.approx(value, abs=1e-5)


def test_mixture_kl_of_one_class_is_its_kl() -> None:
    prior, q = random_prior(classes=1), random_posterior(3)
    torch.testing.assert_close(prior.mixture_kl(q), prior.labelled_kl(q, torch.zeros(3, dtype=torch.long)))


def test_the_gradient_of_the_mixture_kl_is_weighted_by_responsibilities() -> None:
    prior, q = random_prior(), random_posterior(1)
    mean = q.mean.clone().requires_grad_()
    q = Gaussian(mean, q.log_variance)
    kls = prior.component_kl(q)[0]
    responsibilities = (-kls.detach()).softmax(0)  # equal prior weights cancel
    (expected,) = torch.autograd.grad((responsibilities * kls).sum(), mean, retain_graph=True)
    (gradient,) = torch.autograd.grad(prior.mixture_kl(q).sum(), mean)
    torch.testing.assert_close(gradient, expected)


def test_a_distant_posterior_has_a_finite_mixture_kl() -> None:
    q = Gaussian(torch.full((1, 2), 1e4), torch.zeros(1, 2))
    assert random_prior().mixture_kl(q).isfinite().all()


@pytest.mark.parametrize(("classes", "latents"), [(2, 4), (4, 4), (5, 3), (6, 3)])
def test_means_start_five_standard_deviations_out_each_in_its_own_direction(classes: int, latents: int) -> None:
    means = MixturePrior(classes, latents).means.detach()
    torch.testing.assert_close(means.norm(dim=1), torch.full((classes,), 5.0))
    apart = torch.cdist(means, means) + 100 * torch.eye(classes)
    assert apart.min() > 5 * 1.414  # no two coincide; the next ones are at right angles


def test_more_classes_than_twice_the_latents_are_refused() -> None:
    with pytest.raises(ValueError, match="7 classes need at least 4 latent channels, not 3"):
        MixturePrior(7, 3)


def test_samples_of_the_mixture_have_its_statistics() -> None:
    prior = random_prior(classes=3)
    draws = prior.sample(200_000, torch.Generator().manual_seed(0))
    assert draws.shape == (200_000, 2)
    mean = prior.means.mean(0)
    within, between = prior.log_variances.exp().mean(0), (prior.means - mean).square().mean(0)
    torch.testing.assert_close(draws.mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(draws.var(0), within + between, rtol=0.02, atol=0)


def test_samples_of_separated_components_are_balanced() -> None:
    prior = MixturePrior(4, 2)
    draws = prior.sample(40_000, torch.Generator().manual_seed(0)).detach()
    nearest = torch.cdist(draws, prior.means.detach()).argmin(1)
    torch.testing.assert_close(nearest.bincount() / 40_000, torch.full((4,), 0.25), rtol=0, atol=0.01)


def test_samples_follow_the_generator() -> None:
    first, again = (random_prior().sample(9, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
