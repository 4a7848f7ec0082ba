"""What files of labels paint, as arrays and sets that tests compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.labels.painted import Painted, PaintOptions
from eseg_zoo.labels.rasterise import Spans


def mask_of(spans: Spans, plane: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of spans in a plane."""
    mask = np.zeros(plane, bool)
    for row, first, end in spans:
        assert 0 <= first < end
        mask[row, first:end] = True
    return mask


def values_of(painted: Painted, space: tuple[int, int, int, int]) -> NDArray[np.uint16]:
    """The values of a whole image (t, z, y, x)."""
    values = np.zeros(space, np.uint16)
    for block in painted.blocks:
        where = tuple(slice(a, a + n) for a, n in zip(block.origin, block.values.shape, strict=True))
        part = values[where]
        assert part.shape == block.values.shape  # nothing outside
        part[block.values > 0] = block.values[block.values > 0]
    return values


def pixels_of(painted: Painted, space: tuple[int, int, int, int]) -> dict[str, set[tuple[int, ...]]]:
    """The pixels (t, z, y, x) of each class by its name."""
    values = values_of(painted, space)
    assert set(np.unique(values).tolist()) <= {0, *(one.value for one in painted.classes)}
    return {one.name: set(map(tuple, np.argwhere(values == one.value).tolist())) for one in painted.classes}


def drawn(text: str) -> NDArray[np.bool_]:
    """A mask of rows of `.` and `#`."""
    return np.array([[letter == "#" for letter in row] for row in text.split()])


def options(*space: int, **more: Any) -> PaintOptions:
    """Options for an image of t, z, y, x, of which the first may be left out."""
    return PaintOptions((*(1,) * (4 - len(space)), *space), **more)  # type: ignore[arg-type]


def written(path: Path, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
