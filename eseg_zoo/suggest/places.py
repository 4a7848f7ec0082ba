"""Where to label next in images: looked at in parts, ranked together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.images.slices import chosen_slices
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import passes_at_once
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.landmarks import places_known_again
from eseg_zoo.memory import telling_way_out
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import Section, sections_of
from eseg_zoo.suggest.candidates import Candidates, features_at, find_candidates, look, reach_of
from eseg_zoo.suggest.ranking import Pool, rank
from eseg_zoo.suggest.sampling import Part, sample_parts

# Strokes that difference is measured from, at most, spread over all that there are.
MOST_STROKES = 256
# Two suggestions of a slice are more than so many pixels apart, along axes that the network halves.
APART = 36


@dataclass(frozen=True)
class Place:
    """A place to label: the middle of a small region of an image."""

    image: Image = field(repr=False)
    number: int  # of the image among those that were given, from 0
    rank: int  # 1 is the best of all images
    t: int
    z: int
    y: int
    x: int
    uncertainty: float  # how unsure the network is of the region, 0 (sure) to 1
    difference: float  # from what is labelled or suggested before; two random places are about 1 apart
    looks_like: str  # the class that the map has there

    @property
    def position(self) -> tuple[int, ...]:
        """The pixel along the axes that the image has, in the order t, z, y, x."""
        return tuple(int(getattr(self, axis)) for axis in "tzyx" if axis in self.image.axes)

    def tell(self) -> str:
        """Return a line such as `raw.tif, z=3, y=120, x=88: looks like membrane`."""
        place = ", ".join(f"{axis}={getattr(self, axis)}" for axis in "tzyx" if axis in self.image.axes)
        return f"{Path(self.image.name).name}, {place}: looks like {self.looks_like}"


def suggest_places(
    predictor: Predictor,
    images: Sequence[Image],
    labels: Sequence[LabelImage] | None,
    *,
    count: int,
    slices: str | None = None,
    pixels: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Place]:
    """Return up to `count` places where a label teaches most, the best first; the same ones for the same seed.

    Places are those that the map takes for the classes with the fewest strokes, in turn, unlike what is labelled and
    unlike each other, and spread over the slices (see `ranking`). Without labels what is labelled is told by the
    landmarks of the model. Of large images a sample is read, of `pixels` at most, by default `MOST_PIXELS`. `progress`
    hears of parts done and their number. Raises `InputError` where `slices` or labels do not fit, and where no place
    can be labelled.
    """
    if count < 1:
        raise InputError(f"count is {count}; it must be at least 1")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be at least 0")
    if not images:
        raise InputError("there is no image to choose places in; give one or more")
    source = _source(predictor, images, labels, slices)
    checkpoint = predictor.checkpoint
    parts = sample_parts(source.sections, checkpoint.architecture, pixels=pixels, seed=seed)
    known = [] if source.labelled else checkpoint.training.landmarks
    work: list[Callable[[], _Seen]] = [
        partial(_see_part, predictor, source, part, known, np.random.default_rng([seed, order]))
        for order, part in enumerate(parts)
    ]
    work += [partial(_see_stroke, predictor, source.sections[number], place) for number, *place in _strokes(source)]
    size = [one.stop - one.start for one in parts[0].window]
    at_once = passes_at_once(checkpoint.architecture, size, predictor.device)
    return _ranked(predictor, source, _done(work, at_once, progress), count)


def _done(work: Sequence[Callable[[], _Seen]], at_once: int, progress: Callable[[int, int], None]) -> list[_Seen]:
    """Return what each piece of work gives; what waits is dropped when `progress` raises."""
    threads, seen = torch.get_num_threads(), []
    try:
        with (
            telling_way_out("close other programs"),
            ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            try:
                for done, one in enumerate(pool.map(lambda task: task(), work), start=1):
                    seen.append(one)
                    progress(done, len(work))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        torch.set_num_threads(threads)
    return seen


@dataclass(frozen=True)
class _Source:
    """The sections to look at, those of all images in their order."""

    sections: list[Section]
    images: list[int]  # the number of the image that each is of
    labelled: dict[int, AnchorSet]  # by the number of the section; empty where no labels were given


@dataclass(frozen=True)
class _Seen:
    """What was found in one part, or at one stroke."""

    number: int = 0  # of the section
    candidates: Candidates | None = None
    labelled: NDArray[np.float32] | None = None  # (n, d), features of labelled places


def _source(
    predictor: Predictor, images: Sequence[Image], labels: Sequence[LabelImage] | None, slices: str | None
) -> _Source:
    source = _Source([], [], {})
    for number, image in enumerate(images):
        found = sections_of(image, predictor.checkpoint.dims)
        chosen = chosen_slices(slices, len(found), image.name, setting="slices")
        anchors = labels[number].anchors() if labels else []
        for index in chosen:
            if labels:
                source.labelled[len(source.sections)] = anchors[index]
            source.sections.append(found[index])
            source.images.append(number)
    return source


def _strokes(source: _Source) -> list[list[int]]:
    """Return the middle pixel, [section, *place], of strokes, spread over all that there are."""
    middles = []
    for number, anchors in source.labelled.items():
        order = np.argsort(anchors.strokes, kind="stable")
        for stroke in np.split(order, np.flatnonzero(np.diff(anchors.strokes[order])) + 1):
            if len(stroke):
                middles.append([number, *anchors.places[stroke[len(stroke) // 2]].tolist()[1:]])
    if len(middles) <= MOST_STROKES:
        return middles
    return [middles[index] for index in np.linspace(0, len(middles) - 1, MOST_STROKES).round().astype(int).tolist()]


def _strokes_by_class(checkpoint: Checkpoint, source: _Source) -> NDArray[np.int64]:
    """Return how many strokes (classes,) there are of each class, without labels those of the training."""
    if not source.labelled:
        record = checkpoint.training
        return np.array(
            [record.strokes.get(one, 0) + record.validation_strokes.get(one, 0) for one in checkpoint.class_names]
        )
    found = np.zeros(len(checkpoint.classes), np.int64)
    for anchors in source.labelled.values():
        _, first = np.unique(anchors.strokes, return_index=True)
        found += np.bincount(anchors.labels[first], minlength=len(found))
    return found


def _see_part(
    predictor: Predictor, source: _Source, part: Part, landmarks: Sequence[Sequence[int]], rng: np.random.Generator
) -> _Seen:
    """Return the candidates of a part, and what labelled places look like that the model knows again there."""
    checkpoint, section = predictor.checkpoint, source.sections[part.number]
    geometry = checkpoint.geometry
    view = look(predictor, section, part.window)
    known = places_known_again(landmarks, view.pixels, part.window, geometry.margin, classes=len(checkpoint.classes))
    taken = np.concatenate([known, source.labelled[part.number].places[:, 1:]]) if source.labelled else known
    inside = known - [one.start for one in part.window]
    found = find_candidates(view, section, geometry, taken, rng)
    return _Seen(part.number, found, features_at(view, inside, geometry))


def _see_stroke(predictor: Predictor, section: Section, place: Sequence[int]) -> _Seen:
    """Return what a labelled place looks like."""
    geometry = predictor.checkpoint.geometry
    window = []
    for n, reach, step, length in zip(place, reach_of(geometry), geometry.stride, section.space, strict=True):
        start = max(n - reach, 0) // step * step
        window.append(slice(start, min(n + reach + 1, length)))
    view = look(predictor, section, tuple(window))
    inside = np.array([[n - part.start for n, part in zip(place, window, strict=True)]])
    return _Seen(labelled=features_at(view, inside, geometry))


def _ranked(predictor: Predictor, source: _Source, seen: Sequence[_Seen], count: int) -> list[Place]:
    found = [one for one in seen if one.candidates is not None and len(one.candidates.places)]
    if not found:
        names = ", ".join(dict.fromkeys(section.image.name for section in source.sections))
        raise InputError(f"{names}: there is no place to suggest; every part is padding, labelled, or at the border")
    candidates = [one.candidates for one in found if one.candidates is not None]
    sections = np.concatenate(
        [np.full(len(one.places), seen.number) for one, seen in zip(candidates, found, strict=True)]
    )
    where = np.column_stack([sections, np.concatenate([one.places for one in candidates])])
    pool = Pool(
        probabilities=np.concatenate([one.probabilities for one in candidates]),
        uncertainty=np.concatenate([one.uncertainty for one in candidates]),
        features=np.concatenate([one.features for one in candidates]),
        labelled=np.concatenate([one.labelled for one in seen if one.labelled is not None]),
        slices=np.unique(where[:, :-2], axis=0, return_inverse=True)[1].reshape(-1),
        strokes=_strokes_by_class(predictor.checkpoint, source),
        places=where,
    )
    guesses = np.concatenate([one.guesses for one in candidates])
    geometry = predictor.checkpoint.geometry
    chosen = rank(pool, count, apart=np.array([1, *(n + 1 for n in reach_of(geometry, APART))]))
    made = []
    for order, one in enumerate(chosen, start=1):
        number, *z, y, x = where[one.row].tolist()
        section = source.sections[number]
        unsure, name = float(pool.uncertainty[one.row]), predictor.checkpoint.class_names[guesses[one.row]]
        plane = z[0] if z else section.z or 0
        made.append(
            Place(section.image, source.images[number], order, section.t, plane, y, x, unsure, one.difference, name)
        )
    return made
