"""All settings of a run: one YAML file, one frozen tree. The text under each field is its documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from eseg_zoo.levels import anisotropy, depth, kernels, strides
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.names import plain_name
from eseg_zoo.settings import Settings
from eseg_zoo.yaml_file import read_mapping


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Paths = Annotated[list[Path], BeforeValidator(_as_list), Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]  # channels are often named by a wavelength
ClassName = Annotated[str, AfterValidator(plain_name)]


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

    steps: int = Field(20000, ge=1)
    """Optimisation steps of the supervised stage at most."""
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


# Cells along each axis of an unlabelled patch's region. In 3D its margin is many times the region: 4 cells cost 2 to 3
# times as much as one, and hold 64 times as many voxels to learn from.
UNLABELLED_CELLS = {2: 8, 3: 4}

# The learning rate of the paper, without a warm-up.
PUBLISHED_RATE: dict[str, Any] = {"learning_rate": 3e-5, "warmup": 0.0}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "small": {
        "network": {"width": 32, "latents": 16},
        "training": {"steps": 1000, "batch_size": 32, "patience": 20},
        "semi_supervised": {"steps": 2000, "labelled": 32, "unlabelled": 4},
    },
    "paper": {"training": PUBLISHED_RATE, "paper": {}},
}

# The same for `dims: 3`, where a patch costs about four times as much.
VOLUME_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {
        "network": {"width": 48},
        "training": {"batch_size": 32},
        "semi_supervised": {"labelled": 16, "unlabelled": 8},
    },
    "small": {
        "network": {"width": 24, "latents": 16},
        "training": {"steps": 500, "batch_size": 16, "patience": 20},
        "semi_supervised": {"steps": 500, "labelled": 8, "unlabelled": 4},
    },
    "paper": {
        "network": {"width": 48},
        "training": {"batch_size": 32, **PUBLISHED_RATE},
        "semi_supervised": {"labelled": 16, "unlabelled": 8},
        "paper": {},
    },
}


class Run(Settings):
    """One training run."""

    former: ClassVar[Mapping[str, str]] = {
        "training.symmetries": "it is augmentation.symmetries now",
        "training.ema": "averaged weights bought nothing",
        "training.optimiser": "it is AdamW, and Adamax with preset: paper",
        "training.schedule": "it is a cosine, and a plateau decay with preset: paper",
        "training.plateau_patience": "it is paper.plateau_patience now, with preset: paper",
        "network.learn_prior": "the prior is always learnt; one that is not was no better",
        "pretraining": "learning without labels first made models worse",
        "semi_supervised.labeller": "it is the averaged network, and the class means with preset: paper",
        "semi_supervised.confidence": "it is paper.confidence now, with preset: paper",
        "semi_supervised.radius": "it is paper.radius now, with preset: paper",
        "semi_supervised.radius_patience": "it is paper.radius_patience now, with preset: paper",
    }

    images: Paths
    """Image file, or list of them."""
    labels: Paths
    """Label image for each image, of the same shape without the channel axis."""
    axes: Annotated[str, BeforeValidator(_lower)] | None = None
    """Names of the images' axes in their order, such as `yx`, `zyx` or `zcyx`; t is time or position. It may be left
    out where the files state them."""
    missing_chunks: bool = False
    """Whether parts of an image file that are absent are taken for empty; otherwise they are an error."""
    channels: Annotated[list[Name], BeforeValidator(_as_list)] = Field([])
    """Name of each channel in the order of the files, such as `[nuclei, cytoplasm]`; by default they are numbered."""
    voxel_size: dict[Literal["z", "y", "x"], Annotated[float, Field(gt=0)]] = Field({})
    """Micrometres per voxel along each axis, such as `{z: 0.05, y: 0.0046, x: 0.0046}`; those given count instead of
    what the image files say."""
    classes: dict[Annotated[int, Field(ge=0, le=65535)], ClassName] = Field(min_length=2)
    """Class name of each label value; class maps hold these values in 8 or 16 bits."""
    out: Path
    """Folder for `model.pt`, the log and the checkpoints of the run."""
    preset: Literal["default", "small", "paper"] | None = None
    """Defaults of network and training, for `network.dims` of 2 or 3: `default` is sized for a GPU, `small` for a
    laptop's CPU. `paper` trains a network of the default size as it was published. Where it is left out, the machine
    that trains chooses between the first two."""
    unlabelled: int = 0
    """Label value that means 'not labelled'."""
    slices: SliceSettings = SliceSettings()
    network: NetworkSettings = NetworkSettings()
    loss: LossWeights = LossWeights()
    mask: MaskSettings = MaskSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    semi_supervised: SemiSupervisedSettings = SemiSupervisedSettings()
    paper: PaperSettings | None = None
    """What only `preset: paper` has; with another preset it must be left out."""
    frequencies: Literal["estimate", "balanced"] | dict[str, Annotated[float, Field(gt=0)]] = "estimate"
    """Class frequencies of the data, by class name; `estimate` takes them from the unlabelled pixels (EM), `balanced`
    applies no correction."""
    prior_strength: float = Field(1.0, ge=0, le=1)
    """Largest strength of the correction for class frequencies, 0 (none) to 1 (the whole of it). A run uses less where
    the held-out labels ask for it, or where half of a class would vanish from the class map of unlabelled pixels."""
    seed: int = Field(0, ge=0)
    """Seed of all randomness; two CPU runs with one seed are identical."""

    def unlabelled_region(self, cell: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of an unlabelled patch's region in pixels, for a network with cells of this size."""
        cells = self.semi_supervised.cells or UNLABELLED_CELLS[self.network.dims]
        return tuple(cells * pixels for pixels in cell)

    def with_paths(self, change: Callable[[Path], Path]) -> Self:
        """Return the same settings with each path replaced by what `change` makes of it."""
        images, labels = ([change(path) for path in paths] for paths in (self.images, self.labels))
        return self.model_copy(update={"images": images, "labels": labels, "out": change(self.out)})

    def with_preset(self, preset: str) -> Self:
        """Return the settings that were given, with the defaults of this preset for all others.

        Raises `ConfigError` where they do not go together.
        """
        return self.checked(self.model_dump(exclude_unset=True) | {"preset": preset}, f"preset {preset}")

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        merged = dict(values)
        network = values.get("network")
        presets = VOLUME_PRESETS if isinstance(network, dict) and network.get("dims") == 3 else PRESETS
        for section, defaults in presets.get(str(values.get("preset")), {}).items():
            given = values.get(section) or {}
            merged[section] = {**defaults, **given} if isinstance(given, dict) else given
        return merged

    @field_validator("classes", mode="before")
    @classmethod
    def _values_with_names(cls, value: Any) -> Any:
        """Refuse names without values, and names in the place of values, with the form that is meant."""
        if isinstance(value, str):
            given = dict(enumerate((part.strip() for part in value.split(",")), start=1))
        elif isinstance(value, list):
            names = [one for part in value for one in (part.values() if isinstance(part, dict) else [part])]
            given = dict(enumerate(names, start=1))
        elif isinstance(value, dict) and all(isinstance(number, int) for number in value.values()):
            given = {number: name for name, number in value.items()}
        else:
            return value
        form = ", ".join(f"{number}: {name}" for number, name in given.items()) or "1: background, 2: nucleus"
        raise ValueError(f"it is {value!r}; it must have the label value of each class, as in {{{form}}}")

    @field_validator("frequencies", mode="before")
    @classmethod
    def _word_or_numbers(cls, value: Any) -> Any:
        """Refuse in one line what pydantic would refuse in one for each of the two kinds."""
        if isinstance(value, dict):
            for name, frequency in value.items():
                if isinstance(frequency, bool) or not isinstance(frequency, (int, float)) or not frequency > 0:
                    raise ValueError(f"{name} is {frequency!r}; it must be a number above 0")
        elif value not in ("estimate", "balanced"):
            raise ValueError(f"it is {value!r}; it must be estimate, balanced, or a number for each class")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.unlabelled in self.classes:
            raise ValueError(f"classes names the value {self.unlabelled}, which means 'not labelled'")
        names = list(self.classes.values())
        if len(set(names)) < len(names):
            raise ValueError(f"classes has one name twice: {', '.join(names)}")
        if len(names) > 2 * self.network.latents:
            raise ValueError(f"{len(names)} classes need network.latents of at least {-(-len(names) // 2)}")
        if isinstance(self.frequencies, dict) and set(self.frequencies) != set(names):
            raise ValueError(f"frequencies must name each class once: {', '.join(names)}")
        self._require_axes()
        self._require_paper()
        if len(self.labels) != len(self.images):
            raise ValueError(f"there are {len(self.images)} images but {len(self.labels)} label images")
        return self

    def _require_paper(self) -> None:
        if self.paper is not None and self.preset != "paper":
            raise ValueError(f"paper is for preset: paper, but preset is {self.preset}")
        if self.preset == "paper" and self.semi_supervised.teacher != SemiSupervisedSettings().teacher:
            raise ValueError("semi_supervised.teacher is for other presets than paper, which has no averaged network")

    def _require_axes(self) -> None:
        if len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels has one name twice: {', '.join(self.channels)}")
        if self.axes is None:
            return
        axes = set(self.axes)
        if not {"y", "x"} <= axes <= set("tczyx") or len(axes) < len(self.axes):
            raise ValueError(f"axes is {self.axes!r}; it must have y and x, may have t, c and z, and each letter once")
        if self.network.dims == 3 and "z" not in axes:
            raise ValueError(f"axes is {self.axes!r}, which has no z; network.dims of 3 needs volumes")
        if len(self.channels) > 1 and "c" not in axes:
            raise ValueError(
                f"channels names {len(self.channels)} ({', '.join(self.channels)}), but axes is {self.axes!r}; "
                "it must then have c"
            )


def load_run(path: Path, changes: Mapping[str, Any] = MappingProxyType({})) -> Run:
    """Return the settings in the YAML file `path`; relative paths in it start from its folder.

    `changes` replace what stands there, section by section.

    Raises `ConfigError` with one line for each mistake: the key, its value, and what it must be.
    """
    values = read_mapping(path, hint="settings such as 'images: raw.tif'; see eseg train --help")
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(values.get(key), Mapping) and key != "classes"
        values[key] = {**values[key], **value} if both else value
    return Run.checked(values, path).with_paths(lambda given: path.parent / given)
