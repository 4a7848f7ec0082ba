"""Averaged weights: validated, kept in the checkpoints, and what becomes the model."""

from __future__ import annotations

from functools import partial

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


def moving_average(decay: float, average: Tensor, current: Tensor, updates: Tensor) -> Tensor:
    """Return the exponential moving average after one more step; `updates` counts the ones before it, from 1.

    The decay rises as (1 + updates) / (10 + updates), so that a short training does not keep its first weights. Of
    integers, which count something, it is the current one.
    """
    if not average.is_floating_point():
        return current
    kept = ((1 + updates) / (10 + updates)).clamp(max=decay).to(average.dtype)
    return torch.lerp(average, current, 1 - kept)


class MovingAverage(WeightAveraging):
    """The exponential moving average of all weights.

    Every validation and every checkpoint's `state_dict` has the averages; a checkpoint keeps the weights at hand too,
    and training can go on from both. After the fit the module holds the averages.
    """

    def __init__(self, decay: float):
        super().__init__(use_buffers=True, avg_fn=partial(moving_average, decay))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning makes the average before it moves the module to its device.
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning does it when a training ends, but one that was resumed after its last step never begins.
        self._copy_average_to_current(pl_module)
        # A later validation is of the weights that the module holds then: Lightning would put the last average in.
        self._average_model = None
