"""How a stage steps: the optimiser, the schedule of its learning rate, and what the best weights are chosen by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

from eseg_zoo.config import TrainingSettings

# What the best checkpoint and early stopping go by: on the few held-out pixels the plain Dice has ties and jumps.
CHOICE = "val/soft_dice"
# A soft Dice that rises by less than this counts as stalled.
SMALLEST_GAIN = 1e-3

OPTIMISERS: dict[str, type[torch.optim.AdamW | torch.optim.Adamax]] = {
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
}


def optimisation(parameters: Iterable[nn.Parameter], settings: TrainingSettings) -> Any:
    """Return the optimiser and its schedule as Lightning wants them, for a stage of `settings.steps` steps."""
    optimiser = OPTIMISERS[settings.optimiser](
        parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = {"cosine": cosine_schedule, "plateau": plateau_schedule}[settings.schedule]
    return [optimiser], schedule(optimiser, settings)


def cosine_schedule(optimiser: Optimizer, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Return Lightning's description of a warm-up from 0, then a cosine that ends at 0 with the last step."""
    return [{"scheduler": LambdaLR(optimiser, lambda step: cosine_share(step, settings)), "interval": "step"}]


def cosine_share(step: int, settings: TrainingSettings) -> float:
    """Return the share of the largest learning rate at this step, counted from 0."""
    rising = _warmup_steps(settings)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(settings.steps - rising, 1)))


def plateau_schedule(optimiser: Optimizer, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Return Lightning's description of the same warm-up, then half the rate whenever the soft Dice has stalled."""
    rising = _warmup_steps(settings)
    warmup = LinearLR(optimiser, 1 / rising, total_iters=rising - 1)
    plateau = ReduceLROnPlateau(
        optimiser,
        "max",
        factor=0.5,
        patience=settings.plateau_patience - 1,  # torch lowers the rate one validation after its patience
        threshold=SMALLEST_GAIN,
        threshold_mode="abs",
    )
    plateau.cooldown_counter = rising // settings.epoch_steps  # validations within the warm-up do not count
    epoch_batches = settings.epoch_steps * settings.accumulate
    return [
        {"scheduler": warmup, "interval": "step"},
        # After the last step of an epoch: at its end it would be too late for the checkpoint, which is written before.
        # Lightning counts batches here, not steps.
        {"scheduler": plateau, "interval": "step", "frequency": epoch_batches, "monitor": CHOICE},
    ]


def _warmup_steps(settings: TrainingSettings) -> int:
    return max(round(settings.warmup * settings.steps), 1)
