"""The intensities of an image, by channel: all of its pixels, or a sample of windows where it is large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.patches.sections import Section, Window

# Values that are read of all images together, at most: they take a second or two.
MOST_VALUES = 1 << 24
# Of a larger image windows of this side (in y and x; one plane of a volume) are read, so many at least.
_SIDE, _LEAST = 512, 4
# How far one window is from the one before, as a share of the room: the powers of a root of x^3 = x + 1 spread points
# evenly over a plane, whatever their number (M. Roberts, "The unreasonable effectiveness of quasirandom sequences").
_SPREAD = 0.7548776662, 0.5698402910
_QUANTILES = 0.01, 0.5, 0.99


@dataclass(frozen=True)
class Intensity:
    """What the pixels of one channel hold, in the image's own numbers."""

    smallest: float
    low: float  # the first percentile
    median: float
    high: float  # the 99th percentile
    largest: float
    at_largest: float  # share of the pixels that have the largest value, 0..1

    @property
    def is_constant(self) -> bool:
        return self.smallest == self.largest


@dataclass(frozen=True)
class Intensities:
    """What the pixels of an image hold."""

    channels: tuple[Intensity, ...]
    sampled: bool  # of a large image not every pixel was read


def intensities_of(
    sections: Sequence[Section], *, most: int, contents: Mapping[int, Window] | None = None
) -> Intensities | None:
    """Return what the pixels of an image with these sections hold, from at most about so many values.

    `contents` are the windows of sections, by their place among them, that are no padding; by default all is looked at.
    Not finite pixels are left out. None where nothing is left.
    """
    windows = {number: section.whole for number, section in enumerate(sections)} if contents is None else contents
    windows = {number: window for number, window in windows.items() if all(part.start < part.stop for part in window)}
    channels = sections[0].image.sizes["c"]
    sampled = channels * sum(prod(part.stop - part.start for part in window) for window in windows.values()) > most
    places = _spread(windows, max(most // (channels * _SIDE**2), _LEAST)) if sampled else windows.items()
    read = [sections[number].read(window).reshape(channels, -1) for number, window in places]
    if not read:
        return None
    found = [_measure(values[np.isfinite(values)]) for values in np.concatenate(read, 1)]
    return None if None in found else Intensities(tuple(one for one in found if one), sampled)


def _spread(windows: Mapping[int, Window], count: int) -> Iterator[tuple[int, Window]]:
    """Yield windows of `_SIDE`, spread over the sections and within them, the same each time."""
    numbers = list(windows)
    for index in range(count):
        number = numbers[index * len(numbers) // count]
        *deep, y, x = windows[number]
        plane = [_part(side, (0.5 + index * step) % 1, _SIDE) for side, step in zip((y, x), _SPREAD, strict=True)]
        yield number, (*(_part(z, (index + 0.5) / count, 1) for z in deep), *plane)


def _part(whole: slice, share: float, side: int) -> slice:
    """Return a part of `side` pixels of an axis, at this share of the room that it has."""
    start = whole.start + int(max(whole.stop - whole.start - side, 0) * share)
    return slice(start, min(start + side, whole.stop))


def _measure(values: NDArray[np.generic]) -> Intensity | None:
    """Return what a channel holds; None where it has no value."""
    if not values.size:
        return None
    ranks = [int(share * (values.size - 1)) for share in _QUANTILES]
    if values.dtype in (np.uint8, np.uint16):  # counting is many times faster than sorting
        levels = np.searchsorted(np.cumsum(np.bincount(values)), ranks, side="right")
    else:
        levels = np.partition(values, ranks)[ranks]
    low, median, high = (float(level) for level in levels)
    largest = values.max()
    share = np.count_nonzero(values == largest) / values.size
    return Intensity(float(values.min()), low, median, high, float(largest), share)
