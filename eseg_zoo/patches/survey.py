"""One pass over the training images: are all pixels numbers, what is padding, mean and standard deviation of the rest.

Aligned stacks and stitched tiles are padded by one value. Such borders and slices are no tissue: they stay out of the
statistics, and training draws no unlabelled patch there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.blocks import require_finite
from eseg_zoo.patches.sections import Section, Window, read_together

# Pixels that are measured at once: as many as stay in a core's cache in double precision.
_AT_ONCE = 1 << 16
# The standard deviation of a normal distribution, in units of its median absolute deviation.
_NORMAL = 1.4826


@dataclass(frozen=True)
class Statistics:
    """Per channel, in raw intensities: float64 arrays (channels,)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, mean and summed squared deviation of each channel; add two to merge them."""

    count: float
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: NDArray[np.generic]) -> Moments:
        """Measure pixels (c, ...), in double precision."""
        flat = pixels.reshape(len(pixels), -1)
        return reduce(add, (cls._at_once(flat[:, i : i + _AT_ONCE]) for i in range(0, flat.shape[1], _AT_ONCE)))

    @classmethod
    def _at_once(cls, pixels: NDArray[np.generic]) -> Moments:
        values = pixels.astype(np.float64)
        mean = values.mean(1)
        values -= mean[:, None]
        return cls(values.shape[1], mean, np.einsum("cn,cn->c", values, values))

    @property
    def variance(self) -> NDArray[np.float64]:
        return self.deviation / self.count

    def __add__(self, other: Moments) -> Moments:
        """Merge two sets of pixels. Source: T. Chan, G. Golub, R. LeVeque, The American Statistician 37 (1983)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        deviation = self.deviation + other.deviation + np.square(apart) * (self.count * other.count / count)
        return Moments(count, mean, deviation)


