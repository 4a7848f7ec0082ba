"""The cost of a network that is worked out from its shape is the one that is counted while it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import multiply_adds
from eseg_zoo.config import NetworkSettings
from eseg_zoo.model.cost import classifier_cost, parameters_of, training_cost
from eseg_zoo.model.dense import Classifier
from eseg_zoo.model.hvae import HVAE

NETWORKS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "2D": ({"width": 6, "latents": 3}, {}),
    "2D of equal widths": ({"filters": [8, 8], "latents": 4}, {}),
    "one level": ({"filters": [12], "latents": 4}, {}),
    "fine z": ({"dims": 3, "width": 6, "latents": 4}, {"z": 1.0, "y": 1.0, "x": 1.0}),
    "z twice coarser": ({"dims": 3, "width": 6, "latents": 4}, {"z": 2.0, "y": 1.0, "x": 1.0}),
    "coarse z": ({"dims": 3, "width": 6, "latents": 4}, {"z": 5.0, "y": 1.0, "x": 1.0}),
}


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_are_those_that_torch_counts(name: str, cells: int) -> None:
    settings, voxel_size = NETWORKS[name]
    shape = NetworkSettings(**settings).architecture(channels=2, classes=3, voxel_size=voxel_size)
    geometry = shape.geometry
    region = tuple(cells * stride for stride in geometry.stride)
    sides = [n + 2 * margin for n, margin in zip(region, geometry.margin, strict=True)]
    patch = torch.zeros(1, 2, *sides)
    classifier, hvae = Classifier(shape).eval(), HVAE(shape).eval()
    assert classifier_cost(shape, region).multiply_adds == multiply_adds.multiply_adds(classifier, patch)
    assert training_cost(shape, region).multiply_adds == multiply_adds.multiply_adds(hvae, patch)
    learnt = sum(weights.numel() for weights in hvae.parameters())
    assert parameters_of(shape) == pytest.approx(learnt, rel=0.06), "biases, gains and the mixture are left out"


def test_a_layer_returns_its_channels_at_each_place() -> None:
    """One level without any margin but that of its kernels: worked out by hand."""
    shape = NetworkSettings(filters=[4], latents=2).architecture(channels=1, classes=2)
    # Latents are wanted one place around 4 x 4; the block takes two more on each side, the low-pass filter one.
    sides = {"stem": 8 + 2 * 7, "pooled": 4 + 2 * 3, "between": 4 + 2 * 2, "features": 4 + 2 * 1}
    channels = {"stem": 4, "pooled": 4, "between": 4, "features": 4 + (4 + 2 + 8 + 4 + 2) + (8 + 8)}
    inner = sum(channels[name] * side**2 for name, side in sides.items())
    # Upsampled, the place around them is two pixels, where the head has the stem once more.
    assert classifier_cost(shape, (8, 8)).values == inner + (4 + 8 + 2) * (8 + 2 * 2) ** 2
