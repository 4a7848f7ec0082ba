"""The four terms of the ε-Seg loss, pure functions of tensors, and their weighted sum (arXiv:2510.18637, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from eseg_zoo.config import LossWeights
from eseg_zoo.model.hvae import Generation
from eseg_zoo.model.latent import Gaussian, kl_divergence
from eseg_zoo.model.prior import INITIAL_SEPARATION, MixturePrior

# Latent means of different classes closer than this are pushed apart: as far as the prior's means are from the origin.
CONTRASTIVE_MARGIN = INITIAL_SEPARATION
# Keeps 1 / distance and its gradient finite for duplicates: the push of a pair is at most 1 / 0.1 + margin^2.
CONTRASTIVE_EPSILON = 0.1


@dataclass(frozen=True)
class Anchors:
    """The labelled pixels of a batch: where they are in the region that the network predicts, and their classes."""

    position: Tensor  # (b, dims) integer pixels, each axis in 0..region-1
    labels: Tensor  # (b,) class indices 0..classes-1

    def pick(self, x: Tensor, stride: tuple[int, ...]) -> Tensor:
        """Return the values of x (b, c, *cells) at the anchors, (b, c), for a level with this total stride."""
        index = [self.position[:, axis] // step for axis, step in enumerate(stride)]
        channels = torch.arange(x.shape[1], device=x.device)[None]
        batch = torch.arange(x.shape[0], device=x.device)[:, None]
        return x[(batch, channels, *(i[:, None] for i in index))]


@dataclass(frozen=True)
class LossTerms:
    """The terms before weighting, each a scalar."""

    inpainting: Tensor
    kl: Tensor
    contrastive: Tensor
    cross_entropy: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """Return alpha * inpainting + beta * KL + gamma * contrastive + cross-entropy."""
        generative = weights.alpha * self.inpainting + weights.beta * self.kl
        return generative + weights.gamma * self.contrastive + self.cross_entropy

    def named(self) -> dict[str, Tensor]:
        """Return the terms by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class UnlabelledTerms:
    """The terms that need no label, before weighting, each a scalar."""

    inpainting: Tensor
    kl: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """Return alpha * inpainting + beta * KL."""
        return weights.alpha * self.inpainting + weights.beta * self.kl


def inpainting_loss(reconstruction: Tensor, image: Tensor, hidden: Tensor) -> Tensor:
    """Return the mean of 1/2 (x - x_hat)^2 over the hidden pixels; 0 when nothing is hidden.

    `reconstruction` and `image` are (b, c, *region), normalised; `hidden` (b, 1, *region) is 1 where the network's
    input was masked. This is the Gaussian negative log-likelihood of unit variance without its constant.
    """
    error = 0.5 * (image - reconstruction).square() * hidden
    return error.sum() / (hidden.sum() * image.shape[1]).clamp(min=1)


def ladder_kl(posteriors: list[Gaussian], priors: list[Gaussian]) -> Tensor:
    """Return sum_i KL(q(z_i | ...) || p(z_i | z_>i)) of all levels but the coarsest, mean over batch and locations."""
    kls = [kl_divergence(q, p).sum(1).mean() for q, p in zip(posteriors[:-1], priors, strict=True)]
    return torch.stack(kls).sum() if kls else torch.zeros(())


def class_posterior_loss(class_logits: Tensor, labels: Tensor, log_weights: Tensor) -> Tensor:
    """Return the cross-entropy of q(y|x) at the labels plus KL(mean over the batch of q(y|x) || pi).

    `class_logits` (b, classes) and `labels` (b,) belong to the anchors; `log_weights` (classes,) is log pi. The second
    term holds over the batch: per sample it would push every prediction towards uniform.
    """
    average = class_logits.softmax(1).mean(0)
    balance = (average * (average.clamp(min=1e-8).log() - log_weights)).sum()
    return F.cross_entropy(class_logits, labels) + balance


