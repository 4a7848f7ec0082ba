"""What this machine can do, known without torch: whether it has a GPU, and how fast its CPU multiplies."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_PATIENCE = 10  # seconds for nvidia-smi, which may wake the card
# Side of the matrices that are multiplied: large enough for the full rate, and a few hundredths of a second each.
_SIDE = 1024
_SECONDS = 0.3


def has_gpu() -> bool:
    """Say whether there is a GPU that torch would use: one of NVIDIA, or that of an Apple computer."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    if _NVIDIA.is_dir():
        return any(_NVIDIA.iterdir())
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and listed.stdout.startswith("GPU ")


def multiply_adds_per_second(clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how many multiply-adds of large matrices the CPU does in a second of a clock, in single precision, now.

    It takes about a third of a second. The best of several is taken: another program may disturb some of them.
    """
    matrix = np.ones((_SIDE, _SIDE), np.float32)
    result = matrix @ matrix  # the first product starts the threads
    best, began = float("inf"), clock()
    while clock() - began < _SECONDS:
        before = clock()
        np.matmul(matrix, matrix, out=result)
        best = min(best, clock() - before)
    return _SIDE**3 / best
