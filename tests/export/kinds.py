"""A checkpoint of each kind that a package may be of: planes and volumes, coarse and fine z, channels, pixel sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.model.dense import DenseSegmenter

MakeCheckpoint = Callable[..., Checkpoint]
"""`random_checkpoint` of tests/conftest.py."""

PIXEL_SIZES = {"z": 0.65, "y": 0.005, "x": 0.005}


def fine_volume(checkpoint: Checkpoint) -> Checkpoint:
    """Return a 3D checkpoint that treats z like y and x, with weights like the given one's."""
    torch.manual_seed(1)
    architecture = replace(checkpoint.architecture, strides=[[2, 2, 2]] * 2, kernels=[[3, 3, 3]] * 2)
    segmenter = DenseSegmenter.of(architecture)
    state = segmenter.state_dict()
    same = {name: value for name, value in checkpoint.segmenter_state.items() if value.shape == state[name].shape}
    return replace(checkpoint, architecture=architecture, segmenter_state=state | same)


KINDS: dict[str, Callable[[MakeCheckpoint], Checkpoint]] = {
    "2D": lambda make: make(2),
    "2D, no pixel size": lambda make: replace(make(2), voxel_size={}),
    "2D, 0.65 um": lambda make: replace(make(2), voxel_size=dict.fromkeys("yx", 0.65)),
    "2D, two channels": lambda make: make(2, channels=2),
    "3D, coarse z": lambda make: replace(make(3), voxel_size=PIXEL_SIZES),
    "3D, fine z": lambda make: fine_volume(make(3)),
    "3D, fine z, no pixel size": lambda make: replace(fine_volume(make(3)), voxel_size={}),
    "3D, coarse z, two channels": lambda make: make(3, channels=2),
}
