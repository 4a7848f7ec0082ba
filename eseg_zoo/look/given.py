"""Which of some files are images, which are labels, and which labels are of which image: by what they hold."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image, tell
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels import ilastik
from eseg_zoo.labels.lanes import image_of
from eseg_zoo.labels.opening import images_of
from eseg_zoo.labels.pixels import classes_of_pixels
from eseg_zoo.labels.readers import reader_of
from eseg_zoo.patches.sections import read_together, sections_of

# A label image has no more values than this; every grey image that is worth training on has more.
MOST_CLASSES = 32
# What the axes of a file that does not state them may be, most likely first.
_GUESSES = ("zyx", "zcyx", "tzyx", "tzcyx")


@dataclass(frozen=True)
class FoundImage:
    """An image that was given, or that a project is of."""

    path: Path
    image: Image
    is_guess: bool  # the file does not state its axes


@dataclass(frozen=True)
class FoundLabels:
    """A label file that was given."""

    path: Path
    values: tuple[int, ...] = ()  # of a label image without class names
    image: Image | None = None  # a label image, read as it is


@dataclass(frozen=True)
class Found:
    """Images, and the label files of each; a project may be of all, and none may be given."""

    images: tuple[FoundImage, ...]
    labels: tuple[tuple[FoundLabels, ...], ...]

    @property
    def files(self) -> tuple[FoundLabels, ...]:
        """All label files, each once."""
        return tuple({one.path: one for entry in self.labels for one in entry}.values())


def sort_files(paths: Sequence[Path], labels: Sequence[Path] = (), *, axes: str | None = None) -> Found:
    """Return what each of these files is; `labels` are label files whatever they hold, `axes` those of the images.

    Of pixels those are labels that have one channel, at most `MOST_CLASSES` whole numbers, and the size of an image
    that has more. Raises `InputError` for files that cannot be read, and where there is no image or it is not clear
    which labels are of which.
    """
    painted = [path for path in paths if _is_painted(path)]
    opened = [_open(path, axes=axes) for path in paths if path not in painted]
    values = {one.path: found for one in opened if (found := values_of(one.image)) is not None}
    grey = [one for one in opened if one.path not in values]
    pixels = [one for one in opened if one.path in values and any(_same_size(one.image, other.image) for other in grey)]
    files = [FoundLabels(one.path, values[one.path], one.image) for one in pixels]
    files += [FoundLabels(path) for path in painted]
    files += [_forced(path) for path in labels]
    order = [*paths, *labels]
    files.sort(key=lambda one: order.index(one.path))
    images = [one for one in opened if one not in pixels]
    if not images:
        images = [one for file in files for one in _images_said(file.path)]
    if not images:
        raise InputError(f"{', '.join(map(str, paths))}: there is no image among these; give the images too")
    if axes is not None:
        images = [FoundImage(one.path, open_image(one.path, axes=axes), is_guess=False) for one in images]
    return Found(tuple(images), tuple(_paired(images, files)))


def values_of(image: Image) -> tuple[int, ...] | None:
    """Return the values of a label image but 0, in their order; None for what is none."""
    if image.sizes["c"] > 1 or not np.issubdtype(image.dtype, np.integer):
        return None
    found: set[int] = set()
    sections = sections_of(image, 2)
    for _, _, pixels in read_together(
        sections, lambda number, window: bool(image.absent_value(sections[number].region(window)) != 0)
    ):
        found |= set(np.unique(pixels).tolist())
        if len(found) > MOST_CLASSES + 1:
            return None
    return tuple(sorted(found - {0}))


def _is_painted(path: Path) -> bool:
    """Say whether a file holds what was painted or drawn, in another form than pixels."""
    there = path.expanduser()
    return ilastik.knows(there) or reader_of(there) is not None


def _forced(path: Path) -> FoundLabels:
    """Return a label file that a person says is one; raises `InputError` where it has too many values."""
    if _is_painted(path) or classes_of_pixels(path):
        return FoundLabels(path)
    opened = _open(path)
    values = values_of(opened.image)
    if values is None:
        raise InputError(
            f"{path} is no label image: it has several channels, fractions, or more than {MOST_CLASSES} values"
        )
    return FoundLabels(path, values, opened.image)


def _open(path: Path, *, axes: str | None = None, usual: str = "") -> FoundImage:
    """Return an image; where its file does not state the axes, with `axes`, those of a person, or likely ones.

    With `axes` it may still be a label image: one without channels.
    """
    likely = (usual, *_GUESSES) if axes is None else (axes, axes.replace("c", ""), *_GUESSES)
    try:
        return FoundImage(path, open_image(path), is_guess=False)
    except InputError as error:
        for tried in filter(None, likely):
            try:
                return FoundImage(path, open_image(path, usual_axes=tried), is_guess=True)
            except InputError:
                continue
        if axes is not None:
            open_image(path, axes=axes)  # raises what is wrong with them
        raise error


def _images_said(path: Path) -> Iterator[FoundImage]:
    """Yield the labelled images that a project names; raises `InputError` for one that is not there."""
    for lane in images_of(path.expanduser()):
        if not lane.is_labelled:
            continue
        if not lane.exists:
            where = lane.sources[0] if lane.sources else "an unknown place"
            raise InputError(
                f"{path}: the image of {lane.name} is not at {where}; give it too, as in eseg init IMAGE {path}"
            )
        yield _open(Path(image_of(lane)), usual=lane.usual_axes)


def _same_size(one: Image, other: Image) -> bool:
    return all(one.sizes[axis] == other.sizes[axis] for axis in "tzyx")


def _paired(images: Sequence[FoundImage], files: Sequence[FoundLabels]) -> list[tuple[FoundLabels, ...]]:
    """Return the label files of each image, or one entry for all; none at all where there are none."""
    if not files:
        return []
    if len(images) == 1:
        return [tuple(files)]
    if all(ilastik.knows(one.path.expanduser()) for one in files):
        return [tuple(files)]
    if len(files) != len(images):
        raise InputError(
            f"there are {tell(len(images), 'image')} ({_names(images)}) but {tell(len(files), 'label file')} "
            f"({_names(files)}); give one for each, or write the list labels in the run yourself"
        )
    left = list(files)
    pairs: list[tuple[FoundLabels, ...]] = []
    for image in images:
        fitting = [one for one in left if one.image is None or _same_size(one.image, image.image)]
        if not fitting:
            raise InputError(f"{image.path} has no labels of its size among {_names(files)}")
        best = max(fitting, key=lambda one: _likeness(one.path, image.path))  # the first of those that are as alike
        pairs.append((best,))
        left.remove(best)
    return pairs


def _likeness(labels: Path, image: Path) -> float:
    return difflib.SequenceMatcher(None, labels.name.lower(), image.name.lower()).ratio()


def _names(found: Sequence[FoundImage | FoundLabels]) -> str:
    return ", ".join(str(one.path) for one in found)
