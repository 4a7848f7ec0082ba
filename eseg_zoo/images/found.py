"""What a reader is asked for and what it finds, before the axes are decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eseg_zoo.images.image import Source, Spacing


@dataclass(frozen=True)
class Request:
    """What a person or a model states of an image; see `open_image`."""

    axes: str | None = None
    usual_axes: str | None = None
    level: int | None = None
    voxel_size: Mapping[str, float] | None = None
    allow_missing: bool = False

    @property
    def wants_time_first(self) -> bool:
        """Whether images of equal shape may be stacked along a leading t."""
        return (self.axes or self.usual_axes or "").startswith("t")


@dataclass(frozen=True)
class Found:
    """An array in a file, as the file describes it."""

    source: Source
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    said: str = ""  # letters of the axes; s are colours at each pixel, ? and others than tczyx are unknown
    sure: bool = False  # the file states them; else they are how its library calls the axes of any picture
    spacing: Mapping[str, Spacing] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    where: str = ""


def rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chunks of pixels that lie in memory or uncompressed on disk: a row."""
    return (1,) * (len(shape) - 1) + shape[-1:]
