"""The hierarchical VAE of training: the exported classifier plus the parts that only learning needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eseg_zoo.model.dense import Architecture, Classifier, Geometry, pointwise
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
        posteriors: dict[int, Gaussian] = {}

        def draw(level: int, evidence: Tensor, mean: Tensor, above: Tensor | None) -> Tensor:
            posteriors[level] = Gaussian.bounded(mean, self.log_variances[level](evidence))
            return posteriors[level].sample(generator)

        recognised = self.classifier.recognition(x, draw)
        assert recognised.top_down is not None, "latents are drawn"
        cells = partial(crop_to_cells, geometry=self.classifier.geometry)
        return Generation(
            logits=self.classifier.head(recognised.means, recognised.stem),
            class_logits=cells(recognised.class_logits, level=len(posteriors) - 1),
            posteriors=[
                Gaussian(cells(q.mean, level=level), cells(q.log_variance, level=level))
                for level, q in sorted(posteriors.items())
            ],
            ladder_priors=[
                Gaussian.bounded(*cells(prior(above), level=level).chunk(2, dim=1))
                for level, (prior, above) in enumerate(zip(self.ladder_priors, recognised.above, strict=True))
            ],
            reconstruction=self.decoder(cells(recognised.top_down, level=0)),
        )

    def imagine(self, x: Tensor, label: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a draw of the region (b, channels, *region) in which the coarsest latent is of the class `label`.

        The coarsest latent comes from the class's component of the prior, the others from the ladder's priors; x is
        what is seen around them, as in `forward`.
        """

        def draw(level: int, evidence: Tensor, mean: Tensor, above: Tensor | None) -> Tensor:
            if above is not None:
                return Gaussian.bounded(*self.ladder_priors[level](above).chunk(2, dim=1)).sample(generator)
            component, everywhere = self.mixture.components, (None, slice(None), *(None for _ in mean.shape[2:]))
            parameters = (p[label][everywhere].expand_as(mean) for p in (component.mean, component.log_variance))
            return Gaussian(*parameters).sample(generator)

        top_down = self.classifier.recognition(x, draw).top_down
        assert top_down is not None, "latents are drawn"
        drawn: Tensor = self.decoder(crop_to_cells(top_down, self.classifier.geometry, 0))
        return drawn


def crop_to_cells(x: Tensor, geometry: Geometry, level: int) -> Tensor:
    """Return the cells of the region from a tensor of this level that has its latent margin around them."""
    for axis, along in enumerate(geometry.axes, start=2):
        margin = along.latents[level]
        x = x.narrow(axis, margin, x.shape[axis] - 2 * margin)
    return x
