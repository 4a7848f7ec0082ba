"""The processes that train one network together (`training.devices`): which of them this one is.

Lightning starts the others by the same command line, so each reads the data and the settings itself. The first one
alone writes files and reports.
"""

from __future__ import annotations

import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only


def is_first() -> bool:
    """Return whether this is the process that writes files; known before the processes have met."""
    return int(rank_zero_only.rank) == 0  # type: ignore[attr-defined]


def rank_and_count() -> tuple[int, int]:
    """Return (rank, processes) of the training at hand; (0, 1) while the processes have not met, or if it is one."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()
