"""How much memory this process may still take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def free_memory() -> int:
    """Return the bytes that are free on this machine, and no more than its container may have."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # there is no container, or it has no limit
        free = min(free, int(_CONTAINER_LIMIT.read_text(encoding="ascii")))
    return free
