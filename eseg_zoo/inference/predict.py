"""A checkpoint applied to image files: maps written, or compared with labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.data.channels import tell_count
from eseg_zoo.data.patches import Symmetry
from eseg_zoo.data.volumes import axes_of, read_image, require_finite, sections
from eseg_zoo.errors import InputError
from eseg_zoo.inference.maps import MapWriter, entropy
from eseg_zoo.inference.volume import predict_padded, predict_section, prepare
from eseg_zoo.output import make_folder, refuse_existing

log = logging.getLogger(__name__)


def stem(image: Path) -> str:
    """Return what the names of an image's maps start with: its own without `.tif`, `.ome.tif` and the like."""
    return image.name.removesuffix(image.suffix).removesuffix(".ome")


@dataclass(frozen=True)
class WantedMaps:
    """Which maps to write beside the class map."""

    probabilities: bool = False
    uncertainty: bool = False

    def targets(self, image: Path, out: Path) -> dict[str, Path]:
        """Return the files that the maps of `image` go to: `*_classes.ome.tif`, `*_probabilities.ome.tif`, ..."""
        kinds = {"classes": True, "probabilities": self.probabilities, "uncertainty": self.uncertainty}
        return {kind: out / f"{stem(image)}_{kind}.ome.tif" for kind, is_wanted in kinds.items() if is_wanted}


def preferred_device(name: str | None) -> torch.device:
    """Return the device of this name, by default `cuda` where there is one and else `cpu`.

    Raises `InputError` for a device that this machine does not have.
    """
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name is None:
        name = "cuda" if "cuda" in there else "cpu"  # mps only when asked for: what it computes is not tested
    if name not in there:
        raise InputError(f"device is {name!r}; this machine has {', '.join(there)}")
    return torch.device(name)


class Predictor:
    """A checkpoint ready to predict on one device ('cpu', 'cuda', 'mps'; by default as `preferred_device` says).

    `tta`, test-time augmentation, averages the probabilities over all flips and right-angle rotations of an image.
    Raises `InputError` if it is asked of a model that was trained without them, or for a device that is not there.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str | None = None, tile: int | None = None, tta: bool = False
    ):
        if tta and not checkpoint.knows_symmetries:
            raise InputError(
                "this model was trained without flips and rotations (augmentation.symmetries: false), so it cannot be "
                "averaged over them; leave out --tta"
            )
        self.checkpoint, self.tile = checkpoint, tile
        self.segmenter = prepare(checkpoint.segmenter(), preferred_device(device))
        self.views = Symmetry.all(checkpoint.dims) if tta else None

    def open(self, path: Path, axes: str | None) -> tuple[xr.DataArray, str]:
        """Return the image in `path`, checked against the model, and its axes; by default those of training.

        Raises `InputError` for axes or a number of channels that do not fit, and for NaN or infinite pixels.
        """
        axes = axes or axes_of(path, self.checkpoint.axes)
        image = read_image(path, axes)
        check_sizes(self.checkpoint, path, axes, channels=image.sizes["c"], depth=image.sizes["z"])
        require_finite(image, path)
        tell_other_type(self.checkpoint, path, image.dtype)
        return image, axes

    def predict(self, section: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return class probabilities (classes, *space) of a section of raw intensities (c, *space)."""
        return predict_section(self.segmenter, section, tile=self.tile, views=self.views)

    def predict_padded(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities (classes, *cells) of whole cells that come with their margin, (c, *space)."""
        return predict_padded(self.segmenter, padded, self.views)

    def probabilities(self, image: xr.DataArray) -> Iterator[NDArray[np.float32]]:
        """Yield class probabilities of every section, (classes, *space), in the order t, then z for a 2D model."""
        for section in sections(image, self.checkpoint.dims):
            yield self.predict(section)


def check_sizes(checkpoint: Checkpoint, path: Path, axes: str, *, channels: int, depth: int) -> None:
    """Raise `InputError` when the image in `path` has other channels than the model, or is a plane and not a volume."""
    names = checkpoint.channel_names
    if channels != len(names):
        raise InputError(
            f"{path} has {tell_count(channels)}, but the model was trained with {len(names)}: "
            f"{', '.join(names)} (its axes were taken for {axes!r}; give --axes if they are others)"
        )
    if checkpoint.dims == 3 and depth == 1:
        raise InputError(
            f"{path} is a 2D image, but the model was trained on volumes "
            f"(its axes were taken for {axes!r}; give --axes if they are others)"
        )


def tell_other_type(checkpoint: Checkpoint, path: Path, dtype: np.dtype[Any]) -> None:
    """Log a warning when the image in `path` has pixels of another type than the training images."""
    if dtype.name != checkpoint.image_dtype:
        log.warning(
            "%s holds %s pixels, but the model was trained on %s: its map is only right if the values mean the same",
            path,
            dtype.name,
            checkpoint.image_dtype,
        )


def predict_file(
    predictor: Predictor, path: Path, out: Path, *, axes: str | None, wanted: WantedMaps, force: bool
) -> Iterator[tuple[int, int]]:
    """Write the maps of one image into the folder `out`; yields (planes done, planes in all) as it goes."""
    targets = wanted.targets(path, out)
    for target in targets.values():
        refuse_existing(target, force=force)
    image, _ = predictor.open(path, axes)
    make_folder(out)
    checkpoint = predictor.checkpoint
    shape = (image.sizes["t"], image.sizes["z"], image.sizes["y"], image.sizes["x"])
    classes = dict(zip(checkpoint.class_values, checkpoint.class_names, strict=True))
    writer = MapWriter(classes, image.attrs["voxel_size"], shape, force)
    values = np.array(checkpoint.class_values)
    class_planes: list[NDArray[np.integer]] = []
    uncertainty_planes: list[NDArray[np.float32]] = []

    def planes() -> Iterator[NDArray[np.float32]]:
        """Yield probability planes (classes, y, x) and keep what the smaller maps need of them."""
        for found in predictor.probabilities(image):
            for plane in [found] if found.ndim == 3 else found.swapaxes(0, 1):
                class_planes.append(values[plane.argmax(0)].astype(np.min_scalar_type(int(values.max()))))
                if wanted.uncertainty:
                    uncertainty_planes.append(entropy(plane))
                yield plane

    total = shape[0] * shape[1]
    if wanted.probabilities:
        writer.write_probabilities(targets["probabilities"], planes())
        yield total, total
    else:
        for done, _ in enumerate(planes(), start=1):
            yield done, total
    if wanted.uncertainty:
        writer.write_uncertainty(targets["uncertainty"], uncertainty_planes)
    writer.write_classes(targets["classes"], class_planes)
