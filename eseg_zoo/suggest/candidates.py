"""Places in a part of an image that a person could label, and what the network takes each for.

A place is the centre of a small region, not a pixel: what is measured is the mean over the region, about as large as a
short stroke.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import crop_to, read_padded, require_probabilities
from eseg_zoo.metrics import entropy
from eseg_zoo.model.architecture import Geometry
from eseg_zoo.patches.sections import Section, Window

# Pixels from the middle of a region to its edge, along axes that the network halves; along coarse ones it is one pixel.
REACH = 5
# A part has at most so many candidates, in equal parts of each class.
MOST_CANDIDATES = 96


@dataclass(frozen=True)
class Candidates:
    """Places in a section, one row each."""

    places: NDArray[np.int64]  # (n, dims)
    probabilities: NDArray[np.float32]  # (n, classes), mean of the region
    uncertainty: NDArray[np.float32]  # (n,), mean of the region, 0 (sure) to 1
    features: NDArray[np.float32]  # (n, d)
    guesses: NDArray[np.int64]  # (n,), the class index that the map has there


@dataclass(frozen=True)
class View:
    """What the network sees in a window of a section that begins on its grid."""

    window: Window
    pixels: NDArray[np.float32]  # (c, *window with its margin)
    probabilities: NDArray[np.float32]  # (classes, *window)
    latents: NDArray[np.float32]  # (d, *cells of the finest level)


def look(predictor: Predictor, section: Section, window: Window) -> View:
    """Return what the network sees in a window."""
    padded = read_padded(section, window, predictor.checkpoint.geometry)
    probabilities, latents = predictor.probabilities_and_latents(padded)
    inside = crop_to(probabilities, window)
    require_probabilities(inside, padded, section, window)
    return View(window, padded, inside, latents)


def reach_of(geometry: Geometry, pixels: int = REACH) -> tuple[int, ...]:
    """Return `pixels` along the axes that the network halves, and 0 along those that it leaves, which are coarse."""
    return tuple(pixels if stride > 1 else 0 for stride in geometry.stride)


def find_candidates(
    view: View, section: Section, geometry: Geometry, taken: NDArray[np.integer], rng: np.random.Generator
) -> Candidates:
    """Return places of a view that could get a label, in no order that means anything.

    For each class they are random places among those whose region the network takes for it most; where there is none,
    the place that it takes for it most. Left out are places whose region reaches into padding or beyond the section, or
    has one of the labelled places `taken` (n, dims) in it.
    """
    size = [2 * n + 1 for n in reach_of(geometry)]
    likely = np.stack([ndimage.uniform_filter(one, size, mode="nearest") for one in view.probabilities])
    unsure = ndimage.uniform_filter(entropy(view.probabilities), size, mode="nearest")
    inside = _draw(likely, _is_free(view, section, geometry, taken), rng)
    where = tuple(inside.T)
    return Candidates(
        inside + [part.start for part in view.window],
        likely[(slice(None), *where)].T,
        np.clip(unsure[where], 0, 1),
        features_at(view, inside, geometry),
        view.probabilities.argmax(0)[where],
    )


def _draw(likely: NDArray[np.floating], free: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return free places (n, dims) of each class, given how likely (classes, *space) each is; no place comes twice."""
    places = np.argwhere(free)
    if not len(places):
        return places
    found = likely[:, free]
    best, each, rows = found.argmax(0), -(-MOST_CANDIDATES // len(likely)), []
    for index, one in enumerate(found):
        own = np.flatnonzero(best == index)
        rows.append(rng.choice(own, min(each, len(own)), replace=False) if len(own) else [one.argmax()])
    return np.asarray(places[np.unique(np.concatenate(rows))], np.int64)


def features_at(view: View, inside: NDArray[np.integer], geometry: Geometry) -> NDArray[np.float32]:
    """Return the mean latents (n, d) of the region around each place (n, dims), in pixels of the window."""
    stride, reach = geometry.stride_of(0), reach_of(geometry)
    found = np.empty((len(inside), len(view.latents)), np.float32)
    for row, place in enumerate(inside.tolist()):
        region = [
            slice(max(n - r, 0) // step, (n + r) // step + 1) for n, r, step in zip(place, reach, stride, strict=True)
        ]
        found[row] = view.latents[(slice(None), *region)].mean(tuple(range(1, view.latents.ndim)))
    return found


def _is_free(view: View, section: Section, geometry: Geometry, taken: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return where a region lies within the section, touches no padding, and holds no labelled place."""
    reach = reach_of(geometry)
    size = [2 * n + 1 for n in reach]
    blocked = np.zeros([part.stop - part.start for part in view.window], bool)
    inside = taken - [part.start for part in view.window]
    inside = inside[((inside >= 0) & (inside < blocked.shape)).all(1)]
    blocked[tuple(inside.T)] = True
    blocked |= _is_padding(view, geometry, size)
    blocked = ndimage.maximum_filter(blocked, size)
    for axis, (part, n, length) in enumerate(zip(view.window, reach, section.space, strict=True)):
        if length > 2 * n:  # in a section that is narrower than a region every place counts
            place = np.arange(part.start, part.stop)
            outside = (place < n) | (place >= length - n)
            blocked |= outside.reshape([-1 if one == axis else 1 for one in range(blocked.ndim)])
    return np.asarray(~blocked, bool)


def _is_padding(view: View, geometry: Geometry, size: Sequence[int]) -> NDArray[np.bool_]:
    """Return where the pixels all around are the same in each channel: what aligned stacks are padded with."""
    inner = (slice(None), *(slice(m, m + p.stop - p.start) for m, p in zip(geometry.margin, view.window, strict=True)))
    pixels, sizes = view.pixels[inner], [1, *size]
    varies = ndimage.maximum_filter(pixels, sizes) > ndimage.minimum_filter(pixels, sizes)
    return np.asarray(ndimage.maximum_filter(~varies.any(0), list(size)), bool)
