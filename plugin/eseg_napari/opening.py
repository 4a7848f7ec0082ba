"""What `eseg-napari` and the button Open take: an image, a run.yaml, a project's folder, an ilastik project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eseg_napari.classes import PaintClass, of_mapping
from eseg_napari.project import MODEL, RUN, Project, is_ours
from eseg_napari.strokes import Strokes
from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image

if TYPE_CHECKING:
    from eseg_zoo import Model
    from eseg_zoo.labels.label_image import LabelImage

# Settings of a run that the window knows otherwise.
_KNOWN = {
    "images",
    "labels",
    "axes",
    "channels",
    "voxel_size",
    "classes",
    "colours",
    "out",
    "unlabelled",
    "missing_chunks",
}


@dataclass(frozen=True)
class Opened:
    """What was found: an image, and what was done with it before."""

    image: Image
    axes: str  # of its strokes: the image's without c
    source: str  # where it was opened from
    classes: tuple[PaintClass, ...] = ()
    strokes: Strokes | None = None
    model: Model | None = None
    dims: int = 2
    settings: dict[str, Any] = field(default_factory=dict)
    project: Project | None = None  # to go on in, held against other windows; None for a new one
    notes: tuple[str, ...] = ()  # what of it is not taken


def open_path(path: Path, *, axes: str | None = None) -> Opened:
    """Return what a path holds; raises `EsegError`, in one line, for what cannot be read."""
    from eseg_zoo.labels import ilastik
    from eseg_zoo.paths import described

    if path.is_dir() and (path / RUN).is_file():
        path = path / RUN
    if path.suffix.lower() in {".yaml", ".yml"}:
        return _open_run(path)
    if path.is_file() and ilastik.knows(path):
        return _open_ilastik(path)
    if path.is_file() and (kind := described(path)) == "a model":
        raise InputError(f"{path} is {kind}; open its project, or an image")
    return _opened(_image(path, axes))


def strokes_of(labels: LabelImage, axes: str, classes: Sequence[PaintClass]) -> Strokes:
    """Return labels as strokes with these axes; the values are those of `classes`, in the order of the labels' own."""
    sizes = labels.image.sizes
    strokes = Strokes(tuple(sizes[axis] for axis in axes))
    values = np.array([one.value for one in classes], np.uint8)
    for layer in labels.layers:
        for points in layer.points():
            places = [points.places[:, "tzyx".index(axis)] for axis in axes]
            strokes[tuple(places)] = values[points.indices]
    return strokes


def read_labels(
    path: Path, image: Image, axes: str, names: Sequence[str] = ()
) -> tuple[tuple[PaintClass, ...], Strokes]:
    """Return classes and strokes of a label file of any kind for an image that is open.

    `names` are those of the values 1, 2 ..., for files that name no classes.

    Raises `InputError` for a file that cannot be read, or does not fit.
    """
    from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels

    reading = LabelReading(classes=dict(enumerate(names, start=1)), unlabelled=0, dims=2)
    labels = open_labels([image], given_labels(path, 1), reading)[0]
    classes = _classes(labels)
    return classes, strokes_of(labels, axes, classes)


def _image(path: Path | str, axes: str | None, *, usual_axes: str | None = None) -> Image:
    from eseg_zoo import open_image

    return open_image(path, axes=axes, usual_axes=usual_axes)


def _opened(image: Image, **more: Any) -> Opened:
    return Opened(image, image.axes.replace("c", ""), more.pop("source", image.name), **more)


def _open_run(path: Path) -> Opened:
    """Return the first image of a run; that of a project of ours is held before it is read."""
    if not is_ours(path):
        return _read_run(path, None)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        opened = _read_run(path, None)
        return replace(opened, notes=(*opened.notes, f"{path.parent} cannot be written to: it goes on in a new folder"))
    project = Project(path.parent)
    project.hold()
    try:
        return _read_run(path, project)
    except BaseException:
        project.leave()
        raise


def _read_run(path: Path, project: Project | None) -> Opened:
    from eseg_zoo import Model
    from eseg_zoo.config import load_run
    from eseg_zoo.training.data import open_pairs

    run = load_run(path)
    pairs = open_pairs(run.model_copy(update={"images": run.images[:1], "labels": run.labels[:1]}))
    image, labels = pairs[0].image, pairs[0].labels
    axes = image.axes.replace("c", "")
    classes = _classes(labels, run.colours)
    strokes = strokes_of(labels, axes, classes)
    places = [run.out, *([path.parent] if is_ours(path) else [])]
    model = next((Model.load(one / MODEL) for one in reversed(places) if (one / MODEL).is_file()), None)
    notes = []
    if len(run.images) > 1:
        notes.append(f"{path} names {len(run.images)} images; {image.name} is shown, train on all by eseg train")
    if project is not None:
        project.take_for_saved(strokes.snapshot(), model)
    given = run.model_dump(mode="json", exclude_unset=True)
    return _opened(
        image,
        source=str(run.images[0]),
        classes=classes,
        strokes=strokes,
        model=model,
        dims=run.network.dims,
        settings={key: value for key, value in given.items() if key not in _KNOWN},
        project=project,
        notes=tuple(notes),
    )


def _open_ilastik(path: Path) -> Opened:
    from eseg_zoo.labels import ilastik
    from eseg_zoo.labels.lanes import image_of

    lanes = [lane for lane in ilastik.read_project(path).lanes if lane.is_labelled]
    if not lanes:
        raise InputError(f"{path} has no labels: paint some in ilastik and save the project, or open its image")
    lane = lanes[0]
    if not lane.exists:
        where = lane.sources[0] if lane.sources else "an unknown place"
        raise InputError(f"{path}: the image of {lane.name} is not at {where}; put it there, and try again")
    source = image_of(lane)
    image = _image(source, None, usual_axes=lane.usual_axes or None)
    axes = image.axes.replace("c", "")
    classes, strokes = read_labels(path, image, axes)
    notes = (f"{path} has {len(lanes)} images with labels; {lane.name} is shown",) if len(lanes) > 1 else ()
    return _opened(image, source=source, classes=classes, strokes=strokes, notes=notes)


def _classes(labels: LabelImage, colours: Any = None) -> tuple[PaintClass, ...]:
    """Return the classes of labels; values that 8 bits do not hold are numbered anew."""
    fits = all(1 <= one.value <= 255 for one in labels.classes)
    names = {one.value if fits else n: one.name for n, one in enumerate(labels.classes, start=1)}
    stated = {one.name: one.colour for one in labels.classes if one.colour}
    return of_mapping(names, {**stated, **(colours or {})})
