"""Sparse labels: label images in which one value means 'not labelled'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from eseg_zoo.data.volumes import read_image
from eseg_zoo.errors import InputError

UNLABELLED = -1


def read_labels(
    path: Path, image: xr.DataArray, axes: str, *, classes: Mapping[int, str], unlabelled: int
) -> xr.DataArray:
    """Return class indices (t, z, y, x) in the order of `classes`, -1 where the file says `unlabelled`.

    `axes` are the image's; the label file has the same without c. Raises `InputError` when the shape differs from the
    image's or when a label value has no class name.
    """
    labels = read_image(path, axes.replace("c", "")).isel(c=0)
    expected = image.isel(c=0).shape
    if labels.shape != expected:
        raise InputError(
            f"{path} has {_sizes(labels.dims, labels.shape)}, but its image has {_sizes(labels.dims, expected)}"
        )
    values = labels.values
    found = zip(*np.unique(values, return_counts=True), strict=True)
    unknown = [(value, pixels) for value, pixels in found if value != unlabelled and value not in classes]
    if unknown:
        value, pixels = unknown[0]
        names = ", ".join(f"{value}: {name}" for value, name in classes.items())
        raise InputError(
            f"{path} has the label value {value:g} at {pixels} pixels, "
            f"which has no class name (classes are {names}; {unlabelled} means not labelled)"
        )
    indices = np.full(labels.shape, UNLABELLED, np.int16)
    for index, value in enumerate(classes):
        indices[values == value] = index
    return labels.copy(data=indices)


def label_sections(labels: xr.DataArray, dims: int) -> list[NDArray[np.int16]]:
    """Return views (y, x) of every slice for `dims` 2, or (z, y, x) of every volume for `dims` 3."""
    values: NDArray[np.int16] = labels.values
    return list(values) if dims == 3 else list(values.reshape(-1, *values.shape[-2:]))


def _sizes(names: tuple[object, ...], shape: tuple[int, ...]) -> str:
    return " x ".join(f"{name}={size}" for name, size in zip(names, shape, strict=True))
