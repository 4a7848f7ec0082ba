"""Resolution levels of an image, and which of them to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, log
from typing import Any

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Spacing

NEAR = 1.5  # levels differ by a factor of 2 or more, so that at most one is this near to the pixels of training


@dataclass(frozen=True)
class Level:
    """One resolution of an image."""

    path: str  # of its array inside an OME-Zarr; its number in a TIFF
    shape: tuple[int, ...]
    axes: str = ""  # '' where nothing is stated
    spacing: Mapping[str, Spacing] = field(default_factory=dict)  # of the axes that state one

    def voxel_size(self) -> dict[str, float]:
        """Return micrometres per voxel for the spatial axes that state them; a size of 0 or less states none."""
        sizes = {axis: spacing.micrometres for axis, spacing in self.spacing.items() if axis in "zyx"}
        return {axis: size for axis, size in sizes.items() if size is not None and 0 < size < inf}


def choose_level(name: str, levels: Sequence[Level], wanted: Mapping[str, float] | None, given: int | None) -> int:
    """Return the number of the level to read: `given`, or the one whose pixels are nearest to `wanted` (micrometres).

    Where nothing is wanted (None) it is the finest. Raises `InputError` that lists the levels when `given` is not one
    of them, and when the pixel sizes do not tell.
    """
    listed = ", ".join(f"{number}: {_tell_size(level)}" for number, level in enumerate(levels))
    if given is not None:
        if not 0 <= given < len(levels):
            raise InputError(f"level is {given}; {name} has the levels {listed}")
        return given
    if len(levels) == 1 or wanted is None:
        return 0
    ask = f"{name} has the levels {listed}; choose one with --level"
    distances = [_distance(level.voxel_size(), wanted) for level in levels]
    known = [distance for distance in distances if distance is not None]
    if len(known) < len(levels):
        raise InputError(f"{ask}: the pixel sizes of the image or of the model's training are not known")
    if min(known) > log(NEAR):
        trained = " x ".join(f"{wanted[axis]:.4g}" for axis in "yx")
        raise InputError(f"{ask}: none is near the {trained} µm (y, x) that the model was trained with")
    return known.index(min(known))


def require_no_level(name: str, given: int | None) -> None:
    """Raise `InputError` where a level other than the only one, 0, is given."""
    if given:
        raise InputError(f"level is {given}; {name} has one resolution level, 0")


def _distance(found: Mapping[str, float], wanted: Mapping[str, Any]) -> float | None:
    """Return the larger of the logarithms of the size ratios along y and x; None where one is not known."""
    if not all(axis in sizes for axis in "yx" for sizes in (found, wanted)):
        return None
    return max(abs(log(found[axis] / wanted[axis])) for axis in "yx")


def _tell_size(level: Level) -> str:
    shape, sizes = " x ".join(map(str, level.shape)), level.voxel_size()
    pixels = " x ".join(f"{sizes[axis]:.4g}" for axis in "zyx" if axis in sizes)
    return f"{shape} pixels" + (f" of {pixels} µm" if pixels else "")
