"""The sections of a run's settings: network, loss, augmentation, stages. The text under each field documents it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from eseg_zoo.levels import anisotropy, depth, kernels, strides
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.settings import Settings


class NetworkSettings(Settings):
    """Shape and width of the network."""

    dims: Literal[2, 3] = 2
    """Spatial rank: 2 treats every slice as an image of its own, 3 learns from volumes."""
    width: int = Field(64, ge=1)
    """Feature channels of the first level; the next levels have 1.5 and 2 times as many. `filters` replaces it."""
    filters: list[Annotated[int, Field(ge=1)]] | None = Field(None, min_length=1, max_length=5)
    """Feature channels of each level, finest (half resolution) first; the number of entries is the number of levels. By
    default three levels, but two in volumes whose z is about as fine as y and x."""
    latents: int = Field(32, ge=1)
    """Latent channels of each level; at least half the number of classes."""

    def architecture(
        self, *, channels: int, classes: int, voxel_size: Mapping[str, float] = MappingProxyType({})
    ) -> Architecture:
        """Return the shape of the network for this many image channels and classes.

        `voxel_size` maps z, y, x to micrometres; what a level does along z follows from it (`eseg_zoo/levels.py`).
        Where it is not known, z is taken to be as fine as y and x.
        """
        ratio = anisotropy(voxel_size)
        widths = [self.width, 3 * self.width // 2, 2 * self.width][: depth(self.dims, ratio)]
        filters = widths if self.filters is None else list(self.filters)
        return Architecture(
            dims=self.dims,
            channels=channels,
            classes=classes,
            filters=filters,
            latents=self.latents,
            strides=strides(self.dims, len(filters), ratio),
            kernels=kernels(self.dims, len(filters), ratio),
        )


class LossWeights(Settings):
    """Weights of the loss terms beside the cross-entropy, whose weight is 1."""

    alpha: float = Field(1.0, ge=0)
    """Weight of the inpainting loss."""
    beta: float = Field(0.01, ge=0)
    """Weight of the KL terms: class component, ladder, and class posterior."""
    gamma: float = Field(0.1, ge=0)
    """Weight of the contrastive loss."""
    delta: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with pseudo-labels (semi-supervised stage)."""


class MaskSettings(Settings):
    """What is hidden while the network learns: the centre of labelled patches, random squares of unlabelled ones."""

    size: int = Field(3, ge=1)
    """Side of the hidden region around the anchor, in pixels; odd."""
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the labelled patches that have their centre hidden. The others look as they do in a prediction."""
    share: float = Field(0.3, ge=0, lt=1)
    """Share of an unlabelled patch that is hidden."""
    sides: list[Annotated[int, Field(ge=1)]] = Field([3, 5, 9, 15], min_length=1)
    """Sides of the squares hidden in unlabelled patches, in pixels; a patch has squares of one of them."""

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.size % 2 == 0:
            raise ValueError(f"size is {self.size}; it must be odd, so that the anchor is its centre")
        return self


class AugmentationSettings(Settings):
    """Random changes of the training patches; each patch has its own, drawn uniformly, and 0 turns one off."""

    symmetries: bool = True
    """Show each patch in a random one of its flips and right-angle rotations (within y and x; z is only flipped)."""
    zoom: float = Field(0.0, ge=0, le=0.25)
    """Largest relative change of scale within y and x: 0.1 draws factors from 0.9 to 1.1."""
    elastic: float = Field(0.0, ge=0, le=10)
    """Largest displacement of a pixel along y and x by a smooth random field, in pixels; a typical one is a fifth."""
    blur: float = Field(0.0, ge=0, le=10)
    """Largest sigma of a Gaussian blur within y and x, in pixels."""
    contrast: float = Field(0.2, ge=0, lt=1)
    """Largest relative change of the contrast of a channel: 0.1 draws factors from 0.9 to 1.1. Where it is not given
    and the images differ more, up to 0.8."""
    brightness: float = Field(0.3, ge=0)
    """Largest offset of the brightness of a channel, up or down, in standard deviations of the images. Where it is not
    given and the images differ more, up to 1."""
    noise: float = Field(0.2, ge=0)
    """Largest standard deviation of added Gaussian noise, in standard deviations of the images."""
    cutmix: float = Field(1.0, ge=0, le=1)
    """Share of the unlabelled patches in which a box shows a part of another patch, with its pseudo-labels."""


class TrainingSettings(Settings):
    """Optimisation. Steps and batches are those of the supervised stage; everything else holds for both stages."""

    steps: int = Field(20000, ge=0)
    """Most steps of the supervised stage. Where they are the preset's, few labels make them fewer: four steps of both
    stages together for each labelled pixel, but no fewer than 900, or 300 where the images differ in intensity. 0
    leaves the stage out, which only a training that goes on from a model may do."""
    epoch_steps: int = Field(100, ge=1)
    """Steps between two validations, about: a stage is divided into epochs of equal length."""
    patience: int = Field(50, ge=1)
    """Validations without a gain of 0.001 in soft Dice before a stage stops."""
    batch_size: int = Field(128, ge=1)
    """Patches in a batch. Each process has batches of its own."""
    accumulate: int = Field(1, ge=1)
    """Batches in a step, whose gradients are averaged. A smaller `batch_size` and a larger `accumulate` save memory."""
    learning_rate: float = Field(2e-3, gt=0)
    """Largest learning rate, reached after the warm-up."""
    warmup: float = Field(0.05, ge=0, le=1)
    """Share of the steps over which the learning rate rises from 0; then it falls to 0 along a cosine, or with
    `preset: paper` it is halved where validation stalls."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay, decoupled from the gradient; with `preset: paper` it is added to it."""
    gradient_clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    validation_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the labelled strokes of each class kept for validation, unless `slices.validation` names slices."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Where to compute; `auto` takes a GPU if there is one."""
    devices: int = Field(1, ge=1)
    """Processes that train together, each on a GPU of its own or on a share of the CPU's cores; each takes whole
    batches, so two of them see twice the patches in a step."""
    strategy: Literal["auto", "ddp"] = "auto"
    """How several processes train together: `ddp` averages their gradients, and so does `auto` for several devices."""
    workers: int | None = Field(None, ge=0)
    """Processes that prepare patches while the network learns. The result does not depend on it. Default: none on a
    CPU; beside a GPU one for each core but one, up to eight."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Number format of the arithmetic; `16-mixed` needs a GPU."""
    tensorboard: bool = False
    """Whether the figures of `metrics.csv` are also written for TensorBoard, which must be installed."""

    @property
    def distributed(self) -> bool:
        """Whether processes average their gradients."""
        return self.devices > 1 or self.strategy == "ddp"