def contrastive_loss(means: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Return the contrastive term of latent means (n, latents) with class indices (n,); a scalar >= 0.

    With the Euclidean distance d, pairs of one class pay d, pairs of two classes pay 1/(d + eps) + max(m - d, 0)^2,
    averaged within each class pair. Between classes, the pairs of classes that pay most (the closest) weigh most, by a
    softmax that carries no gradient. A batch with one class, or with one sample of each, lacks the other term: 0.

    It is computed in single precision at least, whatever the network is: in 16 bits the sums over pairs overflow.
    """
    with torch.autocast(means.device.type, enabled=False):
        return _contrastive(means.to(torch.promote_types(means.dtype, torch.float32)), labels, classes)


def _contrastive(means: Tensor, labels: Tensor, classes: int) -> Tensor:
    one_hot = F.one_hot(labels, classes).to(means.dtype)
    distance = (means[:, None] - means[None]).square().sum(-1).clamp(min=1e-12).sqrt()
    others = 1 - torch.eye(len(means), dtype=means.dtype, device=means.device)
    push = 1 / (distance + CONTRASTIVE_EPSILON) + (CONTRASTIVE_MARGIN - distance).clamp(min=0).square()
    pairs = one_hot.T @ others @ one_hot  # number of ordered sample pairs of each class pair
    present = pairs > 0
    same = torch.eye(classes, dtype=torch.bool, device=means.device)
    pull_terms = (one_hot.T @ (distance * others) @ one_hot)[same & present] / pairs[same & present]
    push_terms = (one_hot.T @ push @ one_hot)[~same & present] / pairs[~same & present]
    pull = pull_terms.mean() if len(pull_terms) else means.sum() * 0
    weights = push_terms.detach().softmax(0)
    return pull + (weights * push_terms).sum()


def loss_terms(
    generation: Generation,
    mixture: MixturePrior,
    anchors: Anchors,
    *,
    image: Tensor,
    hidden: Tensor,
    strides: list[tuple[int, ...]],
) -> LossTerms:
    """Return the terms of a labelled batch.

    `image` (b, c, *region) is the normalised region without its margin, `hidden` (b, 1, *region) its mask, `strides`
    the total stride of each level, finest first.
    """
    at_anchor = [
        Gaussian(anchors.pick(q.mean, stride), anchors.pick(q.log_variance, stride))
        for q, stride in zip(generation.posteriors, strides, strict=True)
    ]
    class_logits = anchors.pick(generation.class_logits, strides[-1])
    classes = generation.logits.shape[1]
    kl = (
        mixture.labelled_kl(at_anchor[-1], anchors.labels).mean()
        + ladder_kl(generation.posteriors, generation.ladder_priors)
        + class_posterior_loss(class_logits, anchors.labels, mixture.log_weights)
    )
    contrastive = torch.stack([contrastive_loss(q.mean, anchors.labels, classes=classes) for q in at_anchor])
    pixel = tuple(1 for _ in strides[0])
    return LossTerms(
        inpainting=inpainting_loss(generation.reconstruction, image, hidden),
        kl=kl,
        contrastive=contrastive.mean(),
        cross_entropy=F.cross_entropy(anchors.pick(generation.logits, pixel), anchors.labels),
    )


def unlabelled_terms(
    generation: Generation, mixture: MixturePrior, *, image: Tensor, hidden: Tensor
) -> UnlabelledTerms:
    """Return the terms of unlabelled patches; `image` and `hidden` as in `loss_terms`.

    The coarsest latent pays its KL to the whole mixture, at every location, as no component is known to be its own.
    """
    coarsest = generation.posteriors[-1]
    mean, log_variance = (x.movedim(1, -1).flatten(0, -2) for x in (coarsest.mean, coarsest.log_variance))
    kl = mixture.mixture_kl(Gaussian(mean, log_variance)).mean()
    return UnlabelledTerms(
        inpainting=inpainting_loss(generation.reconstruction, image, hidden),
        kl=kl + ladder_kl(generation.posteriors, generation.ladder_priors),
    )


def pseudo_label_loss(logits: Tensor, targets: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (b, classes, *region) with class probabilities `targets` of that shape.

    The mean is over the pixels where the mask `chosen` (b, *region) is true; 0 if there is no such pixel.
    """
    each = -(targets * logits.log_softmax(1)).sum(1)
    return (each * chosen).sum() / chosen.sum().clamp(min=1)
