"""Freed memory is used again: no page of it is asked of the system twice."""

import platform
import subprocess
import sys

import pytest

MEBIBYTES, ROUNDS = 64, 20
PROGRAM = f"""
import resource, torch
from eseg_zoo.allocator import keep_freed_memory

if {{keep}}:
    keep_freed_memory()
for _ in range({ROUNDS}):  # to a steady state
    torch.ones({MEBIBYTES} << 18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    torch.ones({MEBIBYTES} << 18)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / 2**20)
"""


def mebibytes_touched_anew(*, keep: bool) -> float:
    """Return how much memory a program that makes and frees a large tensor again and again takes from the system."""
    program = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    return float(subprocess.run(program, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_freed_memory_is_used_again() -> None:
    if mebibytes_touched_anew(keep=False) < MEBIBYTES * ROUNDS / 2:
        pytest.skip("this system touches little memory anew by itself: its settings keep it, or its pages are huge")
    assert mebibytes_touched_anew(keep=True) < MEBIBYTES
