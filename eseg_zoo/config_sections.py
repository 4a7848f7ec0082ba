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
    """Feature channels of the first level, unless `filters` says them; the next levels have 1.5 and 2 times as many."""
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
    """What is hidden: the centre of a labelled patch, and random squares all over an unlabelled one."""

    size: int = Field(3, ge=1)
    """Side of the hidden region around the anchor, in pixels; odd."""
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the labelled patches that have their centre hidden; the others look as they do at prediction."""
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
    """Largest relative change of the contrast of a channel: 0.1 draws factors from 0.9 to 1.1."""
    brightness: float = Field(0.3, ge=0)
    """Largest offset of the brightness of a channel, up or down, in standard deviations of the images."""
    noise: float = Field(0.2, ge=0)
    """Largest standard deviation of added Gaussian noise, in standard deviations of the images."""


class TrainingSettings(Settings):
    """The optimisation: steps and batches of the supervised stage, everything else of all stages."""

    steps: int = Field(20000, ge=0)
    """Optimisation steps of the supervised stage at most; 0 leaves it out, where a training goes on from a model."""
    epoch_steps: int = Field(100, ge=1)
    """Steps between two validations, about: a stage consists of whole epochs of one length."""
    patience: int = Field(50, ge=1)
    """Validations without a gain of 0.001 in soft Dice before a stage stops."""
    batch_size: int = Field(128, ge=1)
    """Patches of a step, for each process and each accumulated batch."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are averaged for one step, where memory does not hold them at once."""
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
    """How they do it: `ddp` averages their gradients; `auto` is that where there are several, else none of it."""
    workers: int | None = Field(None, ge=0)
    """Processes that cut the patches while the steps are made; the batches are the same whatever their number. By
    default none on a CPU, and beside a GPU one a core, up to eight."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Number format of the arithmetic; `16-mixed` needs a GPU."""
    tensorboard: bool = False
    """Whether the figures of `metrics.csv` go to TensorBoard too, in the folder `tensorboard` of the run; it must be
    installed."""

    @property
    def distributed(self) -> bool:
        """Whether processes average their gradients."""
        return self.devices > 1 or self.strategy == "ddp"


class SemiSupervisedSettings(Settings):
    """The last stage: unlabelled patches join the labelled ones, with pseudo-labels from an averaged network."""

    steps: int = Field(20000, ge=0)
    """Optimisation steps at most; 0 turns the stage off."""
    labelled: int = Field(128, ge=1)
    """Labelled patches of a step."""
    unlabelled: int = Field(16, ge=1)
    """Unlabelled patches of a step; each has a whole region of pixels to learn from."""
    cells: int | None = Field(None, ge=1)
    """Side of that region in cells of the coarsest level, 8 pixels for three levels; 8 cells in 2D and 4 in 3D."""
    teacher: float = Field(0.99, ge=0, lt=1)
    """Share of the averaged network's weights kept in a step; the rest comes from the network that learns."""


class PaperSettings(Settings):
    """What only the published training has (`preset: paper`); what was measured of it bought nothing to speak of."""

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
