"""The Gaussian mixture prior of the coarsest latent: one component for each class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eseg_zoo.model.latent import Gaussian, kl_divergence

# Distance of the means from the origin, in prior standard deviations (METHOD: "means start separated").
INITIAL_SEPARATION = 5.0


class MixturePrior(nn.Module):
    """p(z) = sum_c pi_c N(z; mu_c, sigma_c^2) with equal weights pi, means and variances that may be learnt.

    The means start at 5 standard deviations from the origin, each along its own latent axis; classes beyond the number
    of `latents` take the negative axes. Raises ValueError when there are more than `2 * latents` classes.
    """

    log_weights: Tensor

    def __init__(self, classes: int, latents: int):
        super().__init__()
        if classes > 2 * latents:
            raise ValueError(f"{classes} classes need at least {math.ceil(classes / 2)} latent channels, not {latents}")
        axes = torch.cat([torch.eye(latents), -torch.eye(latents)])
        self.means = nn.Parameter(INITIAL_SEPARATION * axes[:classes])
        self.log_variances = nn.Parameter(torch.zeros(classes, latents))
        self.register_buffer("log_weights", torch.full((classes,), -math.log(classes)))

    @property
    def components(self) -> Gaussian:
        """All components, with parameters (classes, latents)."""
        return Gaussian.bounded(self.means, self.log_variances)

    def component_kl(self, q: Gaussian) -> Tensor:
        """Return KL(q || component) of every component, (n, classes), for q with parameters (n, latents)."""
        return kl_divergence(Gaussian(q.mean[:, None], q.log_variance[:, None]), self.components).sum(-1)

    def labelled_kl(self, q: Gaussian, labels: Tensor) -> Tensor:
        """Return KL(q || component of the label), (n,), for q (n, latents) and class indices `labels` (n,)."""
        return self.component_kl(q).gather(1, labels[:, None])[:, 0]

    def mixture_kl(self, q: Gaussian) -> Tensor:
        """Return the tightest responsibility-weighted upper bound of KL(q || mixture), (n,).

        For responsibilities r the bound is sum_c r_c (KL(q || p_c) + log r_c - log pi_c); its minimum over r is
        -log sum_c pi_c exp(-KL(q || p_c)). Source: J. Hershey, P. Olsen, ICASSP 2007.
        """
        return -torch.logsumexp(self.log_weights - self.component_kl(q), 1)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return draws from the mixture, (count, latents)."""
        choice = torch.multinomial(self.log_weights.exp(), count, replacement=True, generator=generator)
        return Gaussian(self.components.mean[choice], self.components.log_variance[choice]).sample(generator)
