"""A synthetic two-channel fluorescence volume with its truth, for the demo and the tests.

Cells lie in a medium, some apart and some pressed together, each with one nucleus. Every cell takes up another amount
of both stains, the light fades towards the corners and with depth, and each channel sees some of the other's stain, so
that a dim nucleus is no brighter than a bright cell's cytoplasm: shape and surroundings tell the classes apart.
Lengths are in pixels of y and x; one section is `SECTION` pixels thick.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eseg_export.demo.phantom import SECTION, Bytes, Phantom, Reals, Shape, smooth_noise

BACKGROUND, CYTOPLASM, NUCLEUS = 1, 2, 3
CLASSES = {BACKGROUND: "background", CYTOPLASM: "cytoplasm", NUCLEUS: "nucleus"}
CHANNELS = ("nuclei", "cytoplasm")  # what is stained

STEPS = (SECTION, 1.0, 1.0)  # pixels between neighbouring voxels along z, y and x
MIN_SIDE = 128  # a smaller slice may not hold a cell and its surroundings
RADII = (24.0, 38.0)  # of cells
NUCLEUS_RADII = (0.48, 0.66)  # as shares of the cell's
RIM = 4.0  # cytoplasm between a nucleus and the cell's surface, at least
CLOSEST = 0.72  # distance of two cells' centres over the sum of their radii: below 1 they flatten each other
CROWDING = 6.0  # attempts to place a cell, per mean volume of one
WARP = 5.0  # standard deviation of the warp that takes the cells' roundness away

UPTAKE = 0.6  # standard deviation of the logarithm of a cell's brightness, each stain by itself
NUCLEAR, CYTOPLASMIC, MEDIUM = 40.0, 45.0, 18.0  # photons of a cell of mean brightness, and of the medium
IN_NUCLEUS = 0.65  # of the cytoplasm's stain
BLEED = ((1.0, 0.4), (0.4, 1.0))  # what each channel (row) sees of each stain (column)
BLUR = (1.4, 1.5, 1.5)  # standard deviation of the optics along z (in sections), y and x: worst along z
ATTENUATION = 0.012  # of the light, per section
OFFSET, GAIN, READ_NOISE = 100.0, 3.0, 4.0  # grey values: of the camera, per photon, and standard deviation


@dataclass(frozen=True)
class _Cells:
    """Where the cells are; a cell's number is its index in `radii`."""

    position: Reals  # (z, y, x, 3), position of each voxel in a gently warped space, pixels
    centres: NDArray[np.float64]  # (cells, 3)
    radii: NDArray[np.float64]  # (cells,)
    owner: NDArray[np.int32]  # (z, y, x), number of the cell, -1 in the medium

    def box(self, number: int) -> tuple[slice, ...]:
        """Return the part of the volume that may hold the cell: its radius and the warp around its centre."""
        reach = self.radii[number] + 4 * WARP
        return tuple(
            slice(max(int((middle - reach) / step), 0), max(int((middle + reach) / step) + 2, 0))
            for middle, step in zip(self.centres[number], STEPS, strict=True)
        )


def fluorescence_phantom(shape: Shape, *, rng: np.random.Generator) -> Phantom:
    """Return a two-channel volume of `shape` (z, y, x) with every voxel labelled; its image is (z, 2, y, x), uint16.

    Channel 0 is a nuclear stain and channel 1 a cytoplasm stain, each with some of the other. Raises ValueError for
    less than one section or a slice under 128 x 128.
    """
    if len(shape) != 3 or shape[0] < 1 or min(shape[1:]) < MIN_SIDE:
        raise ValueError(f"shape is {tuple(shape)}; it must be (z, y, x) with z >= 1 and y, x >= {MIN_SIDE}")
    cells = _grow(shape, rng)
    truth = np.where(cells.owner >= 0, CYTOPLASM, BACKGROUND).astype(np.uint8)
    for number in range(len(cells.radii)):
        _add_nucleus(cells, truth, number, rng)
    stains = _stain(cells, truth, rng)
    return Phantom(_micrograph(stains, rng), truth, dict(CLASSES))


