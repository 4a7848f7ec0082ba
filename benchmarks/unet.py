"""A plain 2D U-Net with masked cross-entropy: what a user of deep learning has today for sparse labels.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI
2015; with batch normalisation and padded convolutions. It learns from tiles; only the centre of a tile is judged,
because its border sees padding. Its width is set by the multiply-adds of the network that it is compared with.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eseg_zoo.config import PRESETS, NetworkSettings, TrainingSettings
from eseg_zoo.metrics import soft_dice
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import Symmetry
from eseg_zoo.training.optimisation import cosine_share
from multiply_adds import SIDE, multiply_adds, prediction_cost, training_cost

DEPTH = 3  # halvings of the resolution, as many as the small preset has
TILE, BORDER = 112, 24  # side of a tile, and what is not judged on each side of it
TOLERANCE = 0.1  # of the multiply-adds per pixel

Slices = Sequence[NDArray[Any]] | NDArray[Any]
"""Slices (y, x) one after the other, of different sizes or as a stack (z, y, x)."""

DrawPlaces = Callable[[int, np.random.Generator], NDArray[np.int64]]
"""(count, generator) -> places (count, 3) of pixels (z, y, x)."""


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Normalised images (b, 1, y, x), y and x multiples of 8, to logits (b, classes, y, x)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.width = width
        widths = [width * 2**level for level in range(DEPTH + 1)]
        self.down = nn.ModuleList(map(_double_convolution, [1, *widths[:-1]], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[:-1])
        self.merge = nn.ModuleList(_double_convolution(2 * w, w) for w in widths[:-1])
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in range(DEPTH - 1, -1, -1):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], 1))
        logits: Tensor = self.classify(x)
        return logits


def cost(width: int, classes: int) -> float:
    """Return the multiply-adds per pixel of a whole slice."""
    with torch.device("meta"):
        return multiply_adds(UNet(width, classes).eval(), torch.empty(1, 1, SIDE, SIDE)) / SIDE**2


def width_for(wanted: float, classes: int) -> int:
    """Return the width whose multiply-adds per pixel come closest to `wanted`.

    Raises ValueError when none comes within `TOLERANCE`.
    """
    costs: dict[int, float] = {}
    for width in range(2, 257):
        costs[width] = cost(width, classes)
        if costs[width] > wanted:
            break
    width = min(costs, key=lambda w: abs(costs[w] - wanted))
    if abs(costs[width] / wanted - 1) > TOLERANCE:
        raise ValueError(f"the closest U-Net has {costs[width]:.0f} multiply-adds per pixel; {wanted:.0f} are wanted")
    return width


def near_labels(labels: Slices) -> DrawPlaces:
    """Return a source of labelled pixels, each class as often as any other; labels are -1 or the class."""
    found = [np.argwhere(plane >= 0) for plane in labels]
    places = np.concatenate([np.insert(pixels, 0, number, axis=1) for number, pixels in enumerate(found)])
    anchors = AnchorSet.of(places, np.concatenate([plane[plane >= 0] for plane in labels]).astype(np.int64))
    return lambda count, rng: anchors.draw_balanced(count, rng).places


def anywhere(labels: NDArray[np.integer]) -> DrawPlaces:
    """Return a source of pixels that are all equally likely."""
    return lambda count, rng: rng.integers(0, labels.shape, size=(count, labels.ndim))


@dataclass(frozen=True)
class Examples:
    """Slices of raw intensities and their labels: -1 not labelled, else the class."""

    images: Slices
    labels: Slices


class TileSource:
    """Normalised, turned tiles around places of the images, and the labels of their centres."""

    def __init__(self, examples: Examples, draw: DrawPlaces, mean: float, std: float, rng: np.random.Generator):
        images = [((image - mean) / std).astype(np.float32) for image in examples.images]
        self.images = [np.pad(image, TILE, "symmetric") for image in images]
        self.labels = [np.pad(labels, TILE, constant_values=-1) for labels in examples.labels]
        self.draw, self.rng = draw, rng

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return tiles (count, 1, TILE, TILE) and labels (count, TILE, TILE), -1 outside the centre."""
        images = np.empty((count, 1, TILE, TILE), np.float32)
        labels = np.full((count, TILE, TILE), -1, np.int64)
        inner = slice(BORDER, TILE - BORDER)
        offsets = self.rng.integers(BORDER, TILE - BORDER, size=(count, 2))
        symmetries = Symmetry.draw(2, count, self.rng)
        for i, ((z, *place), symmetry) in enumerate(zip(self.draw(count, self.rng).tolist(), symmetries, strict=True)):
            y, x = (slice(p + TILE - o, p + 2 * TILE - o) for p, o in zip(place, offsets[i].tolist(), strict=True))
            images[i, 0] = symmetry.turn(self.images[z][y, x])
            labels[i, inner, inner] = symmetry.turn(self.labels[z][y, x])[inner, inner]
        return torch.from_numpy(images), torch.from_numpy(labels)


