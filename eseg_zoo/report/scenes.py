"""What a report shows of the images: a few planes around labelled places, and what is around a place.

Images of any size cost the same: so many windows of so many pixels are read and predicted, whatever is around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.composite import composite
from eseg_zoo.images.image import Image
from eseg_zoo.images.slices import chosen_slices
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import predict_section
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.metrics import entropy
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import Section, Window, sections_of

Pair = tuple[Image, LabelImage]

# Planes that are shown, and the largest side of what is shown of one. In a volume it is smaller, as a plane takes all
# those around it that the network sees.
SCENES = 3
SIDE = {2: 1024, 3: 256}
# Labelled places of a plane that are tried as the middle of what is shown.
MIDDLES = 64


@dataclass(frozen=True)
class Scene:
    """A part of one plane; class indices are -1 where there is none."""

    place: str  # such as `raw.tif, slice 3`
    origin: tuple[int, int]  # its first pixel in the plane, y and x
    pixel: float | None  # micrometres along x, where known
    image: NDArray[np.generic]  # (c, y, x)
    labels: NDArray[np.int16]  # (y, x), what a person painted
    classes: NDArray[np.int16]  # (y, x), the map
    uncertainty: NDArray[np.float32]  # (y, x), 0 (sure) to 1
    truth: NDArray[np.int16] | None = None  # (y, x)

    @cached_property
    def picture(self) -> NDArray[np.uint8]:
        """The image as colours (y, x, 3)."""
        return np.rint(255 * composite(self.image)).astype(np.uint8)


@dataclass(frozen=True)
class _Plane:
    """A plane with labels, or one that is asked for."""

    pair: int
    number: int  # of its section in the image
    depth: int | None  # of the plane in a volume
    places: NDArray[np.int64]  # (n, 2), of its labels
    classes: NDArray[np.int64]  # (n,)

    @property
    def variety(self) -> int:
        """How many classes are labelled in it."""
        return len(np.unique(self.classes))


def look(
    checkpoint: Checkpoint, pairs: Sequence[Pair], *, truth: Sequence[LabelImage] | None = None
) -> tuple[Scene, ...]:
    """Return scenes of labelled planes, spread over the images.

    `truth` has dense labels for each image. Only slices that the training was given are looked at. Raises `InputError`
    where pixels or labels cannot be read.
    """
    planes = [plane for n, pair in enumerate(pairs) for plane in _labelled_planes(checkpoint, n, pair)]
    predictor = Predictor(checkpoint)
    return tuple(
        _looked_at(predictor, pairs[plane.pair], plane, truth[plane.pair] if truth else None)
        for plane in _spread(planes)
    )


def look_at(checkpoint: Checkpoint, pair: Pair, number: int, *, truth: LabelImage) -> Scene:
    """Return the scene of one section of an image, whether it has labels or not, from its middle plane on."""
    section = sections_of(pair[0], checkpoint.dims)[number]
    depth = None if section.z is not None else section.space[0] // 2
    middle = section.space[-2] // 2, section.space[-1] // 2
    window = _window(middle, depth, section, checkpoint.geometry.stride, SIDE[checkpoint.dims])
    return _scene(Predictor(checkpoint), pair, number, depth, window, truth)


def look_around(predictor: Predictor, pair: Pair, number: int, place: Sequence[int], *, side: int) -> Scene:
    """Return the scene of the pixels around a place (dims,) in one section of an image, `side` of them along y and x.

    It is moved into the section where it would reach beyond, and smaller where that is.
    """
    checkpoint = predictor.checkpoint
    section = sections_of(pair[0], checkpoint.dims)[number]
    *before, y, x = place
    depth = before[0] if before else None
    return _scene(predictor, pair, number, depth, _window((y, x), depth, section, checkpoint.geometry.stride, side))


def _labelled_planes(checkpoint: Checkpoint, number: int, pair: Pair) -> Iterator[_Plane]:
    """Yield the planes of an image that have labels, among those that the training was given."""
    image, labels = pair
    given = _given_sections(checkpoint.settings.get("slices", {}), len(labels.sections), image.name)
    for section, anchors in enumerate(labels.anchors()):
        if section in given and len(anchors):
            yield from _planes_of(number, section, anchors, checkpoint.dims)


def _planes_of(pair: int, number: int, anchors: AnchorSet, dims: int) -> Iterator[_Plane]:
    if dims == 2:
        yield _Plane(pair, number, None, anchors.places[:, 1:], anchors.labels)
        return
    for depth in np.unique(anchors.places[:, 1]).tolist():
        inside = anchors.places[:, 1] == depth
        yield _Plane(pair, number, depth, anchors.places[inside][:, 2:], anchors.labels[inside])


def _given_sections(slices: Mapping[str, Any], count: int, name: str) -> set[int]:
    """Return the sections of an image whose labels the training was given."""
    training = set(chosen_slices(slices.get("training"), count, name, setting="slices.training"))
    if slices.get("validation"):
        training |= set(chosen_slices(slices["validation"], count, name, setting="slices.validation"))
    return training


def _spread(planes: Sequence[_Plane]) -> list[_Plane]:
    """Return `SCENES` of the planes: those with the most classes, and of equal ones from the first to the last."""
    ranked = sorted(planes, key=lambda plane: -plane.variety)
    most = [plane for plane in ranked if plane.variety == ranked[0].variety]
    if len(most) < SCENES:
        return ranked[:SCENES]
    return [most[n] for n in np.linspace(0, len(most) - 1, SCENES).round().astype(int)]


def _looked_at(predictor: Predictor, pair: Pair, plane: _Plane, truth: LabelImage | None) -> Scene:
    """Return what is shown of a labelled plane: where it has as many classes and labels as possible."""
    checkpoint = predictor.checkpoint
    side, section = SIDE[checkpoint.dims], sections_of(pair[0], checkpoint.dims)[plane.number]
    window = _window(_middle(plane, side), plane.depth, section, checkpoint.geometry.stride, side)
    return _scene(predictor, pair, plane.number, plane.depth, window, truth)


def _scene(
    predictor: Predictor, pair: Pair, number: int, depth: int | None, window: Window, truth: LabelImage | None = None
) -> Scene:
    """Return a window of a section, of a volume the plane of this depth in it."""
    image, labels = pair
    checkpoint = predictor.checkpoint
    section = sections_of(image, checkpoint.dims)[number]
    inside: tuple[Any, ...] = (slice(None), slice(None))
    if depth is not None:
        inside = (depth - window[0].start, *inside)
    probabilities = predict_section(predictor, section, window=window)[:, *inside]
    size = checkpoint.settings.get("voxel_size", {}).get("x") or image.voxel_size.get("x")
    return Scene(
        _tell_place(section, depth), (window[-2].start, window[-1].start), size,
        section.read(window)[:, *inside], labels.read(number, window)[*inside],
        probabilities.argmax(0).astype(np.int16), entropy(probabilities),
        truth.read(number, window)[*inside] if truth else None,
    )  # fmt: skip


def _middle(plane: _Plane, side: int) -> tuple[int, int]:
    """Return the labelled place that has as many classes and labels as possible within so many pixels."""
    tried = plane.places[np.linspace(0, len(plane.places) - 1, MIDDLES).round().astype(int)]

    def worth(middle: NDArray[np.int64]) -> tuple[int, int]:
        near = (np.abs(plane.places - middle) < side // 2).all(1)
        return len(np.unique(plane.classes[near])), int(near.sum())

    y, x = tried[max(range(len(tried)), key=lambda number: worth(tried[number]))].tolist()
    return y, x


def _window(middle: tuple[int, int], depth: int | None, section: Section, stride: Sequence[int], side: int) -> Window:
    """Return the square window around a place, on the network's grid; of a volume with the planes of one step."""
    window = []
    for place, length, step in zip(middle, section.space[-2:], stride[-2:], strict=True):
        last = -(-max(length - side, 0) // step)  # from here on the window reaches the end
        start = min(max(place - side // 2, 0) // step, last) * step
        window.append(slice(start, min(start + side, length)))
    if depth is None:
        return tuple(window)
    start = depth // stride[0] * stride[0]
    return (slice(start, min(start + stride[0], section.space[0])), *window)


def _tell_place(section: Section, depth: int | None) -> str:
    z = section.z if depth is None else depth
    parts = [Path(section.image.name).name]
    parts += [f"frame {section.t}"] if section.image.sizes["t"] > 1 else []
    parts += [f"slice {z}"] if section.image.sizes["z"] > 1 else []
    return ", ".join(parts)