def _grow(shape: Shape, rng: np.random.Generator) -> _Cells:
    """Return cells at random places, the first in the middle; where two meet they share a flat wall."""
    extent = np.array(shape) * STEPS
    centres, radii = [extent / 2], [float(rng.uniform(*RADII))]
    low, high = np.full(3, -RADII[1]), extent + RADII[1]
    attempts = int(CROWDING * np.prod(high - low) / (4 * np.mean(RADII) ** 3))  # 4 is about 4/3 pi
    for _ in range(attempts):
        centre, radius = rng.uniform(low, high), float(rng.uniform(*RADII))
        if (np.linalg.norm(np.array(centres) - centre, axis=1) > CLOSEST * (np.array(radii) + radius)).all():
            centres.append(centre)
            radii.append(radius)
    axes = [np.arange(size) * step for size, step in zip(shape, STEPS, strict=True)]
    position = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)
    position += WARP * np.stack([smooth_noise(shape, 28.0, rng) for _ in range(3)], axis=-1)
    cells = _Cells(position, np.array(centres), np.array(radii), np.full(shape, -1, np.int32))
    deepest = np.zeros(shape, np.float32)
    for number, radius in enumerate(radii):
        box = cells.box(number)
        depth = radius - np.linalg.norm(position[box] - centres[number].astype(np.float32), axis=-1)
        won = depth > deepest[box]
        deepest[box][won] = depth[won]
        cells.owner[box][won] = number
    return cells


def _add_nucleus(cells: _Cells, truth: Bytes, number: int, rng: np.random.Generator) -> None:
    """Label an ellipsoid off the cell's centre as its nucleus, as far as a rim of cytoplasm stays around it."""
    box, radius = cells.box(number), cells.radii[number]
    middle = cells.centres[number] + rng.normal(0.0, 0.1 * radius, 3)
    squeeze = rng.uniform(0.85, 1.25, 3)
    size = radius * rng.uniform(*NUCLEUS_RADII)
    mine = cells.owner[box] == number
    if not mine.any():
        return
    around = np.pad(mine, 1, "edge")  # a cell goes on beyond the border of the volume
    room = ndimage.distance_transform_edt(around, sampling=STEPS)[1:-1, 1:-1, 1:-1] - RIM
    away = np.linalg.norm((cells.position[box] - middle) * squeeze, axis=-1)
    truth[box][(away < size) & (room > 0)] = NUCLEUS


def _stain(cells: _Cells, truth: Bytes, rng: np.random.Generator) -> Reals:
    """Return the stains (2, z, y, x) in photons: what is in the sample before any optics."""
    shape = truth.shape
    count = len(cells.radii)
    brightness = np.exp(rng.normal(-(UPTAKE**2) / 2, UPTAKE, size=(2, count)))  # mean 1
    nuclear, cytoplasmic = (np.where(cells.owner >= 0, values[cells.owner], 0.0) for values in brightness)
    chromatin = np.clip(1.0 + 0.35 * smooth_noise(shape, 4.0, rng), 0.2, 2.0)
    nucleoli = np.clip(3.0 * (smooth_noise(shape, 6.0, rng) - 1.4), 0, 0.8)  # noise far above its mean: round spots
    granules = np.clip(1.0 + 0.3 * smooth_noise(shape, 3.0, rng), 0.2, 2.0)
    vacuoles = np.clip(3.0 * (smooth_noise(shape, 7.0, rng) - 1.5), 0, 0.9)
    dirt = np.clip(4.0 * (smooth_noise(shape, 3.0, rng) - 3.0), 0, 1)  # takes up the nuclear stain anywhere
    medium = MEDIUM * np.clip(1.0 + 0.6 * smooth_noise(shape, 150.0, rng), 0.2, None)
    dense = np.where(truth == CYTOPLASM, 1.0, np.where(truth == NUCLEUS, IN_NUCLEUS, 0.0))
    return np.stack(
        [
            medium / 2 + NUCLEAR * (nuclear * (truth == NUCLEUS) * chromatin * (1 - nucleoli) + dirt),
            medium + CYTOPLASMIC * cytoplasmic * dense * granules * (1 - vacuoles * (truth == CYTOPLASM)),
        ]
    ).astype(np.float32)


def _micrograph(stains: Reals, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return what a microscope makes of it, (z, 2, y, x): bleed-through, blur, fading light, shot noise, camera."""
    mixed = np.tensordot(BLEED, stains, 1)
    blurred = np.stack([ndimage.gaussian_filter(channel, BLUR, mode="nearest") for channel in mixed])
    depth, height, width = stains.shape[1:]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    bright = rng.uniform(-0.5, 0.5, 2)  # where the light is brightest
    light = 1.2 * np.exp(-0.8 * ((y - bright[0]) ** 2 + (x - bright[1]) ** 2))
    light = light * np.exp(-ATTENUATION * np.arange(depth))[:, None, None]
    photons = rng.poisson(np.maximum(blurred * light, 0))
    grey = OFFSET + GAIN * photons + rng.normal(0.0, READ_NOISE, photons.shape)
    image: NDArray[np.uint16] = np.clip(np.rint(grey), 0, 65535).astype(np.uint16)
    return np.ascontiguousarray(image.swapaxes(0, 1))
