"""Which of the processes that train together this one is; known without Lightning, which takes seconds to import."""

from __future__ import annotations

import torch.distributed as dist


def rank_and_count() -> tuple[int, int]:
    """Return (rank, processes) of the training at hand; (0, 1) while the processes have not met, or if it is one."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()
