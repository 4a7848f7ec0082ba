"""`model.pt`: the one file that training leaves and that prediction and export need.

The file is a `torch.save` of plain containers, numbers, strings and tensors, so it loads with
`torch.load(weights_only=True)`: no code in a file is ever executed. A change of its layout raises `FORMAT` and gets
a line in the changelog's list of checkpoint formats.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eseg_zoo.errors import CheckpointError, OutputError
from eseg_zoo.model.dense import Architecture, DenseSegmenter
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.output import replacing

FORMAT = 2
_MAGIC = "eseg_zoo checkpoint"


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


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with all that is needed to use, judge and export it."""

    architecture: dict[str, Any]  # keyword arguments of DenseSegmenter
    segmenter_state: dict[str, Tensor]  # weights, normalisation statistics and the class-frequency correction
    generative_state: dict[str, Tensor]  # what only training uses: variances, ladder priors, mixture, decoder
    class_names: tuple[str, ...]  # in the order of the output channels
    class_values: tuple[int, ...]  # the same classes as numbers in label images
    class_frequencies: tuple[float, ...]  # of the data, sum 1: what the correction in the segmenter aims at
    frequency_source: str  # 'estimated', 'given' or 'balanced' (no correction)
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
        return int(self.architecture["dims"])

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
        """Strength of the correction towards `class_frequencies`, 0 (none) to 1; 0 when these are balanced."""
        wanted = np.log(np.array(self.class_frequencies) * len(self.class_frequencies))
        shift = self.segmenter_state["log_prior_shift"].flatten().numpy()
        return float(shift @ wanted / (wanted @ wanted)) if np.abs(wanted).max() > 1e-6 else 0.0

    def segmenter(self) -> DenseSegmenter:
        """Return the inference network with its weights, in eval mode on the CPU."""
        segmenter = DenseSegmenter(**self.architecture)
        segmenter.load_state_dict(self.segmenter_state)
        return segmenter.eval()

    def hvae(self) -> HVAE:
        """Return the whole network of training with its weights, in eval mode on the CPU."""
        hvae = HVAE(Architecture(**self.architecture))
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

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Return the checkpoint in `path`; raises `CheckpointError` for anything else, without executing any code."""
        try:
            if zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip():  # torch does not compare the checksums
                raise CheckpointError(f"{path} is damaged: its content does not fit its checksums")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")  # of a file that is then refused
                content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise CheckpointError(f"{path} does not exist") from error
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{path} is no eseg_zoo checkpoint, or holds code, which is never executed"
            ) from error
        except (OSError, RuntimeError, EOFError, ValueError, LookupError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"{path} is no eseg_zoo checkpoint, or is truncated") from error
        if not isinstance(content, dict) or content.get("magic") != _MAGIC:
            raise CheckpointError(f"{path} is a torch file but no eseg_zoo checkpoint")
        if content.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {content.get('format')}; this version of eseg_zoo reads format {FORMAT}"
            )
        try:
            values = {field.name: content[field.name] for field in fields(cls)}
            return cls(**values | {"training": TrainingRecord(**values["training"])})
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error


def _plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the fields as containers that `weights_only` loading accepts; tensors are kept, not copied."""
    content = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    return content | {"training": asdict(checkpoint.training)}
