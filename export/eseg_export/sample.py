"""Test tensors and sample images: a real crop of a training image, and what the checkpoint makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from eseg_export.tiling import tiling
from eseg_zoo.checkpoint import Checkpoint

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
    image: Array
    probabilities: Array


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


def write_samples(checkpoint: Checkpoint, folder: Path) -> Samples:
    """Write test tensors and sample images into `folder` and return where they are."""
    segmenter = checkpoint.segmenter()
    size = []
    for axis, length in zip(tiling(checkpoint.geometry), checkpoint.sample.shape[1:], strict=True):
        whole_cells = min(length, LARGEST[checkpoint.dims]) // axis.stride * axis.stride
        size.append(max(axis.min, whole_cells))
    image = image_of_size(checkpoint, tuple(size))
    with torch.inference_mode():
        probabilities = segmenter(torch.from_numpy(image)).numpy()
    samples = Samples(
        folder / "test_input.npy",
        folder / "test_output.npy",
        folder / "sample_input.tif",
        folder / "sample_output.tif",
        image,
        probabilities,
    )
    samples.test_input.write_bytes(_npy(image))
    samples.test_output.write_bytes(_npy(probabilities))
    samples.sample_input.write_bytes(_tiff(image[0].astype(checkpoint.image_dtype)))
    samples.sample_output.write_bytes(_tiff(probabilities[0]))
    return samples


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
