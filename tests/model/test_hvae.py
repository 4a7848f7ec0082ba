"""The training network: its shapes, its randomness, what it may see, and that every weight learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from in_memory import source_of_arrays
from torch import Tensor

from eseg_zoo.config import LossWeights
from eseg_zoo.losses import Anchors, loss_terms
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.hvae import HVAE, Generation
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch

PLANE = Architecture(2, 2, 3, [6, 8, 10], 4, [[2, 2]] * 3, [[3, 3]] * 3)
VOLUME = Architecture(3, 1, 3, [4, 6], 2, [[1, 2, 2], [2, 2, 2]], [[1, 3, 3], [3, 3, 3]])
BOTH = pytest.mark.parametrize("shape", [PLANE, VOLUME], ids=["2D", "3D"])


def build(shape: Architecture, seed: int = 0) -> HVAE:
    torch.manual_seed(seed)
    return HVAE(shape)


def patches(shape: Architecture, count: int = 2, cells: int = 1, seed: int = 0) -> Tensor:
    geometry = shape.geometry
    size = [cells * s + 2 * m for s, m in zip(geometry.stride, geometry.margin, strict=True)]
    return torch.randn((count, shape.channels, *size), generator=torch.Generator().manual_seed(seed))


def generate(hvae: HVAE, x: Tensor, seed: int = 0) -> Generation:
    with torch.no_grad():
        return hvae(x, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cells", [1, 2])
def test_every_level_covers_the_region_in_a_plane(cells: int) -> None:
    found = generate(build(PLANE), patches(PLANE, cells=cells))
    side = 8 * cells
    assert found.logits.shape == (2, 3, side, side)
    assert found.reconstruction.shape == (2, 2, side, side)
    assert found.class_logits.shape == (2, 3, cells, cells)
    level_shapes = [(2, 4, side // step, side // step) for step in (2, 4, 8)]
    assert [q.mean.shape for q in found.posteriors] == level_shapes
    assert [q.log_variance.shape for q in found.posteriors] == level_shapes
    assert [p.mean.shape for p in found.ladder_priors] == level_shapes[:-1]
    assert [p.log_variance.shape for p in found.ladder_priors] == level_shapes[:-1]


def test_every_level_covers_the_region_in_a_volume() -> None:
    found = generate(build(VOLUME), patches(VOLUME))
    assert found.logits.shape == (2, 3, 2, 4, 4)
    assert found.reconstruction.shape == (2, 1, 2, 4, 4)
    assert [q.mean.shape for q in found.posteriors] == [(2, 2, 2, 2, 2), (2, 2, 1, 1, 1)]
    assert [p.mean.shape for p in found.ladder_priors] == [(2, 2, 2, 2, 2)]


@BOTH
def test_a_pass_follows_its_generator(shape: Architecture) -> None:
    hvae = build(shape).eval()
    first, again, other = (generate(hvae, patches(shape), seed) for seed in (0, 0, 1))
    assert torch.equal(first.reconstruction, again.reconstruction)
    assert torch.equal(first.logits, again.logits)
    assert not torch.equal(first.reconstruction, other.reconstruction)
    # The coarsest posterior has nothing random above it; the finer ones do.
    assert torch.equal(first.posteriors[-1].mean, other.posteriors[-1].mean)
    assert not torch.equal(first.posteriors[0].mean, other.posteriors[0].mean)


def test_logits_without_noise_are_those_of_the_exported_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    hvae, x = build(PLANE).eval(), patches(PLANE)
    noisy = generate(hvae, x).logits
    monkeypatch.setattr("eseg_zoo.model.latent.Gaussian.sample", lambda self, generator: self.mean)
    with torch.no_grad():
        exported = hvae.classifier(x)
    torch.testing.assert_close(generate(hvae, x).logits, exported, rtol=0, atol=1e-6)
    assert not torch.allclose(noisy, exported, rtol=0, atol=1e-6)


def test_the_head_reads_means_not_samples() -> None:
    shape = Architecture(2, 1, 3, [6], 4, [[2, 2]], [[3, 3]])  # one level: the mean does not depend on a draw
    hvae = build(shape).eval()
    first, other = (generate(hvae, patches(shape), seed) for seed in (0, 1))
    assert torch.equal(first.logits, other.logits)
    assert not torch.equal(first.reconstruction, other.reconstruction)


def test_posteriors_are_bounded_and_centred_on_the_cells() -> None:
    hvae = build(PLANE).eval()
    x = patches(PLANE, cells=3)
    inner = x[..., 8:-8, 8:-8]  # the middle cell alone
    all_cells, one_cell = generate(hvae, x).posteriors[-1], generate(hvae, inner).posteriors[-1]
    torch.testing.assert_close(all_cells.mean[..., 1:2, 1:2], one_cell.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(all_cells.log_variance[..., 1:2, 1:2], one_cell.log_variance, rtol=0, atol=1e-5)
    wild = generate(hvae, 1e6 * x)
    for gaussian in wild.posteriors + wild.ladder_priors:
        assert gaussian.log_variance.min() >= -8
        assert gaussian.log_variance.max() <= 4


def hidden_batch(pixel_value: float) -> Batch:
    """One patch of an image whose anchor has this value, with the 3 x 3 pixels around the anchor hidden."""
    geometry = PatchGeometry(PLANE.geometry.stride, PLANE.geometry.margin)
    image = np.random.default_rng(0).normal(size=(2, 150, 150))
    image[:, 70, 75] = pixel_value  # farther than the margin from the border, so it has no mirror image in the patch
    source = source_of_arrays([image], geometry)
    anchors = AnchorSet(np.array([[0, 70, 75]]), np.array([1]), np.array([1]))
    return source.batch(anchors, np.array([[3, 6]]), mask_sides=np.array([3]))


def test_a_hidden_pixel_reaches_neither_the_input_nor_the_reconstruction() -> None:
    hvae = build(PLANE).eval()
    dark, bright = hidden_batch(-9.0), hidden_batch(9.0)
    assert not torch.equal(dark.patches, bright.patches)
    masked = [batch.patches * (1 - batch.hidden) for batch in (dark, bright)]
    assert torch.equal(*masked)
    reconstructions = [generate(hvae, x).reconstruction for x in masked]
    assert torch.equal(*reconstructions)
    seen = generate(hvae, dark.patches).reconstruction
    assert not torch.equal(reconstructions[0], seen)


@BOTH
def test_the_gradient_of_the_total_loss_reaches_every_parameter(shape: Architecture) -> None:
    hvae = build(shape).train()
    geometry, x = shape.geometry, patches(shape, count=6)
    inner: Any = (..., *(slice(m, m + s) for s, m in zip(geometry.stride, geometry.margin, strict=True)))
    hidden = torch.zeros_like(x[:, :1])
    hidden[inner] = 1
    terms = loss_terms(
        hvae(x * (1 - hidden), torch.Generator().manual_seed(0)),
        hvae.mixture,
        Anchors(torch.zeros(6, shape.dims, dtype=torch.long), torch.tensor([0, 1, 2, 0, 1, 2])),
        image=x[inner],
        hidden=hidden[inner],
        strides=[(2, 2), (4, 4), (8, 8)] if shape is PLANE else [(1, 2, 2), (2, 4, 4)],
    )
    terms.total(LossWeights()).backward()
    for name, parameter in hvae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_generative_state_is_everything_but_the_classifier() -> None:
    hvae = build(PLANE)
    state: dict[str, Any] = hvae.generative_state()
    assert {key.split(".")[0] for key in state} == {"log_variances", "ladder_priors", "mixture", "decoder"}
    classifier = {f"classifier.{key}" for key in hvae.classifier.state_dict()}
    assert set(state) | classifier == set(hvae.state_dict())
