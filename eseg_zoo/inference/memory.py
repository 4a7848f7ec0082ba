"""How large a tile may be: from the memory there is, and from what a pass of the network takes of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch

from eseg_zoo.model.dense import DenseSegmenter

# Tiles take this share of the memory that is free, but no more than that many bytes: the margin of a tile of 2 GiB is
# already cheap (a third of the work of a 3D one), and there may be other programs.
SHARE, MOST = 0.25, 2 << 30
# Pixels a side at most for each spatial rank: larger tiles are no faster.
LARGEST_TILE = {2: 1024, 3: 256}
# What is assumed to be free where the system does not say.
UNKNOWN = 4 << 30

_MEMINFO = Path("/proc/meminfo")
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def pass_bytes(segmenter: DenseSegmenter, tile: Sequence[int]) -> int:
    """Return about how many bytes a forward pass over a tile of this size (its margin comes to it) takes.

    The peak is the head at full resolution: four tensors of twice the stem's width, beside the logits, and before it
    the stem with its margin. Both are written down with room for the convolutions' own copies. Measured for widths 24
    to 64 in 2D and 3D, the truth was 0.6 to 1.4 times as much.
    """
    stem = len(next(segmenter.classifier.recognition.stem.parameters()))
    channels, classes = segmenter.mean.numel(), segmenter.log_prior_shift.numel()
    geometry = segmenter.geometry
    sides = [-(-n // step) * step for n, step in zip(tile, geometry.stride, strict=True)]
    padded = prod(n + 2 * margin for n, margin in zip(sides, geometry.margin, strict=True))
    return 4 * (padded * (4 * stem + 2 * channels) + prod(sides) * (8 * stem + 3 * classes))


def default_tile(segmenter: DenseSegmenter, space: Sequence[int]) -> int:
    """Return the side of the tiles, in whole cells, for a section of this size, that fits the memory at hand.

    It is at least one cell, whatever the memory.
    """
    budget = min(SHARE * free_memory(segmenter.mean.device), MOST)
    step = max(segmenter.geometry.stride)
    side = -(-min(LARGEST_TILE[len(space)], max(space)) // step) * step
    while side > step and pass_bytes(segmenter, [min(side, n) for n in space]) > budget:
        side -= step
    return side


def passes_at_once(segmenter: DenseSegmenter, tile: Sequence[int], *, bytes_for_all: int) -> int:
    """Return how many passes over tiles of this size to run side by side on the CPU: one a core, if they fit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(cores, bytes_for_all // pass_bytes(segmenter, tile)), 1)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on the device; on the CPU also no more than its container may have."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = UNKNOWN
    if _MEMINFO.exists() and (found := re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(encoding="ascii"))):
        free = int(found[1]) * 1024
    if _CONTAINER_LIMIT.exists() and (limit := _CONTAINER_LIMIT.read_text(encoding="ascii").strip()).isdigit():
        free = min(free, int(limit))
    return free