@dataclass(frozen=True)
class Differences:
    """How much the measured sections differ from each other in a channel, the one in which they differ most."""

    contrast: float = 0.0  # of their standard deviations, relative to the median one
    brightness: float = 0.0  # of their means, in standard deviations of all pixels

    @classmethod
    def of(cls, sections: Sequence[Moments], together: Moments) -> Differences:
        """Return the typical differences: scaled median absolute deviations, so that a few odd sections do not count.

        A normal distribution would have them as its standard deviation.
        """
        stds = np.sqrt(np.stack([one.variance for one in sections]))
        means = np.stack([one.mean for one in sections])
        typical = np.median(stds, 0)
        contrast = _spread(stds)[typical > 0] / typical[typical > 0]
        brightness = _spread(means) / np.sqrt(together.variance)
        return cls(float(contrast.max(initial=0)), float(brightness.max()))


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scaled median absolute deviation of each column."""
    return np.asarray(_NORMAL * np.median(np.abs(values - np.median(values, 0)), 0))


@dataclass(frozen=True)
class Survey:
    """What is known of sections that were read once."""

    contents: tuple[tuple[slice, ...], ...]  # of each section, the window within its constant borders
    sections: tuple[Moments, ...]  # of the pixels of each content that was measured
    moments: Moments  # of the pixels of all contents together

    def statistics(self, channels: Sequence[str]) -> Statistics:
        """Return mean and standard deviation of each of the channels, whose names these are.

        Raises `InputError` for a constant channel, which nothing can be learnt from.
        """
        mean, variance = self.moments.mean, self.moments.variance
        for number in np.flatnonzero(
            variance <= 1e-20 * np.square(mean)
        ).tolist():  # what rounding leaves of a constant
            several = len(channels) > 1
            place = f"channel {number + 1} of {len(channels)} ({channels[number]})" if several else "every pixel"
            raise InputError(f"{place} of the images is constant ({mean[number]:g}): there is nothing to learn")
        return Statistics(mean, np.sqrt(variance))

    @property
    def differences(self) -> Differences:
        """How much the measured sections differ; call `statistics` first, which refuses constant channels."""
        return Differences.of(self.sections, self.moments)


def survey(
    sections: Sequence[Section],
    *,
    measured: Sequence[int],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Survey:
    """Return what one look at all pixels of these sections tells; the moments are those of the `measured` ones.

    Only parts that a constant border cuts are read twice. `progress` hears how many sections are done, and of how many.
    Raises `InputError` for NaN or infinite pixels, and where every pixel of the measured sections is padding.
    """
    looks, done = [_Look(section) for section in sections], 0
    found: list[tuple[int, Window, Moments]] = []
    chosen = set(measured)
    for number, window, pixels in read_together(sections):
        section = sections[number]
        require_finite(pixels, section.image.name, section.region(window))
        looks[number].see(window, pixels)
        if number in chosen:
            found.append((number, window, Moments.of(pixels)))
        if all(part.stop == length for part, length in zip(window, section.space, strict=True)):
            done += 1
            progress(done, len(sections))
    contents = tuple(look.content for look in looks)
    parts = _within(sections, contents, found, chosen)
    if not parts:
        section = sections[measured[0]]
        value = section.read(tuple(slice(0, 1) for _ in section.space)).flat[0]
        raise InputError(f"every pixel of the images is constant ({value:g}): there is nothing to learn")
    by_section: dict[int, Moments] = {}
    for number, moments in parts:
        by_section[number] = by_section[number] + moments if number in by_section else moments
    return Survey(contents, tuple(by_section.values()), reduce(add, (moments for _, moments in parts)))


def _within(
    sections: Sequence[Section],
    contents: Sequence[Window],
    found: Sequence[tuple[int, Window, Moments]],
    chosen: Container[int],
) -> list[tuple[int, Moments]]:
    """Return the moments of what lies within the contents of the chosen sections, in parts, with their sections.

    `found` are those of whole parts of them.
    """

    def inside(number: int, window: Window) -> Window:
        return tuple(map(_overlap, window, contents[number]))

    def is_cut(number: int, window: Window) -> bool:
        within = inside(number, window)
        return number in chosen and within != window and all(part.start < part.stop for part in within)

    parts = [(number, moments) for number, window, moments in found if inside(number, window) == window]
    for number, window, pixels in read_together(sections, is_cut):
        overlap = zip(inside(number, window), window, strict=True)
        within = tuple(slice(part.start - of.start, part.stop - of.start) for part, of in overlap)
        parts.append((number, Moments.of(pixels[(slice(None), *within)])))
    return parts


class _Look:
    """Where a section differs from the padding that it may have.

    Padding is one value, and reaches over two corners at least.
    """

    def __init__(self, section: Section):
        self.values = _shared_corners(section)
        self.differs = [[np.zeros(length, bool) for length in section.space] for _ in self.values]
        self.whole = section.whole

    def see(self, window: Window, pixels: NDArray[np.generic]) -> None:
        """Look at the pixels (c, *window) of a window."""
        for value, seen in zip(self.values, self.differs, strict=True):
            other = (pixels != value.reshape(-1, *(1 for _ in window))).any(0)
            for axis, part in enumerate(window):
                seen[axis][part] |= other.any(tuple(a for a in range(other.ndim) if a != axis))

    @property
    def content(self) -> Window:
        """The window within the constant borders; an empty one where all of the section is constant."""
        window = self.whole
        for seen in self.differs:
            window = tuple(_overlap(part, _extent(along)) for part, along in zip(window, seen, strict=True))
        return window


def _shared_corners(section: Section) -> list[NDArray[np.generic]]:
    """Return the values (c,) that two corners of a section have at least."""
    ends = [sorted({0, length - 1}) for length in section.space]
    corners = [section.read([slice(i, i + 1) for i in place]).reshape(-1) for place in product(*ends)]
    if len(corners) == 1:
        return corners
    unlike = np.unique(np.stack(corners), axis=0, return_counts=True)
    return [value for value, count in zip(*unlike, strict=True) if count > 1]


def _extent(seen: NDArray[np.bool_]) -> slice:
    """Return from the first to the last True; an empty slice where there is none."""
    found = np.flatnonzero(seen)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _overlap(one: slice, other: slice) -> slice:
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    return slice(start, max(start, stop))
