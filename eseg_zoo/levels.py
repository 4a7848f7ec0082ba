"""How deep a network is and what each level does along z: from how coarse z is, for a training that a laptop can bear.

A labelled voxel's patch is one cell of the coarsest level with the margin around it, so every level that halves z more
than doubles the patch. Multiply-adds (one channel, five classes, width 32 in 2D and 24 in 3D), worked out before the
choice; 'shrinks' are the strides along z, 'mixes' the kernels, finest level first, and the last numbers are for a patch
and for a voxel of a volume of 64 x 256 x 256:

| z            | shrinks | mixes   | margin     | patch           | kvoxels | M a patch | k a voxel |        |
|--------------|---------|---------|------------|-----------------|---------|-----------|-----------|--------|
| none (2D)    |         |         | 52, 52     | 112 x 112       |      13 |        52 |        14 |        |
| fine         | 2, 2, 2 | 3, 3, 3 | 52, 52, 52 | 112 x 112 x 112 |    1405 |      3102 |        19 |        |
| fine         | 2, 2    | 3, 3    | 24, 24, 24 | 52 x 52 x 52    |     141 |       185 |         9 | chosen |
| coarser by 2 | 1, 2, 2 | 3, 3, 3 | 26, 52, 52 | 56 x 112 x 112  |     702 |      3222 |        29 |        |
| coarser by 2 | 1, 2    | 3, 3    | 10, 24, 24 | 22 x 52 x 52    |      59 |       154 |        16 | chosen |
| coarser by 4 | 1, 1, 2 | 1, 3, 3 | 9, 52, 52  | 20 x 112 x 112  |     251 |       815 |        19 |        |
| coarser by 4 | 1, 1    | 1, 3    | 2, 24, 24  | 5 x 52 x 52     |      14 |        20 |        10 |        |
| by 4 or more | 1, 1, 1 | 1, 1, 3 | 2, 52, 52  | 5 x 112 x 112   |      63 |       144 |        12 | chosen |

So where z is fine, two levels: a third costs 17 times as much a patch, and a cube of 52 voxels holds 11 times what a 2D
patch of 112 x 112 does. Where z is coarse, the three levels of 2D, each plane seen alone but for the coarsest level,
which sees two planes on either side: finer structures do not go on from plane to plane there.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, sqrt

# From so many halvings of y and x until z is as fine: a ratio of 2.83.
COARSE = 2


def anisotropy(voxel_size: Mapping[str, float]) -> float:
    """Return how many times coarser z is than y and x, given micrometres per voxel; 1 where one of them is unknown."""
    if not {"z", "y", "x"} <= set(voxel_size):
        return 1.0
    return voxel_size["z"] / sqrt(voxel_size["y"] * voxel_size["x"])


def _halvings(ratio: float) -> int:
    """Return how often y and x are halved until z is as fine: 0 for a ratio below 1.41, 1 to 2.83, 2 to 5.66, ..."""
    return max(round(log2(ratio)), 0)


def is_coarse(ratio: float) -> bool:
    """Say whether z is so coarse that a volume is rather a stack of planes."""
    return _halvings(ratio) >= COARSE


def depth(dims: int, ratio: float) -> int:
    """Return the number of levels that training can bear."""
    return 2 if dims == 3 and not is_coarse(ratio) else 3


def strides(dims: int, levels: int, ratio: float) -> list[list[int]]:
    """Return `strides[level][axis]`: y and x are halved at every level, z only when they have become as coarse."""
    along_z = [1 if is_coarse(ratio) or level < _halvings(ratio) else 2 for level in range(levels)]
    return [[z, 2, 2][-dims:] for z in along_z]


def kernels(dims: int, levels: int, ratio: float) -> list[list[int]]:
    """Return `kernels[level][axis]`: 3, but along a coarse z 1 on all levels above the coarsest."""
    along_z = [1 if is_coarse(ratio) and level < levels - 1 else 3 for level in range(levels)]
    return [[z, 3, 3][-dims:] for z in along_z]
