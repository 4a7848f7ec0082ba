"""Test tensors and sample images: a real crop of a training image, and what the checkpoint makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import nn

from eseg_export.precision import DEFAULT, Reproducibility, reproducibility
from eseg_export.tiling import tiling
from eseg_export.tracing import folded_segmenter
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run

LARGEST = {2: 256, 3: 64}  # pixels a side, unless the declared minimum is larger: keeps the package small
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """The four files, and their content for the cover and the README."""

    test_input: Path  # .npy, float32, (1, c, *space): so that no consumer has a cast of its own to do
    test_output: Path  # .npy, float32, (1, classes, *space), uncropped
    sample_input: Path  # .tif in the dtype of the training images
    sample_output: Path
    image: Array  # of the sample; the test tensors may be a crop of it
    probabilities: Array
    shown: tuple[int, ...]  # size of the part that is no mirror image, from the first pixel
    reproducibility: Reproducibility  # of the test output


def image_of_size(checkpoint: Checkpoint, size: tuple[int, ...]) -> Array:
    """Return the checkpoint's sample as (1, c, *size), cropped in its centre or mirrored to the size."""
    image = checkpoint.sample.to(torch.float32).numpy()
    for axis, wanted in enumerate(size, start=1):
        surplus = image.shape[axis] - wanted
        if surplus > 0:
            image = image.take(range(surplus // 2, surplus // 2 + wanted), axis)
        widths = [(0, max(0, -surplus)) if a == axis else (0, 0) for a in range(image.ndim)]
        image = np.pad(image, widths, mode="symmetric")
    return np.ascontiguousarray(image[None], dtype=np.float32)


def as_shipped(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint as it can be had from its package again: with the sample and the settings that this shows.

    The sample is the centre of the checkpoint's own; the settings are those without paths, and the record lacks the
    command and the machine of the training, which tell of somebody's disk. All that an export makes follows from this
    one, so that the package of a package is the same.
    """
    sample = checkpoint.sample.numpy()
    for axis, wanted in enumerate(_size(checkpoint), start=1):
        surplus = max(sample.shape[axis] - wanted, 0)
        sample = sample.take(range(surplus // 2, sample.shape[axis] - surplus + surplus // 2), axis)
    return replace(
        checkpoint,
        sample=torch.from_numpy(np.array(sample, checkpoint.image_dtype, order="C")),
        settings=Run.without_paths(checkpoint.settings),
        training=replace(checkpoint.training, command="", machine=""),
    )


def write_samples(checkpoint: Checkpoint, folder: Path) -> Samples:
    """Write test tensors and sample images into `folder` and return where they are.

    The test tensors are the sample itself, or the crop of it that rounding on a GPU changes least where that changes
    more of the sample than the zoo forgives.
    """
    network, tiles = folded_segmenter(checkpoint), tiling(checkpoint.geometry)
    real, size = tuple(checkpoint.sample.shape[1:]), _size(checkpoint)
    sample = _pair(checkpoint, network, image_of_size(checkpoint, size))
    test = _most_reproducible(checkpoint, network, sample, tuple(axis.min for axis in tiles))
    samples = Samples(
        folder / "test_input.npy",
        folder / "test_output.npy",
        folder / "sample_input.tif",
        folder / "sample_output.tif",
        sample.image,
        sample.probabilities,
        tuple(map(min, real, size)),
        test.reproducibility,
    )
    samples.test_input.write_bytes(_npy(test.image))
    samples.test_output.write_bytes(_npy(test.probabilities))
    samples.sample_input.write_bytes(_tiff(sample.image[0].astype(checkpoint.image_dtype)))
    samples.sample_output.write_bytes(_tiff(sample.probabilities[0]))
    return samples


def _size(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Return the size of the sample image: whole cells of the sample, and no less than the smallest tile."""
    size = []
    for axis, length in zip(tiling(checkpoint.geometry), checkpoint.sample.shape[1:], strict=True):
        whole_cells = min(length, LARGEST[checkpoint.dims]) // axis.stride * axis.stride
        size.append(max(axis.min, whole_cells))
    return tuple(size)


@dataclass(frozen=True)
class _Pair:
    """An image, the checkpoint's probabilities of it, and what a GPU may do to them."""

    image: Array
    probabilities: Array
    reproducibility: Reproducibility


def _pair(checkpoint: Checkpoint, network: nn.Module, image: Array) -> _Pair:
    with torch.inference_mode():
        probabilities = checkpoint.segmenter()(torch.from_numpy(image)).numpy()
    return _Pair(image, probabilities, reproducibility(network, image, probabilities))


def _most_reproducible(checkpoint: Checkpoint, network: nn.Module, whole: _Pair, size: tuple[int, ...]) -> _Pair:
    """Return the sample, or the crop of that size that reproduces better where the sample does not well enough."""
    if whole.reproducibility.declared == DEFAULT:
        return whole
    crops = [
        _pair(checkpoint, network, np.ascontiguousarray(whole.image[:, :, *place]))
        for place in _places(whole.image.shape[2:], size)
    ]
    return min([whole, *crops], key=lambda pair: pair.reproducibility.tf32)


def _places(image: tuple[int, ...], size: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return crops at the start, in the middle and at the end of each axis."""
    starts = [sorted({0, (length - side) // 2, length - side}) for length, side in zip(image, size, strict=True)]
    return [
        tuple(slice(start, start + side) for start, side in zip(place, size, strict=True)) for place in product(*starts)
    ]


def _npy(array: Array) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


def _tiff(image: NDArray[np.generic]) -> bytes:
    """Return (c, (z,) y, x) as a TIFF that Fiji opens as a hyperstack, where its dtypes allow."""
    if image.ndim == 4:
        image = image.swapaxes(0, 1)  # ImageJ wants z before c
    axes = {3: "CYX", 4: "ZCYX"}[image.ndim]
    file = BytesIO()
    tifffile.imwrite(file, image, imagej=image.dtype.name in _IMAGEJ_DTYPES, metadata={"axes": axes})
    return file.getvalue()
