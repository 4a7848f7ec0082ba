"""What the fields of `model.pt` may be: types, ranges, and shapes that fit the architecture.

A file that is damaged or made up is refused here, before a network is built of it: no value of it is taken on trust.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from eseg_zoo.errors import shown
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import DenseSegmenter
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.names import plain_colour, plain_name

# Far more than any network has that was ever trained, and few enough to be built at once.
_LEVELS, _WIDTH, _KERNEL, _WEIGHTS = 8, 4096, 15, 2**28
_SAMPLE = 2**28  # pixels
_DEPTH = 16  # of settings within settings


def _plain(value: Any, depth: int = 0) -> Any:
    """Return settings; raises `ValueError` unless they are numbers, texts, and lists and mappings of these."""
    if depth > _DEPTH:
        raise ValueError(f"must not be nested deeper than {_DEPTH}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, (str, int)):
                raise ValueError(f"must not have the key {shown(key)}")
            _plain(inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _plain(inner, depth + 1)
    elif value is not None and not isinstance(value, (str, int, float)):
        raise ValueError(f"must not hold a {type(value).__name__}")
    return value


def _pixel_type(value: str) -> str:
    try:
        dtype = np.dtype(value)
    except (TypeError, ValueError) as error:
        raise ValueError("must be a type of pixels, such as 'uint8'") from error
    if dtype.kind not in "buif" or dtype.name != value:
        raise ValueError("must be a type of pixels, such as 'uint8'")
    return value


def _axes(value: str) -> str:
    if not set("yx") <= set(value) <= set("tczyx") or len(set(value)) < len(value):
        raise ValueError("must be different letters of t, c, z, y and x, with y and x among them")
    return value


def _tensor(value: Tensor) -> Tensor:
    """Return a tensor that has a value in the file for each of its elements."""
    if value.device.type != "cpu" or value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise ValueError("must be a plain tensor")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError("must have a value in the file for each element")
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise ValueError("must be finite")
    return value


_Count = Annotated[int, Field(ge=0)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Tensor = Annotated[Tensor, AfterValidator(_tensor)]
_Name = Annotated[str, AfterValidator(plain_name)]
_Bin = Annotated[list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=3, max_length=3)]
_Levels = Field(min_length=1, max_length=_LEVELS)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True, frozen=True)


class ArchitectureFields(_Strict):
    """Of `Architecture`."""

    dims: Literal[2, 3]
    channels: int = Field(ge=1, le=_WIDTH)
    classes: int = Field(ge=2, le=_WIDTH)
    filters: Annotated[list[Annotated[int, Field(ge=1, le=_WIDTH)]], _Levels]
    latents: int = Field(ge=1, le=_WIDTH)
    strides: Annotated[list[list[Literal[1, 2]]], _Levels]
    kernels: Annotated[list[list[Annotated[int, Field(ge=1, le=_KERNEL)]]], _Levels]

    @model_validator(mode="after")
    def _fits(self) -> ArchitectureFields:
        if not len(self.filters) == len(self.strides) == len(self.kernels):
            raise ValueError("filters, strides and kernels must have one entry for each level")
        counts = [*map(len, self.strides), *map(len, self.kernels)]
        if any(count != self.dims for count in counts):
            raise ValueError(f"strides and kernels must have {self.dims} numbers for each level")
        if any(size % 2 == 0 for level in self.kernels for size in level):
            raise ValueError("kernels must be odd")
        return self

    def made(self) -> Architecture:
        """Return the architecture."""
        return Architecture(**self.model_dump())


class ClassFields(_Strict):
    """Of `Class`."""

    name: _Name
    value: int = Field(ge=0, le=65535)
    frequency: _Positive
    colour: Annotated[str, AfterValidator(plain_colour)]


class TrainingFields(_Strict):
    """Of `TrainingRecord`."""

    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    steps: _Count
    labelled_pixels: dict[_Name, _Count]
    labelled_fraction: Annotated[float, Field(ge=0, le=1)]
    validation_pixels: dict[_Name, _Count]
    validation: dict[str, _Finite | None]
    versions: dict[str, str]
    strokes: dict[_Name, _Count] = {}
    slices: dict[_Name, _Count] = {}
    validation_strokes: dict[_Name, _Count] = {}
    confusion: list[list[_Count]] = []
    reliability: dict[Literal["with", "without"], Annotated[list[_Bin], Field(min_length=1)]] = {}
    expected_dice: dict[_Name, Annotated[list[_Finite], Field(min_length=3, max_length=3)]] = {}
    machine: str = ""
    command: str = ""


class Fields(_Strict):
    """Of `Checkpoint`, in the file's own types."""

    architecture: ArchitectureFields
    segmenter_state: dict[str, Any]
    generative_state: dict[str, Any]
    classes: list[ClassFields]
    frequency_source: Literal["estimated", "given", "balanced"]
    channel_names: tuple[_Name, ...]
    axes: Annotated[str, AfterValidator(_axes)]
    voxel_size: dict[Literal["z", "y", "x"], _Positive]
    image_dtype: Annotated[str, AfterValidator(_pixel_type)]
    sample: _Tensor
    settings: Annotated[dict[str, Any], AfterValidator(_plain)]
    training: TrainingFields

    @model_validator(mode="after")
    def _fits(self) -> Fields:
        shape = self.architecture
        if len(self.classes) != shape.classes:
            raise ValueError(f"it has {len(self.classes)} classes, but the network has {shape.classes}")
        for key in ("name", "value"):
            if len({getattr(one, key) for one in self.classes}) < len(self.classes):
                raise ValueError(f"two of its classes have the same {key}")
        if abs(sum(one.frequency for one in self.classes) - 1) > 1e-3:
            raise ValueError("the frequencies of its classes must be 1 together")
        if len(self.channel_names) != shape.channels:
            raise ValueError(f"it has {len(self.channel_names)} channels, but the network has {shape.channels}")
        if self.sample.dim() != shape.dims + 1 or self.sample.shape[0] != shape.channels:
            raise ValueError(f"sample has shape {tuple(self.sample.shape)}, which does not fit the network")
        if not 0 < self.sample.numel() <= _SAMPLE:
            raise ValueError(f"sample has {self.sample.numel()} pixels; it must have 1 to {_SAMPLE}")
        confusion = self.training.confusion
        if confusion and [len(row) for row in confusion] != [shape.classes] * shape.classes:
            raise ValueError(f"training.confusion must be of {shape.classes} classes")
        if len(self.training.reliability) == 1:
            raise ValueError("training.reliability must be with and without the temperature")
        self._check_settings()
        _check_weights(self)
        return self

    def _check_settings(self) -> None:
        """Check those settings that a model needs; the others are shown to people."""
        unlabelled = self.settings.get("unlabelled", 0)
        if not isinstance(unlabelled, int) or isinstance(unlabelled, bool):
            raise ValueError(f"settings.unlabelled is {shown(unlabelled)}; it must be an integer")
        augmentation = self.settings.get("augmentation", {})
        if not isinstance(augmentation, dict) or not isinstance(augmentation.get("symmetries", True), bool):
            raise ValueError(f"settings.augmentation is {shown(augmentation)}; symmetries must be true or false")


