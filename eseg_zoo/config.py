"""All settings of a run: one YAML file, one frozen tree. The text under each field is its documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_serializer, field_validator, model_validator

from eseg_zoo.config_sections import (
    AugmentationSettings,
    LossWeights,
    MaskSettings,
    NetworkSettings,
    PaperSettings,
    SemiSupervisedSettings,
    SliceSettings,
    TrainingSettings,
)
from eseg_zoo.label_files import ClassName, LabelFile, label_lists
from eseg_zoo.names import plain_colour
from eseg_zoo.presets import PRESETS, VOLUME_PRESETS
from eseg_zoo.settings import Settings
from eseg_zoo.yaml_file import read_mapping

__all__ = [
    "PRESETS", "UNLABELLED_CELLS", "VOLUME_PRESETS", "AugmentationSettings", "LabelFile", "LossWeights", "MaskSettings",
    "NetworkSettings", "PaperSettings", "Run", "SemiSupervisedSettings", "SliceSettings", "TrainingSettings",
    "load_run",
]  # fmt: skip


def as_list(value: Any) -> list[Any]:
    """Return a value that may be given without a list as one."""
    return value if isinstance(value, list) else [value]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Paths = Annotated[list[Path], BeforeValidator(as_list), Field(min_length=1)]
LabelFiles = Annotated[list[LabelFile], Field(min_length=1)]  # of one image
Name = Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]  # channels are often named by a wavelength
Colour = Annotated[str, AfterValidator(plain_colour)]

# Cells along each axis of an unlabelled patch's region. In 3D its margin is many times the region: 4 cells cost 2 to 3
# times as much as one, and hold 64 times as many voxels to learn from.
UNLABELLED_CELLS = {2: 8, 3: 4}


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
    labels: list[LabelFiles] = Field(min_length=1)
    """Label file of each image. An image may have a list of several; a later one paints over those before it. An
    ilastik project with several images is given once."""
    axes: Annotated[str, BeforeValidator(_lower)] | None = None
    """Axes of the images in their order, such as `yx`, `zyx` or `zcyx`; t is time or position, c the channel. May be
    left out where the files state them."""
    missing_chunks: bool = False
    """Whether missing parts of an image file are treated as empty. Otherwise they are an error."""
    channels: Annotated[list[Name], BeforeValidator(as_list)] = Field([])
    """Name of each channel in the order of the files, such as `[nuclei, cytoplasm]`; by default they are numbered."""
    voxel_size: dict[Literal["z", "y", "x"], Annotated[float, Field(gt=0)]] = Field({})
    """Size of a voxel in micrometres, such as `{z: 0.05, y: 0.0046, x: 0.0046}`. It replaces what the image files
    say."""
    classes: dict[Annotated[int, Field(ge=0, le=65535)], ClassName] = Field({})
    """Name of the class that each label value stands for. Class maps hold the same values. May be left out where the
    label files name their classes. Where it is given, such files are matched to it by name."""
    colours: dict[ClassName, Colour] | None = None
    """Colour of a class in maps and pictures, such as `{membrane: '#e69f00'}`. Default: the colour in its label file,
    or else one that can be told from the others with any colour vision."""
    out: Path
    """Folder for `model.pt`, the log and the checkpoints of the run."""
    preset: Literal["default", "small", "paper"] | None = None
    """Size of the network and length of the training: `small` for a laptop's CPU, `default` for a GPU. `paper` trains a
    network of the default size as it was published. By default it is `default` where the machine has a GPU, else
    `small`."""
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
    """With another preset it must be left out."""
    frequencies: Literal["estimate", "balanced"] | dict[str, Annotated[float, Field(gt=0)]] = "estimate"
    """How frequent each class is in the images: `{membrane: 0.2, ...}`, or `estimate`, which measures it on unlabelled
    pixels (EM). The probabilities are corrected for it. `balanced` turns the correction off."""
    prior_strength: float = Field(1.0, ge=0, le=1)
    """Largest strength of the correction for class frequencies, from 0 (none) to 1 (all of it). A training uses less
    where a class would suffer, and says so."""
    seed: int = Field(0, ge=0)
    """Seed of all randomness; two CPU runs with one seed are identical."""

    def unlabelled_region(self, cell: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of an unlabelled patch's region in pixels, for a network with cells of this size."""
        cells = self.semi_supervised.cells or UNLABELLED_CELLS[self.network.dims]
        return tuple(cells * pixels for pixels in cell)

    def with_paths(self, change: Callable[[Path], Path]) -> Self:
        """Return the same settings with each path replaced by what `change` makes of it."""
        images = [change(path) for path in self.images]
        labels = [[file.moved(change) for file in files] for files in self.labels]
        return self.model_copy(update={"images": images, "labels": labels, "out": change(self.out)})

    def with_preset(self, preset: str) -> Self:
        """Return the settings that were given, with the defaults of this preset for all others.

        Raises `ConfigError` where they do not go together.
        """
        return self.checked(self.model_dump(exclude_unset=True) | {"preset": preset}, f"preset {preset}")

    def with_classes(self, classes: Mapping[int, str]) -> Self:
        """Return the same settings with these classes, which the label files name.

        Raises `ConfigError` where they do not go together.
        """
        return self.checked(self.model_dump(exclude_unset=True) | {"classes": dict(classes)}, "the label files")

    @model_validator(mode="before")
    @classmethod
    def _labels_of_each_image(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("labels") is None:
            return values
        return values | {"labels": label_lists(values["labels"], len(as_list(values.get("images"))))}

    @field_serializer("labels")
    def _labels_as_given(self, labels: list[list[LabelFile]]) -> list[Any]:
        """Return one file for an image that has one, as older runs have it."""
        return [files[0] if len(files) == 1 else files for files in labels]

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
        elif isinstance(value, dict) and value and all(isinstance(number, int) for number in value.values()):
            given = {number: name for name, number in value.items()}
        else:
            if isinstance(value, dict) and len(value) == 1:
                raise ValueError(f"it is {value!r}; a model tells at least 2 classes apart")
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
        if self.classes:
            self._require_classes(list(self.classes.values()))
        self._require_axes()
        self._require_paper()
        if not self.training.steps + self.semi_supervised.steps:
            raise ValueError("training.steps and semi_supervised.steps are both 0: there is nothing to train")
        if len(self.labels) not in (1, len(self.images)):
            raise ValueError(
                f"there are {len(self.images)} images but {len(self.labels)} entries in labels; give one for each "
                "image, which is a list where an image has several label files"
            )
        return self

    def _require_classes(self, names: list[str]) -> None:
        if len(set(names)) < len(names):
            raise ValueError(f"classes has one name twice: {', '.join(names)}")
        if len(names) > 2 * self.network.latents:
            raise ValueError(f"{len(names)} classes need network.latents of at least {-(-len(names) // 2)}")
        if isinstance(self.frequencies, dict) and set(self.frequencies) != set(names):
            raise ValueError(f"frequencies must name each class once: {', '.join(names)}")
        for name in self.colours or {}:
            if name not in names:
                raise ValueError(f"colours names {name}, which is no class; they are {', '.join(names)}")

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
                "with several channels it must have c"
            )


# Settings that are mappings and are replaced as a whole.
_WHOLE = ("labels", "classes", "colours")


def load_run(path: Path, changes: Mapping[str, Any] = MappingProxyType({})) -> Run:
    """Return the settings in the YAML file `path`; relative paths in it start from its folder.

    `changes` replace what stands there, section by section.

    Raises `ConfigError` with one line for each mistake: the key, its value, and what it must be.
    """
    values = read_mapping(path, hint="settings such as 'images: raw.tif'; see eseg train --help")
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(values.get(key), Mapping) and key not in _WHOLE
        values[key] = {**values[key], **value} if both else value
    return Run.checked(values, path).with_paths(lambda given: path.parent / given)
