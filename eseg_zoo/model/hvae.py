"""The hierarchical VAE of training: the exported classifier plus the parts that only learning needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eseg_zoo.model.architecture import Architecture, Geometry
from eseg_zoo.model.dense import Classifier, pointwise
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.model.prior import MixturePrior

_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@dataclass(frozen=True)
class Generation:
    """What one training pass yields; lists run from the finest level to the coarsest."""

    logits: Tensor  # of the head, (b, classes, *region)
    class_logits: Tensor  # of q(y | x), (b, classes, *coarsest)
    posteriors: list[Gaussian]  # q(z_i | ...), (b, latents, *cells of the level)
    ladder_priors: list[Gaussian]  # p(z_i | z_>i), the same shapes; none for the coarsest level
    reconstruction: Tensor  # of the normalised image, (b, channels, *region)


class HVAE(nn.Module):
    """`classifier` is what is exported; variances, ladder priors, mixture prior and decoder serve the losses."""

    def __init__(self, shape: Architecture):
        super().__init__()
        dims, latents, filters = shape.dims, shape.latents, shape.filters
        stride: Any = tuple(shape.strides[0])  # torch types it as int or as a tuple of one fixed length
        self.classifier = Classifier(shape)
        self.log_variances = nn.ModuleList(pointwise(dims, f, latents) for f in filters)
        self.ladder_priors = nn.ModuleList(pointwise(dims, above, 2 * latents) for above in filters[1:])
        self.mixture = MixturePrior(shape.classes, latents)
        self.decoder = nn.Sequential(
            pointwise(dims, filters[0], filters[0]),
            nn.ReLU(),
            _TRANSPOSED[dims](filters[0], shape.channels, stride, stride),
        )

    def generative_state(self) -> dict[str, Tensor]:
        """Return the state of all parts but the classifier."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("classifier.")}

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Generation:
        """Infer with sampled latents and reconstruct; x is (b, channels, *region + 2 * margin), normalised."""
        recognition, coarsest = self.classifier.recognition, len(self.ladder_priors)
        features = recognition.encode(x)
        class_logits, evidence, mean = recognition.top(features[coarsest])
        posteriors = [self._posterior(coarsest, evidence, mean)]
        priors: list[Gaussian] = []
        top_down = recognition.inject(coarsest, evidence, posteriors[0].sample(generator))
        for level in reversed(range(coarsest)):
            step = recognition.step(level)
            priors.insert(0, self._prior(level, self._cells(step.from_above(top_down), level)))
            evidence, mean = step(features[level], top_down)
            posteriors.insert(0, self._posterior(level, evidence, mean))
            top_down = recognition.inject(level, evidence, posteriors[0].sample(generator))
        return Generation(
            logits=self.classifier.head([q.mean for q in posteriors], recognition.details(x)),
            class_logits=self._cells(class_logits, coarsest),
            posteriors=[
                Gaussian(self._cells(q.mean, level), self._cells(q.log_variance, level))
                for level, q in enumerate(posteriors)
            ],
            ladder_priors=priors,
            reconstruction=self.decoder(self._cells(top_down, 0)),
        )

    def imagine(self, x: Tensor, label: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a draw of the region (b, channels, *region) in which the coarsest latent is of the class `label`.

        The coarsest latent comes from the class's component of the prior, the others from the ladder's priors; x is
        what is seen around them, as in `forward`.
        """
        recognition, coarsest = self.classifier.recognition, len(self.ladder_priors)
        features = recognition.encode(x)
        _, evidence, mean = recognition.top(features[coarsest])
        component, everywhere = self.mixture.components, (None, slice(None), *(None for _ in mean.shape[2:]))
        parameters = (p[label][everywhere].expand_as(mean) for p in (component.mean, component.log_variance))
        top_down = recognition.inject(coarsest, evidence, Gaussian(*parameters).sample(generator))
        for level in reversed(range(coarsest)):
            step = recognition.step(level)
            prior = self._prior(level, step.from_above(top_down))
            evidence, _ = step(features[level], top_down)
            top_down = recognition.inject(level, evidence, prior.sample(generator))
        drawn: Tensor = self.decoder(self._cells(top_down, 0))
        return drawn

    def _posterior(self, level: int, evidence: Tensor, mean: Tensor) -> Gaussian:
        """Return q(z_i | z_>i, x), with the level's latent margin."""
        return Gaussian.bounded(mean, self.log_variances[level](evidence))

    def _prior(self, level: int, from_above: Tensor) -> Gaussian:
        """Return p(z_i | z_>i) of what reaches the level from above, at the same locations."""
        return Gaussian.bounded(*self.ladder_priors[level](from_above).chunk(2, dim=1))

    def _cells(self, x: Tensor, level: int) -> Tensor:
        return crop_to_cells(x, self.classifier.geometry, level)


def crop_to_cells(x: Tensor, geometry: Geometry, level: int) -> Tensor:
    """Return the cells of the region from a tensor of this level that has its latent margin around them."""
    for axis, along in enumerate(geometry.axes, start=2):
        margin = along.latents[level]
        x = x.narrow(axis, margin, x.shape[axis] - 2 * margin)
    return x
