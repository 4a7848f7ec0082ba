"""Prediction of sections of any size, tile by tile, with the same result whatever the tile size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.data.patches import Symmetry
from eseg_zoo.inference.memory import default_tile
from eseg_zoo.model.dense import DenseSegmenter, fold_standardisation


def prepare(segmenter: DenseSegmenter, device: torch.device) -> DenseSegmenter:
    """Return the segmenter, changed in place for fast prediction on `device`; the numbers stay equal to rounding.

    From here on the process keeps the memory that it frees (`keep_freed_memory`).
    """
    keep_freed_memory()
    fold_standardisation(segmenter)
    for module in segmenter.modules():
        # A single tap is the same however it is dilated, and torch leaves dilated ones to oneDNN, the faster way.
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and set(module.kernel_size) == {1}:
            module.dilation = tuple(2 for _ in module.dilation)
    layout = torch.channels_last if len(segmenter.geometry.axes) == 2 else torch.channels_last_3d
    segmenter.to(device).to(memory_format=layout)  # type: ignore[call-overload]
    return segmenter


def predict_section(
    segmenter: DenseSegmenter,
    section: NDArray[np.generic],
    *,
    tile: int | None = None,
    views: Sequence[Symmetry] | None = None,
) -> NDArray[np.float32]:
    """Return class probabilities (classes, *space) of a section of raw intensities (c, *space).

    With `views` they are the means over these flips and rotations of the section (`predict_padded`).

    `tile` is the side of the tiles in pixels, by default what fits the memory, rounded up to whole cells of the
    network's stride, so that every tile sits on the network's grid: the result equals that of the whole image to
    rounding, about 1e-6.
    """
    geometry = segmenter.geometry
    space = section.shape[1:]
    side = tile or default_tile(segmenter, space)
    result: NDArray[np.float32] | None = None
    for cells in _tiles(space, side, geometry.stride):
        found = predict_padded(segmenter, _read_reflected(section, cells, geometry.margin), views)
        if result is None:
            result = np.empty((len(found), *space), np.float32)
        inside = tuple(slice(0, min(c.stop, n) - c.start) for c, n in zip(cells, space, strict=True))
        result[(slice(None), *cells)] = found[(slice(None), *inside)]
    assert result is not None, "a section has at least one pixel"
    return result


def predict_padded(
    segmenter: DenseSegmenter, padded: NDArray[np.float32], views: Sequence[Symmetry] | None = None
) -> NDArray[np.float32]:
    """Return class probabilities (classes, *cells) of whole cells that come with their margin, (c, *space).

    With `views` the cells are predicted in each of these symmetries; the probabilities, turned back, are averaged. The
    network's grid and margin are the same from all sides, so tiles still give the result of the whole section.
    """
    if views is None:
        with torch.inference_mode():
            image = torch.from_numpy(padded)[None].to(segmenter.mean.device)
            found: NDArray[np.float32] = segmenter.probabilities(image)[0].cpu().numpy()
        return found
    total: NDArray[np.floating] = np.zeros((), np.float32)
    for view in views:
        total = total + view.turn_back(predict_padded(segmenter, np.ascontiguousarray(view.turn(padded))))
    return np.asarray(total / len(views), np.float32)


def _tiles(space: Sequence[int], side: int, stride: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield tiles of whole cells that cover the section; the last ones may reach over its end."""
    axes = []
    for length, step in zip(space, stride, strict=True):
        end = -(-length // step) * step
        width = -(-side // step) * step
        axes.append([slice(start, min(start + width, end)) for start in range(0, end, width)])
    yield from product(*axes)


def _read_reflected(section: NDArray[np.generic], cells: Sequence[slice], margin: Sequence[int]) -> NDArray[np.float32]:
    """Return the tile with its margin as float32; what lies outside the section is its reflection."""
    for axis, (cell, border) in enumerate(zip(cells, margin, strict=True), start=1):
        section = section.take(margin_index(cell, border, section.shape[axis]), axis)
    return section.astype(np.float32)


def margin_index(cell: slice, border: int, length: int) -> NDArray[np.integer]:
    """Return which pixels of an axis of `length` a tile with its margin reads; beyond the ends it is reflected."""
    index = np.arange(cell.start - border, cell.stop + border) % (2 * length)
    found: NDArray[np.integer] = np.minimum(index, 2 * length - 1 - index)
    return found
