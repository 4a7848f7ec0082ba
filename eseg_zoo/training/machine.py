"""What a training runs on: which of the processes that train together this one is, and on what device.

It is known without Lightning, which takes seconds to import.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from eseg_zoo.config import TrainingSettings


def rank_and_count() -> tuple[int, int]:
    """Return (rank, processes) of the training at hand; (0, 1) while the processes have not met, or if it is one."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def device_of(settings: TrainingSettings) -> str:
    """Return the kind of device that a training is on: cuda, mps or cpu."""
    if settings.accelerator != "cpu":
        if torch.cuda.is_available():
            return "cuda"
        if torch.backends.mps.is_available():
            return "mps"
    return "cpu"
