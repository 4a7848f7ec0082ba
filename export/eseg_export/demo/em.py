"""A synthetic EM volume with its truth, for the demo and the tests.

No class has a grey value of its own: shape and texture tell them apart. Lengths are in pixels of y and x.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from eseg_export.demo.phantom import SECTION, Bytes, Phantom, Reals, Shape, smooth_noise

MEMBRANE, CYTOPLASM, MITOCHONDRION, VESICLES = 1, 2, 3, 4
CLASSES = {MEMBRANE: "membrane", CYTOPLASM: "cytoplasm", MITOCHONDRION: "mitochondrion", VESICLES: "vesicles"}

MIN_SIDE = 64  # a smaller slice may not hold a cell with its organelles
CELL = 90.0  # edge of a cube with the mean volume of a cell
MEMBRANE_HALF = 2.5
GAP = 4.0  # from the surface between two cells to the nearest organelle
VESICLE = 4.2  # radius
SHARES = {MITOCHONDRION: 0.12, VESICLES: 0.07}  # of all voxels
REACHES = {MITOCHONDRION: 72.0, VESICLES: 46.0}  # no organelle goes further from its centre, warp included
DARK, GREY, LIGHT = 80.0, 130.0, 165.0  # the same greys draw every class
GREY_PER_ELECTRON = 2.0  # shot noise of 16 grey values at GREY


@dataclass(frozen=True)
class _Tissue:
    """The volume while it is drawn: `truth` and `grey` are painted in place."""

    position: Reals  # (z, y, x, 3), position of each voxel in a gently warped space, pixels
    cell: NDArray[np.int64]  # (z, y, x)
    wall: Reals  # (z, y, x), distance to the surface between cells
    truth: Bytes
    grey: Reals


@dataclass(frozen=True)
class _Site:
    """The surroundings of one voxel, where an organelle may lie."""

    offset: Reals  # (z, y, x, 3), from that voxel
    room: Reals  # (z, y, x), distance to the edge of the cell, less GAP; negative beyond
    free: NDArray[np.bool_]  # (z, y, x), no other organelle
    grey: Reals  # (z, y, x), what lies there now


Organelle = tuple[NDArray[np.bool_], Reals]  # where it is in its site, and its greys


def em_phantom(shape: Shape, *, rng: np.random.Generator) -> Phantom:
    """Return a stack of EM-like sections of `shape` (z, y, x) with every voxel labelled.

    Membranes are dark, but so are lipid drops and reticulum (both cytoplasm), cristae and the rims of vesicles.
    Raises ValueError for less than one section or a slice under 64 x 64.
    """
    if len(shape) != 3 or shape[0] < 1 or min(shape[1:]) < MIN_SIDE:
        raise ValueError(f"shape is {tuple(shape)}; it must be (z, y, x) with z >= 1 and y, x >= {MIN_SIDE}")
    tissue = _cells(shape, rng)
    _paint_cytoplasm(tissue, rng)
    _scatter(tissue, MITOCHONDRION, _mitochondrion, rng)
    _scatter(tissue, VESICLES, _vesicles, rng)
    _paint_membranes(tissue, rng)
    return Phantom(_micrograph(tissue.grey, rng), tissue.truth, dict(CLASSES))


def _cells(shape: Shape, rng: np.random.Generator) -> _Tissue:
    """Return Voronoi cells in a warped space, membranes labelled, nothing painted."""
    axes = [np.arange(size) * step for size, step in zip(shape, (SECTION, 1.0, 1.0), strict=True)]
    position = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    low, high = position[0, 0, 0] - 1.5 * CELL, position[-1, -1, -1] + 1.5 * CELL
    seeds = rng.uniform(low, high, size=(int(np.prod(high - low) / CELL**3), 3))
    position = position + 8.0 * np.stack([smooth_noise(shape, 32.0, rng) for _ in range(3)], axis=-1)
    distance, nearest = cKDTree(seeds).query(position, k=3)
    # To the plane midway between two seeds; the third nearest seed matters where three cells meet.
    apart = np.linalg.norm(seeds[nearest[..., 1:]] - seeds[nearest[..., :1]], axis=-1)
    wall = ((distance[..., 1:] ** 2 - distance[..., :1] ** 2) / (2 * apart)).min(axis=-1)
    truth = np.where(wall < MEMBRANE_HALF, MEMBRANE, CYTOPLASM).astype(np.uint8)
    grey = np.full(shape, GREY, np.float32)
    return _Tissue(position.astype(np.float32), nearest[..., 0], wall.astype(np.float32), truth, grey)


def _paint_cytoplasm(tissue: _Tissue, rng: np.random.Generator) -> None:
    """Paint granules, lipid drops and reticulum; each cell has its own shade."""
    shape = tissue.truth.shape
    shade = rng.normal(0.0, 8.0, size=tissue.cell.max() + 1)
    granules = 12.0 * 3.5 * ndimage.gaussian_filter(rng.standard_normal(shape), (0, 1, 1))  # 3.5 undoes its damping
    tissue.grey[...] += shade[tissue.cell] + granules
    drops = np.clip(4.0 * (smooth_noise(shape, 6.0, rng) - 2.3), 0, 1)  # noise far above its mean: round spots
    sheets = np.clip(1.5 - 12.0 * np.abs(smooth_noise(shape, 14.0, rng)), 0, 1)  # noise at its mean: thin sheets
    sheets *= np.clip(4.0 * (smooth_noise(shape, 20.0, rng) - 0.8), 0, 1)
    tissue.grey[...] += np.maximum(drops, sheets) * (DARK - tissue.grey)


def _paint_membranes(tissue: _Tissue, rng: np.random.Generator) -> None:
    """Paint the membranes, here and there faint."""
    strength = np.clip(0.9 + 0.2 * smooth_noise(tissue.truth.shape, 12.0, rng), 0, 1)
    tissue.grey[...] += strength * np.exp(-((tissue.wall / 2.2) ** 4)) * (DARK - tissue.grey)


def _scatter(
    tissue: _Tissue, label: int, draw: Callable[[_Site, np.random.Generator], Organelle], rng: np.random.Generator
) -> None:
    """Put organelles at random places in the cytoplasm until they have their share of the volume."""
    missing = SHARES[label] * tissue.truth.size
    reach = [int(REACHES[label] / step) for step in (SECTION, 1.0, 1.0)]
    centres = np.argwhere(tissue.wall >= min(12.0, float(tissue.wall.max())))
    for z, y, x in centres[rng.integers(len(centres), size=100 + tissue.truth.size // 1000)]:
        if missing <= 0:
            return
        if tissue.truth[z, y, x] != CYTOPLASM:
            continue
        box = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip((z, y, x), reach, strict=True))
        offset, free = tissue.position[box] - tissue.position[z, y, x], tissue.truth[box] == CYTOPLASM
        room = np.where(tissue.cell[box] == tissue.cell[z, y, x], tissue.wall[box] - GAP, -1).astype(np.float32)
        inside, grey = draw(_Site(offset, room, free, tissue.grey[box]), rng)
        if free[inside].all():
            tissue.truth[box][inside] = label
            tissue.grey[box][inside] = grey[inside]
            missing -= np.count_nonzero(inside)


def _mitochondrion(site: _Site, rng: np.random.Generator) -> Organelle:
    """Return a capsule with a dark rim and cristae: dark stripes across its axis in a light matrix."""
    axis = rng.standard_normal(3) * (0.5, 1.0, 1.0)
    axis = (axis / np.linalg.norm(axis)).astype(np.float32)
    half, radius = rng.uniform(10.0, 45.0), rng.uniform(9.0, 14.0)
    along = site.offset @ axis
    across = np.linalg.norm(site.offset - np.clip(along, -half, half)[..., None] * axis, axis=-1)
    depth = np.minimum(radius - across, site.room)
    bend = 2.5 * smooth_noise(depth.shape, 9.0, rng)
    stripes = np.clip(0.5 + 1.5 * np.sin(2 * np.pi * (along + bend) / rng.uniform(7.0, 8.5)), 0, 1)
    dark = np.where(depth < 2.2, 1.0, np.where(depth < 3.8, 0.0, stripes))
    return depth > 0, (LIGHT + dark * (DARK - LIGHT)).astype(np.float32)


def _vesicles(site: _Site, rng: np.random.Generator) -> Organelle:
    """Return a cluster of round vesicles, each a dark rim around a light lumen, and the cytoplasm between them."""
    lattice = np.stack(np.meshgrid(*[np.arange(-30.0, 31.0, 10.0)] * 3), axis=-1).reshape(-1, 3)
    centres = lattice[np.linalg.norm(lattice, axis=-1) < rng.uniform(14.0, 26.0)]
    centres += rng.normal(0.0, 1.7, size=centres.shape)
    near, which = cKDTree(centres).query(site.offset, distance_upper_bound=1.6 * VESICLE)
    fits = (site.room > 0) & site.free
    fits &= ~np.isin(which, which[(near < VESICLE) & ~fits])  # a vesicle is whole or absent
    inside = ndimage.binary_closing(np.isfinite(near) & fits, np.ones((1, 5, 5))) & fits
    base = np.where(near < VESICLE, LIGHT, site.grey)
    rim = np.exp(-(((near - VESICLE) / 1.4) ** 2))
    return inside, (base + rim * (DARK - base)).astype(np.float32)


def _micrograph(grey: Reals, rng: np.random.Generator) -> Bytes:
    """Return what a microscope makes of it: blur, uneven light that changes from section to section, shot noise."""
    blurred = ndimage.gaussian_filter(grey, (0, 0.8, 0.8))
    light = np.stack([smooth_noise((1, *section.shape), 150.0, rng)[0] for section in grey])
    light = 1.0 + 0.08 * light + rng.normal(0.0, 0.04, size=(len(grey), 1, 1))
    noisy = GREY_PER_ELECTRON * rng.poisson(np.maximum(blurred * light, 0) / GREY_PER_ELECTRON)
    image: Bytes = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return image
