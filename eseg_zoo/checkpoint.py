"""`model.pt`: the one file that training leaves and that prediction and export need.

The file is a `torch.save` of plain containers, numbers, strings and tensors, so it loads with
`torch.load(weights_only=True)`: no code in a file is ever executed. A change of its layout raises `FORMAT` and gets
a line in the changelog's list of checkpoint formats.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eseg_zoo.checkpoint_fields import check_fields
from eseg_zoo.colours import class_colours
from eseg_zoo.errors import CheckpointError, OutputError, shown
from eseg_zoo.model.architecture import Architecture, Geometry
from eseg_zoo.model.dense import DenseSegmenter
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.output import replacing
from eseg_zoo.package_file import STATE, PackageFile, is_package, read_sample
from eseg_zoo.paths import require_model
from eseg_zoo.torch_file import read_torch

FORMAT = 4
_MAGIC = "eseg_zoo checkpoint"


@dataclass(frozen=True)
class Class:
    """One class that a model tells apart."""

    name: str
    value: int  # in label images and class maps
    frequency: float  # in the data, above 0; all together are 1. The correction in the segmenter aims at it
    colour: str  # in maps and pictures, `#rrggbb`


@dataclass(frozen=True)
class TrainingRecord:
    """How the model was trained and how well it did; goes into the exported package's README."""

    seconds: float
    steps: int
    labelled_pixels: dict[str, int]  # class name -> pixels used for training
    labelled_fraction: float  # of all pixels of the training images, 0..1
    validation_pixels: dict[str, int]  # class name -> held-out pixels that chose the weights and calibrated them
    validation: dict[str, float]  # 'mean_dice', 'loss', and 'dice/<class>' of the finished model on these
    versions: dict[str, str]  # package -> version
    landmarks: list[list[int]] = field(default_factory=list)  # some labels of training (see `labels.landmarks`)
    # What only the report shows; models of before it lack it.
    strokes: dict[str, int] = field(default_factory=dict)  # class name -> strokes used for training
    slices: dict[str, int] = field(default_factory=dict)  # class name -> sections that have these
    validation_strokes: dict[str, int] = field(default_factory=dict)  # class name -> held-out strokes
    confusion: list[list[int]] = field(default_factory=list)  # held-out pixels by true (rows) and predicted class
    # 'with' and 'without' the temperature, for each bin of confidence: held-out pixels, right ones, sum of confidences
    reliability: dict[str, list[list[float]]] = field(default_factory=dict)
    # class name -> Dice expected in the data without a correction for class frequencies, with it, with the whole of it
    expected_dice: dict[str, list[float]] = field(default_factory=dict)
    machine: str = ""  # that trained it
    command: str = ""  # that trained it; '' for a training from Python


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with all that is needed to use, judge and export it."""

    architecture: Architecture
    segmenter_state: dict[str, Tensor]  # weights, normalisation statistics and the class-frequency correction
    generative_state: dict[str, Tensor]  # what only training uses: variances, ladder priors, mixture, decoder
    classes: tuple[Class, ...]  # in the order of the output channels
    frequency_source: str  # of the classes' frequencies: 'estimated', 'given' or 'balanced' (no correction)
    channel_names: tuple[str, ...]  # of the images, in their order
    axes: str  # of the training images as the user gave them, such as 'zyx'
    voxel_size: dict[str, float]  # axis -> micrometres; empty when the images did not say
    image_dtype: str  # of the training images, such as 'uint8'
    sample: Tensor  # a real crop of a training image, raw intensities, (c, *space)
    settings: dict[str, Any]  # the run's settings, as `Run.model_dump(mode="json")` gives them
    training: TrainingRecord

    @property
    def dims(self) -> int:
        """Spatial rank of the network: 2 or 3."""
        return self.architecture.dims

    @property
    def geometry(self) -> Geometry:
        """The network's geometry, known without building it."""
        return self.architecture.geometry

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the output channels."""
        return tuple(one.name for one in self.classes)

    @property
    def digest(self) -> str:
        """A checksum of what its maps follow from: weights, correction, classes and shape."""
        found = hashlib.sha256(repr((self.architecture, self.classes)).encode())
        for name, tensor in sorted(self.segmenter_state.items()):
            found.update(name.encode() + tensor.cpu().numpy().tobytes())
        return found.hexdigest()

    @property
    def unlabelled(self) -> int:
        """Label value that meant 'not labelled' in the training labels."""
        return int(self.settings.get("unlabelled", 0))

    @property
    def knows_symmetries(self) -> bool:
        """Whether it was trained on flipped and rotated patches."""
        return bool(self.settings.get("augmentation", {}).get("symmetries", True))

    @property
    def prior_strength(self) -> float:
        """Strength of the correction towards the classes' frequencies, 0 (none) to 1; 0 when these are balanced."""
        wanted = np.log(np.array([one.frequency for one in self.classes]) * len(self.classes))
        shift = self.segmenter_state["log_prior_shift"].flatten().numpy()
        return float(shift @ wanted / (wanted @ wanted)) if np.abs(wanted).max() > 1e-6 else 0.0

    def segmenter(self) -> DenseSegmenter:
        """Return the inference network with its weights, in eval mode on the CPU."""
        segmenter = DenseSegmenter.of(self.architecture)
        segmenter.load_state_dict(self.segmenter_state)
        return segmenter.eval()

    def hvae(self) -> HVAE:
        """Return the whole network of training with its weights, in eval mode on the CPU."""
        hvae = HVAE(self.architecture)
        prefix = "classifier."
        classifier = {key: value for key, value in self.segmenter_state.items() if key.startswith(prefix)}
        hvae.load_state_dict(self.generative_state | classifier)
        return hvae.eval()

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write the file under a temporary name and rename it, so that no half file is ever seen.

        Raises `OutputError` when `path` exists and `force` is not set, or when it cannot be written.
        """
        with replacing(path, force=force) as temporary:
            try:
                torch.save({"magic": _MAGIC, "format": FORMAT, **_plain(self)}, temporary)
            except RuntimeError as error:  # how torch reports a full disk or a folder that is not there
                raise OutputError(f"{path} cannot be written: {error}") from error

    def beside_weights(self) -> bytes:
        """Return the file that a package holds beside its weights and its sample: all the rest of the checkpoint.

        Of the sample it has the shape: the package's may be larger, by the mirror image of its end.
        """
        content = {"magic": _MAGIC, "format": FORMAT, "sample_shape": list(self.sample.shape), **_plain(self)}
        del content["segmenter_state"], content["sample"]
        file = BytesIO()
        torch.save(_apart(content), file)
        return file.getvalue()

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Return the checkpoint in `path`, a `model.pt` or a package that `eseg export` wrote.

        Raises `CheckpointError` for anything else, without executing any code.
        """
        require_model(path)
        content = _packed(PackageFile.open(path)) if is_package(path) else _read(path, f"{path}")
        try:
            if content["format"] == 2:
                content = _from_format_2(content)
            if content["format"] == 3:
                content = _from_format_3(content)
            return _of_plain(content)
        except KeyError as error:
            raise CheckpointError(f"{path} is damaged: {error.args[0]} is missing") from error
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error


