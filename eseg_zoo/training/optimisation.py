"""How a stage steps: the optimiser, the schedule of its learning rate, and what the best weights are chosen by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from eseg_zoo.config import TrainingSettings

# What the best checkpoint and early stopping go by: on the few held-out pixels the plain Dice has ties and jumps.
CHOICE = "val/soft_dice"
# A soft Dice that rises by less than this counts as stalled.
SMALLEST_GAIN = 1e-3


def optimisation(parameters: Iterable[nn.Parameter], settings: TrainingSettings) -> Any:
    """Return `optimiser_and_schedule` as Lightning wants them."""
    optimiser, schedule = optimiser_and_schedule(parameters, settings)
    return [optimiser], [{"scheduler": schedule, "interval": "step"}]


def optimiser_and_schedule(
    parameters: Iterable[nn.Parameter], settings: TrainingSettings
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Return AdamW and its schedule, for a stage of `settings.steps` steps.

    The rate rises from 0 over the warm-up, then falls along a cosine that ends at 0 with the last step.
    """
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return optimiser, LambdaLR(optimiser, lambda step: cosine_share(step, settings))


def cosine_share(step: int, settings: TrainingSettings) -> float:
    """Return the share of the largest learning rate at this step, counted from 0."""
    rising = warmup_steps(settings)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(settings.steps - rising, 1)))


def warmup_steps(settings: TrainingSettings) -> int:
    """Return how many steps the learning rate rises for, at least 1."""
    return max(round(settings.warmup * settings.steps), 1)
