"""A trained network ready to predict on one device, from memory or from its file on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eseg_zoo.allocator import keep_freed_memory
from eseg_zoo.checkpoint import Checkpoint, Class
from eseg_zoo.errors import InputError
from eseg_zoo.model.architecture import Architecture, Geometry
from eseg_zoo.model.dense import DenseSegmenter, fold_standardisation
from eseg_zoo.model.hvae import crop_to_cells
from eseg_zoo.patches.geometry import Symmetry

_loading = Lock()


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


def prepare(segmenter: DenseSegmenter, device: torch.device) -> DenseSegmenter:
    """Return the segmenter, changed in place for fast prediction on `device`; the numbers stay equal to rounding."""
    fold_standardisation(segmenter)
    for module in segmenter.modules():
        # A single tap is the same however it is dilated, and torch leaves dilated ones to oneDNN, the faster way.
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and set(module.kernel_size) == {1}:
            module.dilation = tuple(2 for _ in module.dilation)
    layout = torch.channels_last if len(segmenter.geometry.axes) == 2 else torch.channels_last_3d
    segmenter.to(device).to(memory_format=layout)  # type: ignore[call-overload]
    return segmenter


@contextmanager
def single_precision(device: torch.device) -> Iterator[None]:
    """Let convolutions on a GPU compute in 32 bits, as they do on a CPU; by default torch takes TF32, of 19 bits.

    On an NVIDIA H200 the largest difference of a probability from the CPU's was 1.1e-6 so, with TF32 it was 1.7e-3; it
    took 8 % more time.
    """
    before = torch.backends.cudnn.allow_tf32
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Predictor:
    """A checkpoint ready to predict on one device ('cpu', 'cuda', 'mps'; by default as `preferred_device` says).

    `tta`, test-time augmentation, averages the probabilities over all flips and right-angle rotations of an image.
    Raises `InputError` if it is asked of a model that was trained without them, or for a device that is not there.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str | None = None, tta: bool = False):
        if tta and not checkpoint.knows_symmetries:
            raise InputError(
                "this model was trained without flips and rotations (augmentation.symmetries: false), so it cannot be "
                "averaged over them; leave out --tta"
            )
        self.checkpoint = checkpoint
        self.segmenter = prepare(checkpoint.segmenter(), preferred_device(device))
        self.device = self.segmenter.mean.device
        self.views: Sequence[Symmetry] | None = Symmetry.all(checkpoint.dims) if tta else None

    def logits(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class-balanced logits (classes, *cells) of whole cells that come with their margin, (c, *space)."""
        return self._run(padded, lambda logits: logits)

    def probabilities(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities (classes, *cells) of whole cells that come with their margin, (c, *space).

        With `tta` the cells are predicted in each of the symmetries; the probabilities, turned back, are averaged. The
        network's grid and margin are the same from all sides, so tiles still give the result of the whole section.
        """
        return self._averaged(padded, lambda logits: self.segmenter.corrected(logits).softmax(1))

    def with_and_without_temperature(self, padded: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Return `probabilities`, and what they would be if the logits were not divided by the temperature."""

        def both(logits: Tensor) -> Tensor:
            plain = logits + self.segmenter.log_prior_shift
            return torch.cat([self.segmenter.corrected(logits).softmax(1), plain.softmax(1)], 1)

        return tuple(np.split(self._averaged(padded, both), 2))

    def probabilities_and_latents(self, padded: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `probabilities`, of one view, and the latent means of all levels (d, *cells of the finest level)."""
        segmenter = self.segmenter
        recognition, head = segmenter.classifier.recognition, segmenter.classifier.head
        with torch.inference_mode(), single_precision(self.device):
            pixels = segmenter.normalise(torch.from_numpy(padded)[None].to(self.device))
            means = recognition.means(pixels)
            latents = crop_to_cells(head.column(means), segmenter.geometry, 0)
            probabilities = segmenter.corrected(head(means, recognition.details(pixels))).softmax(1)
        return probabilities[0].cpu().numpy(), latents[0].cpu().numpy()

    def _averaged(self, padded: NDArray[np.float32], output: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
        """Return the mean of `output` of the logits over all views."""
        if self.views is None:
            return self._run(padded, output)
        total: NDArray[np.floating] = np.zeros((), np.float32)
        for view in self.views:
            total = total + view.turn_back(self._run(np.ascontiguousarray(view.turn(padded)), output))
        return np.asarray(total / len(self.views), np.float32)

    def _run(self, padded: NDArray[np.float32], output: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
        with torch.inference_mode(), single_precision(self.device):
            logits = self.segmenter.logits(torch.from_numpy(padded)[None].to(self.device))
            found: NDArray[np.float32] = output(logits)[0].cpu().numpy()
        return found


class Applied(Protocol):
    """What prediction must know of a model: a checkpoint, or a network of other software."""

    @property
    def dims(self) -> int:
        """Spatial rank: 2 or 3."""

    @property
    def architecture(self) -> Architecture | None:
        """The network's shape; none where it is not known, so that it is given whole sections."""

    @property
    def geometry(self) -> Geometry:
        """Margin and grid of the tiles that it is given."""

    @property
    def classes(self) -> tuple[Class, ...]:
        """The classes, in the order of the output channels."""

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels of its images."""

    @property
    def axes(self) -> str:
        """What an image that states no axes is taken for."""

    @property
    def voxel_size(self) -> dict[str, float]:
        """Micrometres by axis, where they are known."""

    @property
    def image_dtype(self) -> str:
        """Type of the pixels that it was trained on; '' where nobody knows."""

    @property
    def digest(self) -> str:
        """A checksum of what its maps follow from."""


class AppliedPredictor(Protocol):
    """A model on a device, as far as maps are made with it."""

    @property
    def checkpoint(self) -> Applied:
        """What is known of the model."""

    @property
    def views(self) -> Sequence[Symmetry] | None:
        """The flips and rotations that it averages over."""

    def probabilities(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities (classes, *cells) of whole cells that come with their margin, (c, *space)."""


class Network(Protocol):
    """Where a worker gets the predictor from."""

    @property
    def tta(self) -> bool:
        """Whether it averages over all flips and rotations."""

    @property
    def digest(self) -> str:
        """The checksum of the checkpoint."""

    def predictor(self) -> AppliedPredictor:
        """Return the predictor; the same one for every call in a process."""


@dataclass(frozen=True)
class InMemory:
    """A network of this process."""

    given: AppliedPredictor

    @property
    def tta(self) -> bool:
        return self.given.views is not None

    @property
    def digest(self) -> str:
        return self.given.checkpoint.digest

    def predictor(self) -> AppliedPredictor:
        return self.given


@dataclass(frozen=True)
class OnDisk:
    """A network in a file, loaded once by every process that predicts; small enough to travel with every task."""

    path: Path
    digest: str
    device: str | None = None
    tta: bool = False

    def predictor(self) -> Predictor:
        with _loading:  # not once for each thread
            return _load(self)


@lru_cache(maxsize=1)
def _load(network: OnDisk) -> Predictor:
    """Return the model; its checksum is part of the key, so that a long-lived worker loads a changed model anew."""
    keep_freed_memory()
    checkpoint = Checkpoint.load(network.path)
    if checkpoint.digest != network.digest:
        raise InputError(f"{network.path} is another file on this worker, or was changed since the command was started")
    return Predictor(checkpoint, device=network.device, tta=network.tta)
