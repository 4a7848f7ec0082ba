"""Gaussians against torch.distributions."""

from __future__ import annotations

import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from eseg_zoo.model.latent import LOG_VARIANCE_RANGE, Gaussian, kl_divergence


def random_gaussian(seed: int, *shape: int) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    return Gaussian(torch.randn(shape, generator=generator), 2 * torch.randn(shape, generator=generator))


def as_normal(gaussian: Gaussian) -> Normal:
    return Normal(gaussian.mean, gaussian.log_variance.exp().sqrt())


def test_kl_equals_the_reference_element_by_element() -> None:
    q, p = random_gaussian(0, 3, 4, 5), random_gaussian(1, 3, 4, 5)
    torch.testing.assert_close(kl_divergence(q, p), reference_kl(as_normal(q), as_normal(p)), rtol=1e-4, atol=1e-5)


def test_kl_of_unit_gaussians_is_half_the_squared_distance() -> None:
    q, p = Gaussian(torch.tensor([3.0]), torch.zeros(1)), Gaussian(torch.tensor([1.0]), torch.zeros(1))
    assert kl_divergence(q, p).item() == 2.0


def test_kl_of_a_gaussian_to_itself_is_zero_with_zero_gradient() -> None:
    q = random_gaussian(0, 7)
    mean, log_variance = q.mean.clone().requires_grad_(), q.log_variance.clone().requires_grad_()
    kl = kl_divergence(Gaussian(mean, log_variance), q)
    torch.testing.assert_close(kl, torch.zeros(7), rtol=0, atol=1e-6)
    for gradient in torch.autograd.grad(kl.sum(), [mean, log_variance]):
        torch.testing.assert_close(gradient, torch.zeros(7), rtol=0, atol=1e-6)


def test_kl_gradient_of_the_mean_is_the_distance_over_the_variance() -> None:
    mean = torch.tensor([4.0], requires_grad=True)
    p = Gaussian(torch.tensor([1.0]), torch.tensor([2.0]).log())
    (gradient,) = torch.autograd.grad(kl_divergence(Gaussian(mean, torch.zeros(1)), p).sum(), mean)
    torch.testing.assert_close(gradient, torch.tensor([1.5]))


def test_bounded_clamps_the_log_variance_and_keeps_everything_finite() -> None:
    extreme = torch.tensor([-1e9, 0.5, 1e9])
    q = Gaussian.bounded(torch.zeros(3), extreme)
    assert q.log_variance.tolist() == [LOG_VARIANCE_RANGE[0], 0.5, LOG_VARIANCE_RANGE[1]]
    assert kl_divergence(q, Gaussian(q.mean, q.log_variance.flip(0))).isfinite().all()


def test_samples_have_the_mean_and_the_variance() -> None:
    q = Gaussian(torch.tensor([1.0, -2.0]).expand(200_000, 2), torch.tensor([4.0, 0.25]).log().expand(200_000, 2))
    draws = q.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.mean(0), torch.tensor([1.0, -2.0]), rtol=0, atol=0.02)
    torch.testing.assert_close(draws.var(0), torch.tensor([4.0, 0.25]), rtol=0.02, atol=0)


def test_samples_follow_the_generator() -> None:
    q = random_gaussian(0, 5)
    first, again, other = (q.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_gradient_of_a_sample_reaches_both_parameters() -> None:
    mean, log_variance = torch.zeros(4, requires_grad=True), torch.tensor([2.0] * 4).requires_grad_()
    draw = Gaussian(mean, log_variance).sample(torch.Generator().manual_seed(0))
    to_mean, to_log_variance = torch.autograd.grad(draw.sum(), [mean, log_variance])
    assert to_mean.tolist() == [1.0] * 4
    torch.testing.assert_close(to_log_variance, draw.detach() / 2)  # d/ds exp(s / 2) * noise, with mean 0
