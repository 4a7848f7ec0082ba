"""Diagonal Gaussians: parameters -> distribution -> draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# exp(-8) to exp(4): wide enough for any use, and no overflow in exp or division.
LOG_VARIANCE_RANGE = (-8.0, 4.0)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, exp(log_variance)), independent per element; both tensors have the same shape."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def bounded(cls, mean: Tensor, log_variance: Tensor) -> Gaussian:
        """Return the distribution with its log variance clamped to `LOG_VARIANCE_RANGE`."""
        return cls(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return a reparametrised draw; the gradient reaches both parameters."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + (0.5 * self.log_variance).exp() * noise


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """Return KL(q || p) in nats, element by element (closed form)."""
    ratio = (q.log_variance - p.log_variance).exp()
    distance = (q.mean - p.mean).square() / p.log_variance.exp()
    return 0.5 * (ratio + distance - 1 + p.log_variance - q.log_variance)
