"""What every consumer is asked: images of many sizes, and the probabilities that the checkpoint gives for them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from eseg_export.consumer_tiles import cut_by_ilastik
from eseg_export.sample import image_of_size
from eseg_export.tiling import TilingAxis, tiling
from eseg_export.verify import SIZES, one_thread

from eseg_zoo.checkpoint import Checkpoint
from interop.compare import Array

# Below the declared minimum, which deepImageJ ignores, and below one cell of the network's grid.
TINY = {2: (1, 7, 5), 3: (1, 1, 7, 5)}


@dataclass(frozen=True)
class Cases:
    """Named images (b, c, *space) and their expected outputs; an expected output may be the centre of the image's."""

    images: Mapping[str, Array]
    expected: Mapping[str, Array]

    def repeated(self, formats: tuple[str, ...]) -> dict[str, Array]:
        """Return the expected outputs once for each weights format, named as the pipeline probe names them."""
        return {f"{name}: {case}": array for name in formats for case, array in self.expected.items()}


@dataclass(frozen=True)
class Subject:
    """One model under test: its checkpoint, its package, and the package's weights as files."""

    name: str
    checkpoint: Checkpoint
    package: Path
    weights: Path  # a folder

    @property
    def tiling(self) -> tuple[TilingAxis, ...]:
        return tiling(self.checkpoint.geometry)


@contextmanager
def unpacked(name: str, checkpoint: Path, package: Path, folder: Path) -> Iterator[Subject]:
    """Yield the model with the content of its package in `folder`."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    with one_thread():
        yield Subject(name, Checkpoint.load(checkpoint), package.resolve(), folder)


def network_cases(subject: Subject) -> Cases:
    """Return what the bare networks are asked: the exporter's sizes and one below every minimum."""
    dims = subject.checkpoint.dims
    images = {}
    for batch, *space in (*SIZES[dims], TINY[dims]):
        image = image_of_size(subject.checkpoint, tuple(space))
        name = f"{batch} x {' x '.join(map(str, space))}"
        images[name] = np.concatenate([np.flip(image, -1) if i % 2 else image for i in range(batch)])
    return Cases(images, {name: predicted(subject, image) for name, image in images.items()})


def package_cases(subject: Subject) -> Cases:
    """Return what the package's readers are asked: the test tensor, whatever the package says its output is."""
    image = np.load(subject.weights / "test_input.npy")
    return Cases({"test tensor": image}, {"test tensor": predicted(subject, image)})


def tiled_cases(subject: Subject) -> Cases:
    """Return the test tensor, and one tile with its halo out of the middle of a larger image, as ilastik asks."""
    axes = subject.tiling
    size = [cut.tile - 2 * cut.halo for cut in cut_by_ilastik([axis.declared for axis in axes], [1] * len(axes))]
    whole = image_of_size(subject.checkpoint, tuple(n + 4 * axis.halo for n, axis in zip(size, axes, strict=True)))
    outer = [slice(axis.halo, n + 3 * axis.halo) for n, axis in zip(size, axes, strict=True)]
    inner = [slice(2 * axis.halo, n + 2 * axis.halo) for n, axis in zip(size, axes, strict=True)]
    test = package_cases(subject)
    return Cases(
        {**test.images, "tile": whole[:, :, *outer]},
        {**test.expected, "tile": predicted(subject, whole)[:, :, *inner]},
    )


def predicted(subject: Subject, image: Array) -> Array:
    """Return the checkpoint's probabilities of the image."""
    with torch.inference_mode():
        probabilities: Array = subject.checkpoint.segmenter()(torch.from_numpy(image)).numpy()
    return probabilities
