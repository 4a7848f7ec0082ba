"""The largest memory of a command and of all its processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

EVERY = 0.1  # seconds between two looks


def run(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the largest sum of the resident sizes of it and its children, in MB.

    Memory that processes share counts in each of them. Raises `CalledProcessError` where the command fails.
    """
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command)
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(map(_resident, [process, *process.children(recursive=True)])))
        time.sleep(EVERY)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - started, peak / 1e6


def _resident(process: psutil.Process) -> int:
    """Return the resident memory of a process in bytes, 0 when it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