@dataclass(frozen=True)
class TrainedUNet:
    """A trained network and the intensities it is used to."""

    network: UNet
    mean: float
    std: float

    def logits(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return logits (classes, y, x) of a slice (y, x) of raw intensities, which is padded to a size that halves."""
        missing = [(0, -length % 2**DEPTH) for length in image.shape]
        x = torch.from_numpy(((np.pad(image, missing, "symmetric") - self.mean) / self.std).astype(np.float32))
        self.network.eval()
        with torch.inference_mode():
            found: NDArray[np.float32] = self.network(_channels_last(x[None, None]))[0].numpy()
        return found[:, : image.shape[0], : image.shape[1]]

    def soft_dice(self, examples: Examples) -> float:
        """Return the mean soft Dice over the classes labelled in `examples`, 0..1."""
        found, targets = [], []
        for image, labels in zip(examples.images, examples.labels, strict=True):
            found.append(np.moveaxis(self.logits(image), 0, -1)[labels >= 0])
            targets.append(labels[labels >= 0].astype(np.int64))
        known = np.concatenate(targets)
        probabilities = torch.from_numpy(np.concatenate(found)).softmax(1).numpy()
        return float(soft_dice(probabilities, known)[np.unique(known)].mean())


def train_beside_preset(
    training: Examples,
    validation: Examples | None,
    draw: DrawPlaces,
    *,
    classes: int,
    steps: Mapping[str, Any],
    seed: int,
    weights: NDArray[np.floating] | None = None,
) -> TrainedUNet:
    """Return a U-Net of the small preset's multiply-adds a pixel and a step, trained with its settings but `steps`."""
    settings = TrainingSettings(**PRESETS["small"]["training"] | dict(steps))
    architecture = NetworkSettings(**PRESETS["small"]["network"]).architecture(channels=1, classes=classes)
    width = width_for(prediction_cost(architecture), classes)
    tiles = round(settings.batch_size * training_cost(architecture) / (3 * cost(width, classes) * TILE**2))
    torch.manual_seed(seed)
    network = UNet(width, classes)
    return train_unet(network, training, validation, draw, settings=settings, tiles=tiles, seed=seed, weights=weights)


def train_unet(
    network: UNet,
    training: Examples,
    validation: Examples | None,
    draw: DrawPlaces,
    *,
    settings: TrainingSettings,
    tiles: int,
    seed: int,
    weights: NDArray[np.floating] | None = None,
) -> TrainedUNet:
    """Return the network at its best validation, or after its last step, trained as `eseg train` does.

    `tiles` is the batch size, `weights` (classes,) are those of the classes in the loss, by default equal. The soft
    Dice on the labels of `validation` is measured every `settings.epoch_steps`.
    """
    weight = None if weights is None else torch.from_numpy(weights.astype(np.float32))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = np.concatenate([image.ravel() for image in training.images])
    trained = TrainedUNet(network, float(pixels.mean()), float(pixels.std()))
    source = TileSource(training, draw, trained.mean, trained.std, np.random.default_rng(seed))
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine_share(step, settings))
    best, best_state = -math.inf, network.state_dict()  # which is what the steps change
    for step in range(1, settings.steps + 1):
        network.train()
        images, labels = source.batch(tiles)
        loss = F.cross_entropy(network(_channels_last(images)), labels, weight, ignore_index=-1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        optimiser.step()
        schedule.step()
        if validation and (step % settings.epoch_steps == 0 or step == settings.steps):
            found = trained.soft_dice(validation)
            if found > best:
                best, best_state = found, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_state)
    return trained


def _channels_last(x: Tensor) -> Tensor:
    """Return the images in the layout that convolutions with few channels are fastest in."""
    return x.to(memory_format=torch.channels_last)
