"""Multiply-adds and bytes of a network, counted while it runs, so that networks of one size can be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from eseg_zoo.config import UNLABELLED_CELLS, SemiSupervisedSettings
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import Classifier
from eseg_zoo.model.hvae import HVAE

SIDE = 1024  # of the slices that the comparison is made on


def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Return the multiply-adds of all convolutions and matrix products in one pass forward, batch included.

    Tensors on the `meta` device are counted without computing.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    operations: int = counter.get_total_flops()
    return operations // 2  # torch counts the product and the sum


class _BytesWritten(TorchDispatchMode):
    """Adds up the bytes of what operations return, unless it shares its memory with what they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in args if isinstance(x, Tensor)}
        is_in_place = func.__name__.split(".")[0].endswith("_")
        for x in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(x, Tensor) and (is_in_place or x.untyped_storage()._cdata not in given):
                self.total += x.numel() * x.element_size()
        return result


def bytes_written(call: Callable[..., Any], *inputs: Tensor) -> int:
    """Return the bytes that the operations of one call write, eagerly: each result once, in-place ones too."""
    with _BytesWritten() as counter, torch.no_grad():
        call(*inputs)
    return counter.total


def prediction_cost(architecture: Architecture) -> float:
    """Return the multiply-adds per pixel of a whole slice, margin included, of this project's network."""
    with torch.device("meta"):
        classifier = Classifier(architecture).eval()
        sides = (SIDE + 2 * margin for margin in architecture.geometry.margin)
        return multiply_adds(classifier, torch.empty(1, architecture.channels, *sides)) / SIDE**2


def training_cost(architecture: Architecture, *, cells: int = 1) -> int:
    """Return the multiply-adds of training on one patch with a region of `cells` cells a side, decoder included.

    They are those of a pass forward and of the pass backward, which is twice as much.
    """
    with torch.random.fork_rng(devices=[]):
        return 3 * multiply_adds(HVAE(architecture).eval(), _patch(architecture, cells))


def semi_supervised_cost(architecture: Architecture, settings: SemiSupervisedSettings) -> int:
    """Return the multiply-adds of one step of the semi-supervised stage: student and teacher."""
    cells = settings.cells or UNLABELLED_CELLS[architecture.dims]
    with torch.random.fork_rng(devices=[]):
        labels = multiply_adds(Classifier(architecture).eval(), _patch(architecture, cells))
    unlabelled = training_cost(architecture, cells=cells) + labels
    return settings.labelled * training_cost(architecture) + settings.unlabelled * unlabelled


def _patch(architecture: Architecture, cells: int) -> Tensor:
    """Return a patch (1, c, *space) of zeros with a region of `cells` cells a side."""
    geometry = architecture.geometry
    sides = [cells * stride + 2 * margin for stride, margin in zip(geometry.stride, geometry.margin, strict=True)]
    return torch.zeros(1, architecture.channels, *sides)
