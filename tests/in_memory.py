"""Sections and sources of patches made of arrays, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.images.opening import open_image
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.sections import Section
from eseg_zoo.patches.source import PatchSource
from eseg_zoo.patches.survey import Statistics


def section_of(array: NDArray[Any], *, name: str = "the array") -> Section:
    """A slice of an array (c, y, x), or a volume of (c, z, y, x)."""
    axes = {3: "cyx", 4: "czyx"}[array.ndim]
    return Section(open_image(array, axes=axes, name=name), 0, 0 if array.ndim == 3 else None)


def cut(geometry: PatchGeometry, array: NDArray[Any], anchor: Sequence[int], phase: Sequence[int]) -> NDArray[Any]:
    """The patch (c, *size) around a pixel of an array (c, *space)."""
    return section_of(array).read(geometry.window(anchor, phase))


def source_of_arrays(
    arrays: Sequence[NDArray[Any]], geometry: PatchGeometry, statistics: Statistics | None = None
) -> PatchSource:
    """A source of patches of arrays (c, *space), nothing of them padding; by default they are normalised already."""
    channels = len(arrays[0])
    sections = [section_of(array) for array in arrays]
    plain = Statistics(np.zeros(channels), np.ones(channels))
    return PatchSource(geometry, sections, [section.whole for section in sections], statistics or plain)
