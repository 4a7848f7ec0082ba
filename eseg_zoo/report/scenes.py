"""What a report shows of the images: a few planes around labelled places, and where the model is least sure in them.

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
from scipy import ndimage

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
# Unsure places that are shown, the side of a crop around one, and over how many pixels the uncertainty is a mean.
DOUBTS, CROP, AROUND = 6, 96, 15
# Pixels that are constant over so many along y and x are padding: the model knows nothing there, and need not.
FLAT = 9


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
class Doubt:
    """A place where the model is unsure."""

    scene: Scene
    window: tuple[slice, slice]  # around it, in the scene
    centre: tuple[int, int]  # y and x in the plane
    uncertainty: float  # mean around the place
    likely: tuple[tuple[int, float], ...]  # the two most likely classes, by index, with their mean probabilities


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
) -> tuple[tuple[Scene, ...], tuple[Doubt, ...]]:
    """Return scenes of labelled planes, spread over the images, and the least sure places in them, first the worst.

    `truth` has dense labels for each image. Only slices that the training was given are looked at. Raises `InputError`
    where pixels or labels cannot be read.
    """
    planes = [plane for n, pair in enumerate(pairs) for plane in _labelled_planes(checkpoint, n, pair)]
    return _looked_at(checkpoint, pairs, _spread(planes), truth)


def look_at(checkpoint: Checkpoint, pair: Pair, number: int, *, truth: LabelImage) -> Scene:
    """Return the scene of one section of an image, whether it has labels or not, from its middle plane on."""
    section = sections_of(pair[0], checkpoint.dims)[number]
    depth = None if section.z is not None else section.space[0] // 2
    middle = np.array([[length // 2 for length in section.space[-2:]]])
    plane = _Plane(0, number, depth, middle, np.zeros(1, np.int64))
    scenes, _ = _looked_at(checkpoint, [pair], [plane], [truth])
    return scenes[0]


def _looked_at(
    checkpoint: Checkpoint, pairs: Sequence[Pair], planes: Sequence[_Plane], truth: Sequence[LabelImage] | None
) -> tuple[tuple[Scene, ...], tuple[Doubt, ...]]:
    predictor = Predictor(checkpoint)
    scenes, doubts = [], []
    for plane in planes:
        scene, probabilities = _predicted(predictor, pairs[plane.pair], plane, truth[plane.pair] if truth else None)
        scenes.append(scene)
        doubts += _doubts(scene, probabilities)
    worst = sorted(doubts, key=lambda doubt: -doubt.uncertainty)[:DOUBTS]
    return tuple(scenes), tuple(worst)


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


def _predicted(
    predictor: Predictor, pair: Pair, plane: _Plane, truth: LabelImage | None
) -> tuple[Scene, NDArray[np.float32]]:
    """Return what is shown of a plane, and its class probabilities (classes, y, x)."""
    image, labels = pair
    checkpoint = predictor.checkpoint
    section = sections_of(image, checkpoint.dims)[plane.number]
    window, inside = _window(plane, section, checkpoint.geometry.stride)
    probabilities = predict_section(predictor, section, window=window)[:, *inside]
    size = checkpoint.settings.get("voxel_size", {}).get("x") or image.voxel_size.get("x")
    scene = Scene(
        _tell_place(section, plane.depth), (window[-2].start, window[-1].start), size,
        section.read(window)[:, *inside], labels.read(plane.number, window)[*inside],
        probabilities.argmax(0).astype(np.int16), entropy(probabilities),
        truth.read(plane.number, window)[*inside] if truth else None,
    )  # fmt: skip
    return scene, probabilities


def _window(plane: _Plane, section: Section, stride: Sequence[int]) -> tuple[Window, tuple[Any, ...]]:
    """Return a window on the network's grid with as many classes and labels as possible, and the plane in it."""
    side = SIDE[len(stride)]
    tried = plane.places[np.linspace(0, len(plane.places) - 1, MIDDLES).round().astype(int)]

    def worth(middle: NDArray[np.int64]) -> tuple[int, int]:
        near = (np.abs(plane.places - middle) < side // 2).all(1)
        return len(np.unique(plane.classes[near])), int(near.sum())

    best = max(range(len(tried)), key=lambda number: worth(tried[number]))
    window = []
    for middle, length, step in zip(tried[best], section.space[-2:], stride[-2:], strict=True):
        start = min(max(int(middle) - side // 2, 0), max(length - side, 0)) // step * step
        window.append(slice(start, min(start + side, length)))
    if plane.depth is None:
        return tuple(window), (slice(None), slice(None))
    start = plane.depth // stride[0] * stride[0]
    slab = slice(start, min(start + stride[0], section.space[0]))
    return (slab, *window), (plane.depth - start, slice(None), slice(None))


def _tell_place(section: Section, depth: int | None) -> str:
    z = section.z if depth is None else depth
    parts = [Path(section.image.name).name]
    parts += [f"frame {section.t}"] if section.image.sizes["t"] > 1 else []
    parts += [f"slice {z}"] if section.image.sizes["z"] > 1 else []
    return ", ".join(parts)


def _doubts(scene: Scene, probabilities: NDArray[np.float32]) -> list[Doubt]:
    """Return the least sure places of a scene, none near another one."""
    mean = ndimage.uniform_filter(np.where(_flat(scene.image), 0, scene.uncertainty), AROUND)
    found: list[Doubt] = []
    while len(found) < DOUBTS and (worst := float(mean.max())) > 0:
        place = tuple(int(n) for n in np.unravel_index(mean.argmax(), mean.shape))
        window, around = (_box(place, side, mean.shape) for side in (CROP, AROUND))
        share = probabilities[:, *around].mean((1, 2))
        likely = tuple((int(n), float(share[n])) for n in np.argsort(-share)[:2])
        centre = place[0] + scene.origin[0], place[1] + scene.origin[1]
        found.append(Doubt(scene, window, centre, worst, likely))
        mean[_box(place, 2 * CROP, mean.shape)] = 0
    return found


def _flat(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which pixels (y, x) of an image (c, y, x) have the value of all around them."""
    pixels, size = image.astype(np.float32), (1, FLAT, FLAT)
    return np.asarray((ndimage.maximum_filter(pixels, size) == ndimage.minimum_filter(pixels, size)).all(0))


def _box(place: tuple[int, ...], side: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the square of this side around a place, moved into the shape; less where the shape is smaller."""
    starts = [min(max(n - side // 2, 0), max(length - side, 0)) for n, length in zip(place, shape, strict=True)]
    y, x = (slice(start, min(start + side, length)) for start, length in zip(starts, shape, strict=True))
    return y, x
