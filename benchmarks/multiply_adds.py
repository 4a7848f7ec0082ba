"""Multiply-adds of a network, counted while it runs, so that networks of one size can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eseg_zoo.model.dense import Architecture, Classifier
from eseg_zoo.model.hvae import HVAE

SIDE = 1024  # of the slices that the comparison is made on


def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Return the multiply-adds of all convolutions and matrix products in one pass forward, batch included.

    Tensors on the `meta` device are counted without computing.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return int(counter.get_total_flops()) // 2  # torch counts the product and the sum


def prediction_cost(architecture: Mapping[str, Any]) -> float:
    """Return the multiply-adds per pixel of a whole slice, margin included, of this project's network."""
    shape = Architecture(**architecture)
    with torch.device("meta"):
        classifier = Classifier(shape).eval()
        sides = (SIDE + 2 * margin for margin in shape.geometry.margin)
        return multiply_adds(classifier, torch.empty(1, shape.channels, *sides)) / SIDE**2


def training_cost(architecture: Mapping[str, Any]) -> int:
    """Return the multiply-adds of one patch of the supervised stage, one pass forward, decoder included."""
    shape = Architecture(**architecture)
    sides = (stride + 2 * margin for stride, margin in zip(shape.geometry.stride, shape.geometry.margin, strict=True))
    with torch.random.fork_rng(devices=[]):
        return multiply_adds(HVAE(shape).eval(), torch.zeros(1, shape.channels, *sides))
