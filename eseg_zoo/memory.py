"""How much memory this process may still take, and what is said where it is not enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from eseg_zoo.errors import TooLittleMemoryError

# Of torch's messages, which are RuntimeErrors: of the CPU, of CUDA and Apple's GPUs, and of the CPU's convolutions.
_TORCH = ("not enough memory", "can't allocate memory", "out of memory", "could not create a primitive")
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def free_memory() -> int:
    """Return the bytes that are free on this machine, and no more than its container may have."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # there is no container, or it has no limit
        free = min(free, int(_CONTAINER_LIMIT.read_text(encoding="ascii")))
    return free


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the memory of the machine or of its GPU is too small."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in said for word in _TORCH))


@contextmanager
def telling_way_out(way_out: str) -> Iterator[None]:
    """Turn a lack of memory, however it shows, into one line that ends with a way out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        said = (str(error).strip().splitlines() or ["no more can be had"])[0]
        raise TooLittleMemoryError(f"the memory is too small ({said:.150}); {way_out}") from error
