"""Memory that is freed stays with the program: a network's tensors are large, and come and go all the time."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h: how much freed memory is kept, which blocks are never kept, and for how many threads apart.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST = 2**31 - 1  # that an int holds


def keep_freed_memory() -> None:
    """Let this process reuse freed memory instead of handing it back; without glibc nothing changes.

    By itself, glibc maps every tensor above 32 MiB anew and unmaps it when it is freed, and the kernel clears each page
    when it is touched first: about half of the time of a forward pass over a tile of 1024 x 1024 pixels. The process
    holds what it needed at its peak, which is what it must find free anyway. All threads share what is freed: a heap
    of their own has room for 64 MiB only. Source: the manual page mallopt(3).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, _LARGEST)
    mallopt(_M_ARENA_MAX, 1)
