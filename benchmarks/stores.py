"""OME-Zarrs to measure on: as large as one likes, of chunks that repeat, written as fast as the disk takes them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from ome_zarr.format import FormatV04
from ome_zarr.writer import write_multiscales_metadata
from scipy.ndimage import gaussian_filter

Stroke = tuple[tuple[slice, ...], int]
"""A window (z, y, x) and the label of its pixels."""


def texture(shape: Sequence[int], seed: int = 0) -> NDArray[np.uint8]:
    """Return blobs of some pixels with noise on them, which compress to about two thirds."""
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
    smooth = gaussian_filter(noise, [0] * (len(shape) - 2) + [4, 4])
    pixels: NDArray[np.uint8] = (127 + 50 * smooth / smooth.std() + 8 * noise).clip(0, 255).astype(np.uint8)
    return pixels


def write_ome_zarr(path: Path, shape: Sequence[int], chunks: Sequence[int]) -> None:
    """Write a compressed OME-Zarr (z, y, x) of one level, whose whole chunks are all alike."""
    group, array = _create(path, shape, chunks)
    whole = tuple(slice(0, n) for n in array.chunks)
    array[whole] = texture(array.chunks)
    first = path / "0" / array.metadata.encode_chunk_key((0, 0, 0))
    for index in np.ndindex(*(-(-n // chunk) for n, chunk in zip(shape, array.chunks, strict=True))):
        target = path / "0" / array.metadata.encode_chunk_key(index)
        if target != first:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first, target)
    _describe(group)


def write_labels(path: Path, shape: Sequence[int], chunks: Sequence[int], strokes: Sequence[Stroke]) -> None:
    """Write a label image (z, y, x) of the same kind with values in these windows alone; other chunks are absent."""
    group, array = _create(path, shape, chunks)
    for window, value in strokes:
        array[window] = value
    _describe(group)


def _create(path: Path, shape: Sequence[int], chunks: Sequence[int]) -> tuple[zarr.Group, zarr.Array[Any]]:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    sides = tuple(min(chunk, n) for chunk, n in zip(chunks, shape, strict=True))
    array = group.create_array(
        "0", shape=tuple(shape), chunks=sides, dtype="u1", chunk_key_encoding={"name": "v2", "separator": "/"}
    )
    return group, array


def _describe(group: zarr.Group) -> None:
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}]
    axes = [{"name": axis, "type": "space"} for axis in "zyx"]
    write_multiscales_metadata(group, datasets, fmt=FormatV04(), axes=axes)
