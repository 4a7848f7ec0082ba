"""What of images and labels will hurt a training that they do not prevent: each one line that says what to do.

A good data set has none: every threshold is far from what careful labelling and one microscope give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Protocol

import numpy as np

from eseg_zoo.config import Run
from eseg_zoo.images.image import Image, tell
from eseg_zoo.model.architecture import Geometry
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.intensity import MOST_VALUES, Intensities, Intensity, intensities_of
from eseg_zoo.patches.sections import Section, Window
from eseg_zoo.training.label_summary import LabelSummary, Slices, summary_of
from eseg_zoo.training.split import FEWEST_STROKES

# Labels on one slice are told where there are so many: what differs from slice to slice was never seen.
MANY_SLICES = 4
# Labels are crowded where so many of the strokes lie in this share of the plane of an image (a quarter of each side)
# and there are enough of them to tell; smaller images than so many patches a side have no far corners.
CROWDED, CORNER, ENOUGH_STROKES, PATCHES = 0.9, 1 / 16, 10, 4
# A channel is cut off where so many of its pixels have the largest value: a bright structure is no longer told from
# another. A camera that is set well has a thousandth there at most.
CUT_OFF = 0.05
# Images are unlike where their medians differ by more than the range (first to 99th percentile) of either, or the
# ranges by more than this factor: all are normalised together, and augmentation covers a third of a deviation.
UNLIKE_RANGES = 4.0


class Labelled(Protocol):
    """Images and labels of a training, opened and split."""

    @property
    def images(self) -> tuple[Image, ...]: ...
    @property
    def sections(self) -> list[Section]: ...
    @property
    def training(self) -> AnchorSet: ...
    @property
    def validation(self) -> AnchorSet: ...
    @property
    def channel_names(self) -> tuple[str, ...]: ...
    @property
    def voxel_size(self) -> dict[str, float]: ...


def cautions(run: Run, data: Labelled, geometry: Geometry, intensities: Sequence[Intensities | None]) -> list[str]:
    """Return what will hurt, one line each; `intensities` are those of each image."""
    summary = summary_of(data.sections, data.training, data.validation, list(run.classes.values()))
    found = [*_of_strokes(summary), *_of_slices(summary, data), *_of_places(data, geometry)]
    found += [line for image in data.images for line in _of_size(image, geometry)]
    for image, known in zip(data.images, intensities, strict=True):
        found += _of_channels(image, known, data.channel_names)
    return found + _of_unlike_images(data, intensities)


def intensities_of_images(data: Labelled, contents: Sequence[Window] | None = None) -> list[Intensities | None]:
    """Return what the pixels of each image hold; `contents` are the windows of all sections that are no padding."""
    found, first = [], 0
    for image in data.images:
        own = [section for section in data.sections if section.image is image]
        inside = None if contents is None else dict(enumerate(contents[first : first + len(own)]))
        found.append(intensities_of(own, most=MOST_VALUES // len(data.images), contents=inside))
        first += len(own)
    return found


def _of_strokes(summary: LabelSummary) -> Iterator[str]:
    few = {name: count for name, count in summary.strokes.items() if count < FEWEST_STROKES}
    if few:
        counts = ", ".join(f"{name} in {tell(count, 'place')}" for name, count in few.items())
        yield (
            f"Few places are labelled: {counts}. With fewer than {FEWEST_STROKES} a class is learnt from too little, "
            "and none is held out to judge it by; label more places, short strokes far from each other"
        )


def _of_slices(summary: LabelSummary, data: Labelled) -> Iterator[str]:
    if len(summary.labelled_slices) == 1 and summary.all_slices >= MANY_SLICES:
        image, number = summary.labelled_slices[0]
        yield (
            f"All labels are on one slice of {summary.all_slices} ({data.images[image].name}, slice {number}, counted "
            "from 0): what looks otherwise on the others is never learnt; label a few places on others too"
        )
    labelled = sorted({image for image, _ in summary.labelled_slices})
    if len(labelled) == 1 < len(data.images):
        yield (
            f"Only {data.images[labelled[0]].name} of {len(data.images)} images has labels: label a few places in the "
            "others too, or leave them out"
        )


def _of_places(data: Labelled, geometry: Geometry) -> Iterator[str]:
    """Yield a line for each image most of whose strokes are in one corner of its plane."""
    slices = Slices(data.sections)
    images, centres = [], []
    for anchors in (data.training, data.validation):
        _, first = np.unique(anchors.strokes, return_index=True)  # one pixel stands for a stroke
        images.append(slices.of(anchors.select(first))[:, 0])
        centres.append(anchors.places[first, -2:])
    image_of, all_centres = np.concatenate(images), np.concatenate(centres)
    for number, image in enumerate(data.images):
        found, plane = all_centres[image_of == number], (image.sizes["y"], image.sizes["x"])
        patch = [s + 2 * m for s, m in zip(geometry.stride, geometry.margin, strict=True)][-2:]
        if len(found) < ENOUGH_STROKES or any(n < PATCHES * p for n, p in zip(plane, patch, strict=True)):
            continue
        outer = (1 - CROWDED) / 2
        low, high = np.quantile(found, [outer, 1 - outer], axis=0).astype(int).tolist()
        sides = [b - a + 1 for a, b in zip(low, high, strict=True)]
        if prod(sides) < CORNER * prod(plane):
            yield (
                f"{image.name}: {CROWDED:.0%} of the labelled places lie within {sides[0]} x {sides[1]} of its "
                f"{plane[0]} x {plane[1]} pixels, around y={sum(y for y, _ in (low, high)) // 2}, "
                f"x={sum(x for _, x in (low, high)) // 2}; label some far from there too"
            )


def _of_size(image: Image, geometry: Geometry) -> Iterator[str]:
    patch = dict(zip("zyx"[-len(geometry.axes) :], geometry.axes, strict=True))
    small = {axis: image.sizes[axis] for axis, along in patch.items() if image.sizes[axis] < along.margin}
    if small:
        sizes = ", ".join(f"{axis}={n}" for axis, n in small.items())
        sides = " x ".join(str(along.stride + 2 * along.margin) for along in patch.values())
        yield (
            f"{image.name} is small ({sizes}) beside the patches of {sides} pixels that the network sees: most of them "
            "is its mirror image; larger images teach more"
        )


def _of_channels(image: Image, known: Intensities | None, names: Sequence[str]) -> Iterator[str]:
    if known is None:
        yield f"{image.name} is constant as far as it was looked at: nothing is learnt from it"
        return
    for name, channel in zip(names, known.channels, strict=True):
        where = image.name if len(names) == 1 else f"{image.name}, channel {name},"
        far = " as far as it was looked at" if known.sampled else ""
        if channel.is_constant:
            yield f"{where} is constant ({channel.smallest:g}){far}: nothing is learnt from it there"
        elif channel.at_largest > CUT_OFF:
            yield (
                f"{where} has the largest value {channel.largest:g} at {channel.at_largest:.0%} of its pixels{far}: it "
                "is cut off, and nothing is told apart there; use the original intensities, or record it darker"
            )


def _of_unlike_images(data: Labelled, intensities: Sequence[Intensities | None]) -> list[str]:
    """Return a line for each channel in which an image is unlike the others."""
    found = []
    for number, name in enumerate(data.channel_names):
        known = {
            image.name: one.channels[number]
            for image, one in zip(data.images, intensities, strict=True)
            if one and not one.channels[number].is_constant
        }
        if pair := _most_unlike(known):
            first, second = (f"{path} {_told(known[path])}" for path in pair)
            channel = f" in channel {name}" if len(data.channel_names) > 1 else ""
            found.append(
                f"The images differ in brightness or contrast{channel}: {first}, {second} (1st percentile, median, "
                "99th). All are normalised together; bring them to one range first, or train a model for each kind"
            )
    return found


def _most_unlike(known: Mapping[str, Intensity]) -> tuple[str, str] | None:
    """Return the darkest and the brightest, or the flattest and the richest image, if they are too unlike."""
    if len(known) < 2:
        return None
    by_median = sorted(known, key=lambda path: known[path].median)
    darkest, brightest = by_median[0], by_median[-1]
    apart = known[brightest].median - known[darkest].median
    if apart > max(_range(known[darkest]), _range(known[brightest])):
        return darkest, brightest
    by_range = sorted(known, key=lambda path: _range(known[path]))
    flattest, richest = by_range[0], by_range[-1]
    if _range(known[richest]) > UNLIKE_RANGES * _range(known[flattest]):
        return flattest, richest
    return None


def _range(one: Intensity) -> float:
    return one.high - one.low


def _told(one: Intensity) -> str:
    return f"{one.low:g}, {one.median:g}, {one.high:g}"