class SemiSupervisedSettings(Settings):
    """The last stage: unlabelled patches join the labelled ones, with pseudo-labels from an averaged network."""

    steps: int = Field(20000, ge=0)
    """Most steps; few labels make them fewer, as in `training.steps`. 0 turns the stage off."""
    labelled: int = Field(128, ge=1)
    """Labelled patches of a step."""
    unlabelled: int = Field(16, ge=1)
    """Unlabelled patches of a step. Each has a whole region of pixels to learn from."""
    cells: int | None = Field(None, ge=1)
    """Side of that region, in cells of the coarsest level (8 pixels with three levels). Default: 8 in 2D, 4 in 3D."""
    teacher: float = Field(0.99, ge=0, lt=1)
    """Share of its weights that the averaged network keeps in a step. The rest comes from the network that learns."""


class PaperSettings(Settings):
    """Settings of the published training, for `preset: paper` alone."""

    plateau_patience: int = Field(10, ge=1)
    """Validations without a gain of 0.001 in soft Dice before the learning rate is halved."""
    neighbours: int = Field(7, ge=1)
    """Unlabelled pixels around each anchor that may get pseudo-labels in a step of the semi-supervised stage."""
    radius: int = Field(5, ge=1)
    """Distance from the anchor up to which they are drawn at first, in pixels."""
    radius_patience: int = Field(5, ge=1)
    """Validations without a gain of 0.001 in soft Dice before the radius grows by a pixel."""
    confidence: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.5, 0.99)
    """Probability that a pseudo-label needs to count, at the first and at the last step; it rises linearly."""


def _first_and_last(value: str) -> str:
    match = re.fullmatch(r"(\d+)-(\d+)", value)
    if not match or int(match[1]) > int(match[2]):
        raise ValueError(f"it is {value!r}; it must be the first and the last slice, counted from 0, such as 0-11")
    return value


FirstAndLast = Annotated[str, AfterValidator(_first_and_last)]


class SliceSettings(Settings):
    """Which slices of each image (from 0, along t and then z; volumes for a 3D network) to use; all by default."""

    training: FirstAndLast | None = None
    """First and last slice whose labels and pixels are used for training, such as `0-11`."""
    validation: FirstAndLast | None = None
    """First and last slice whose labels are used for validation only."""
