"""What a file of labels holds, whatever program saved it: named classes, and the pixels that were given to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelClass:
    """A class as a file of labels names it."""

    name: str
    value: int  # in the file's pixels or blocks, above 0
    colour: str | None = None  # `#rrggbb`; None where the file states none


@dataclass(frozen=True)
class Block:
    """Painted pixels in a box of the image."""

    origin: tuple[int, int, int, int]  # the first pixel's place in the image: t, z, y, x
    values: NDArray[np.uint16]  # values of classes (t, z, y, x), 0 where nothing was painted


@dataclass(frozen=True)
class Painted:
    """What a file of labels holds for one image. It is as large as what was painted, not as the image."""

    name: str  # what messages call the file
    classes: tuple[LabelClass, ...]
    blocks: tuple[Block, ...]  # a later one paints over those before it
    notes: tuple[str, ...] = field(default=())  # one line each on what is in the file and does not count


@dataclass(frozen=True)
class PaintOptions:
    """What is known of the image, and what a file of labels may leave open."""

    space: tuple[int, int, int, int]  # lengths of the image: t, z, y, x. What lies outside is not painted
    voxel_size: Mapping[str, float] = field(default_factory=dict)  # micrometres by axis, where known
    class_name: str | None = None  # for files that name no class; None: the file's stem
    width: float = 1.0  # pixels, of lines that state none
    unit: Literal["pixel", "micrometer"] | None = None  # of coordinates; None: what the file says
