"""What the synthetic volumes share: a volume with its truth, and smooth noise to draw it with.

Lengths are in pixels of y and x. One section is `SECTION` pixels thick, so structures go on from slice to slice and
still change visibly, as in serial sections.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Reals = NDArray[np.float32]
Shape = tuple[int, int, int]

SECTION = 3.0


@dataclass(frozen=True)
class Phantom:
    """A synthetic volume with its truth."""

    image: NDArray[np.uint8] | NDArray[np.uint16]  # (z, y, x), or (z, c, y, x) where there are several channels
    truth: Bytes  # (z, y, x), every voxel one of `classes`
    classes: dict[int, str]


def smooth_noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Reals:
    """Return noise of mean 0 and standard deviation 1, correlated over about `scale` pixels along all three axes."""
    # Random values on a lattice, spread by a Gaussian along each axis: the cost does not grow with the scale.
    spreads = []
    for size, step in zip(shape, (SECTION, 1.0, 1.0), strict=True):
        lattice = np.arange(-3, math.ceil(size * step / scale) + 4)
        spread = np.exp(-0.5 * ((np.arange(size)[:, None] * step / scale - lattice) / 0.7) ** 2)
        spreads.append(spread / np.linalg.norm(spread, axis=1, keepdims=True))
    noise = rng.standard_normal([spread.shape[1] for spread in spreads])
    smooth: Reals = np.einsum("zi,yj,xk,ijk->zyx", *spreads, noise, optimize=True).astype(np.float32)
    return smooth