def _check_weights(content: Fields) -> None:
    """Raise `ValueError` where weights are not those of the network, by names, shapes and values."""
    shape = content.architecture.made()
    if _estimated_weights(shape) > _WEIGHTS:
        raise ValueError(f"the network would have more than {_WEIGHTS} weights")
    with torch.device("meta"):
        segmenter = DenseSegmenter.of(shape).state_dict()
        generative = {key: one for key, one in HVAE(shape).state_dict().items() if not key.startswith("classifier.")}
    _compare("segmenter_state", content.segmenter_state, segmenter)
    if content.generative_state:  # models that never train again may lack them
        _compare("generative_state", content.generative_state, generative)
    for name in ("std", "temperature"):
        if not bool((content.segmenter_state[name] > 0).all()):
            raise ValueError(f"segmenter_state: {name} must be above 0")


def _estimated_weights(shape: Architecture) -> int:
    """Return about how many weights the convolutions of the levels have."""
    kernels = (int(np.prod(level)) for level in shape.kernels)
    return sum(4 * width * width * size for width, size in zip(shape.filters, kernels, strict=True))


def _compare(field: str, found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    if set(found) != set(expected):
        name = min(map(str, set(found) ^ set(expected)))
        raise ValueError(f"{field} {'has' if name in found else 'lacks'} {shown(name)}, unlike the network")
    for name, one in expected.items():
        weights = found[name]
        if not isinstance(weights, Tensor) or weights.shape != one.shape or weights.dtype != one.dtype:
            kind = f"{weights.dtype} {tuple(weights.shape)}" if isinstance(weights, Tensor) else shown(weights)
            raise ValueError(f"{field}: {name} is {kind}; the network has {one.dtype} {tuple(one.shape)}")
        try:
            _tensor(weights)
        except ValueError as error:
            raise ValueError(f"{field}: {name} {error}") from error


def check_fields(content: Mapping[str, Any]) -> Fields:
    """Return the fields of a checkpoint of the newest format.

    Raises `ValueError`, in one line, that names the first that is not as it must be.
    """
    try:
        return Fields.model_validate(dict(content))
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in mistake["loc"])[:256]
        if mistake["type"] == "missing":
            text = f"{where} is missing"
        elif mistake["type"] == "value_error":
            said = str(mistake["ctx"]["error"])
            text = f"{where} is {shown(mistake['input'])}; it {said}" if said.startswith("must") else said
        else:
            text = f"{where} is {shown(mistake['input'])}; {mistake['msg'][0].lower()}{mistake['msg'][1:]}"
        raise ValueError(" ".join(text.split())) from error
