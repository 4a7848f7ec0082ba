"""Threads that wait for each other sleep: on a busy machine those that spin take the cores from those that work."""

from __future__ import annotations

import os

# How long a thread spins before it sleeps: libgomp, which torch has on Linux, counts rounds; Intel's and LLVM's OpenMP
# milliseconds. They are read when torch is imported.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def wait_without_spinning() -> None:
    """Let OpenMP's threads, those of this process and its children, sleep while they wait; before torch is imported.

    Where the environment says how they wait, that stays. `benchmarks/busy.py` measures it. Sources: the manuals of
    libgomp (OMP_WAIT_POLICY, GOMP_SPINCOUNT) and of LLVM's OpenMP (KMP_BLOCKTIME).
    """
    if not os.environ.keys() & {*_WAITING, "GOMP_SPINCOUNT"}:
        os.environ.update(_WAITING)