def _read(file: Path | bytes, name: str) -> dict[str, Any]:
    """Return the content of a file of this project, of a format that is known."""
    content = read_torch(file, name)
    if not isinstance(content, dict) or content.get("magic") != _MAGIC:
        raise CheckpointError(f"{name} is a torch file, but not an eseg_zoo checkpoint")
    if not isinstance(content.get("format"), int) or content["format"] not in (2, 3, FORMAT):
        raise CheckpointError(
            f"{name} has checkpoint format {shown(content.get('format'))}; this version of eseg_zoo reads 2, 3 and "
            f"{FORMAT}"
        )
    return content


def _packed(package: PackageFile) -> dict[str, Any]:
    """Return the content of a checkpoint that a package holds in several files."""
    if not package.is_ours:
        raise CheckpointError(package.refusal)
    content = _read(package.read(STATE), f"{package.path}: {STATE}")
    weights = package.at("weights", "pytorch_state_dict", "source")
    state = read_torch(package.read(weights), f"{package.path}: {weights}")
    sample = package.read(package.at("inputs", 0, "sample_tensor", "source"))
    try:
        found = read_sample(sample, content.pop("sample_shape"), content["image_dtype"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{package.path} is damaged: its sample cannot be read: {error}") from error
    return content | {"segmenter_state": state, "sample": found}


def _plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the fields as containers that `weights_only` loading accepts; tensors are kept, not copied."""
    return {one.name: getattr(checkpoint, one.name) for one in fields(checkpoint)} | {
        "architecture": checkpoint.architecture.arguments(),
        "classes": [asdict(one) for one in checkpoint.classes],
        "training": asdict(checkpoint.training),
    }


def _apart(value: Any) -> Any:
    """Return a copy in which no two containers or tensors are one, and equal texts are: it is saved as the same bytes.

    What is saved depends on what is shared, which a loaded checkpoint does not know any more.
    """
    if isinstance(value, dict):
        return {_apart(key): _apart(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_apart(one) for one in value)
    if isinstance(value, str):
        return sys.intern(value)
    return value.clone() if isinstance(value, Tensor) else value


def _of_plain(content: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint that `_plain` made this of; raises `ValueError` where a field is not as it must be."""
    values = {one.name: content[one.name] for one in fields(Checkpoint)}
    checked = check_fields(values)
    return Checkpoint(
        **values
        | {
            "architecture": checked.architecture.made(),
            "classes": tuple(Class(**one) for one in values["classes"]),
            "training": TrainingRecord(**values["training"]),
        }
    )


def _from_format_2(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content as format 3 has it; format 2 has the classes in three tuples."""
    names = ("class_names", "class_values", "class_frequencies")
    columns = zip(*(_sequence(content, name) for name in names), strict=True)
    classes = [dict(zip(("name", "value", "frequency"), column, strict=True)) for column in columns]
    return content | {"format": 3, "classes": classes}


def _from_format_3(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content as format 4 has it; in format 3 classes have no colours."""
    found = _sequence(content, "classes")
    classes = [one | {"colour": colour} for one, colour in zip(found, class_colours(len(found)), strict=True)]
    return content | {"format": FORMAT, "classes": classes}


def _sequence(content: dict[str, Any], name: str) -> list[Any] | tuple[Any, ...]:
    """Return a field that must be a list; a tensor may claim more elements than any memory holds."""
    found = content[name]
    if not isinstance(found, (list, tuple)):
        raise ValueError(f"{name} must be a list, and is a {type(found).__name__}")
    return found
