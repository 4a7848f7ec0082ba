"""Which image of a project of ilastik is which image of a run: by where it is, by its file's name, by its nickname."""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath, PureWindowsPath

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import files_of_source
from eseg_zoo.images.planes import files_of
from eseg_zoo.labels.ilastik import Lane, Project, file_and_dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """The lane of an image."""

    lane: Lane
    frames_are_slices: bool = False  # what is time there is depth here, or the reverse


def fits_of(project: Project, given: Sequence[tuple[Image, bool]]) -> list[Fit | None]:
    """Return the lane of each image, None where the project has none of it, which is logged.

    An image comes with whether the project is of a part of it, which has another size.
    The only labelled lane is taken for the only image whatever their names are, if their sizes fit. Lanes with labels
    that are of none of the images are logged. Raises `InputError` where no lane is of any of the images, where several
    may be of one, and where one was painted on an image of another size.
    """
    images = [image for image, _ in given]
    lanes = [_lane_of(project, image) for image in images]
    labelled = [lane for lane in project.lanes if lane.is_labelled]
    if not labelled:
        raise InputError(f"{project.path} has no labels: paint some in ilastik and save the project")
    if not any(lanes):
        if len(images) > 1 or len(labelled) > 1 or not _fit(labelled[0], *given[0]):
            raise InputError(
                f"{project.path} does not know {' or '.join(image.name for image in images)}: "
                f"its images are {', '.join(', '.join(lane.sources[:1]) or lane.name for lane in project.lanes)}"
            )
        lanes = [labelled[0]]
        log.warning("%s: its only image, %s, is taken for %s", project.path, labelled[0].name, images[0].name)
    for one in labelled:
        if one not in lanes:
            log.warning("%s: %s has labels, but its image is not in the run", project.path, one.name)
    fits: list[Fit | None] = []
    for lane, (image, is_part) in zip(lanes, given, strict=True):
        fit = None if lane is None else _fit(lane, image, is_part)
        if lane is None:
            log.warning("%s does not know %s, and gives it no labels", project.path, image.name)
        elif fit is None:
            sizes = " x ".join(f"{axis}={n}" for axis, n in lane.sizes.items())
            expected = " x ".join(f"{axis}={n}" for axis, n in image.sizes.items() if axis in image.axes)
            raise InputError(
                f"{project.path}: {lane.name} was painted on an image of {sizes}, but {image.name} has {expected}"
            )
        fits.append(fit)
    return fits


def image_of(lane: Lane) -> str:
    """Return where the image of a lane is, as `open_image` takes it: of a stack its folder, or a pattern of its files.

    The files must be there (`Lane.exists`). Raises `InputError`, with what to do, for a stack that neither tells.
    """
    if len(lane.sources) == 1:
        return lane.sources[0]
    files = [Path(source) for source in lane.sources]
    folder, names = files[0].parent, [file.name for file in files]
    if files_of(folder, "") == files:
        return str(folder)
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    beginning = "".join(letters[0] for letters in same)
    pattern = f"{glob.escape(beginning)}*{glob.escape(files[0].suffix)}"
    if files_of(folder, pattern) == files:
        return f"{glob.escape(str(folder))}/{pattern}"
    raise InputError(
        f"the image of {lane.name} is a stack of {len(files)} files, from {files[0]} on, that no pattern of names "
        "tells from others in their order; put them into a folder of their own, numbered, or save them as one TIFF"
    )


def _fit(lane: Lane, image: Image, is_part: bool) -> Fit | None:
    """Return how a lane fits an image; None where it is of an image of another size."""
    exchanged = Fit(lane, frames_are_slices=True)
    ours = {axis for axis in "tz" if image.sizes[axis] > 1}
    if is_part or not lane.sizes:
        theirs = set(lane.axes) & set("tz")
        return exchanged if len(ours) == len(theirs) == 1 and ours != theirs else Fit(lane)
    expected, found = ([one.get(axis, 1) for axis in "tzyx"] for one in (image.sizes, lane.sizes))
    if found == expected:
        return Fit(lane)
    return exchanged if [found[1], found[0], *found[2:]] == expected else None


def _lane_of(project: Project, image: Image) -> Lane | None:
    """Return the lane of an image; raises `InputError` where several lanes may be."""
    for is_same in (_is_same_place, _has_same_name, _has_same_nickname):
        found = [lane for lane in project.lanes if is_same(lane, image.name)]
        if len(found) > 1:
            found = [lane for lane in found if lane.is_labelled] or found[:1]
        if len(found) > 1:
            raise InputError(
                f"{project.path} has {' and '.join(lane.name for lane in found)} for {image.name}; which one is meant "
                "cannot be told by path or name"
            )
        if found:
            return found[0]
    return None


def _is_same_place(lane: Lane, name: str) -> bool:
    """Say whether an image is where the project says, or, of a stack, the folder or the pattern of its files."""
    if not lane.sources:
        return False
    file, dataset = file_and_dataset(lane.sources[0])
    ours, our_dataset = file_and_dataset(name)
    if dataset and our_dataset and dataset != our_dataset:
        return False
    found = {path.resolve() for path in files_of_source(ours)} or {Path(ours).expanduser().resolve()}
    place = Path(file).resolve()
    return place in found or (len(lane.sources) > 1 and place.parent in found)


def _has_same_name(lane: Lane, name: str) -> bool:
    if not lane.sources:
        return False
    (theirs, dataset), (ours, our_dataset) = file_and_dataset(lane.sources[0]), file_and_dataset(name)
    return _pure(theirs).name == _pure(ours).name and (not dataset or not our_dataset or dataset == our_dataset)


def _has_same_nickname(lane: Lane, name: str) -> bool:
    return bool(lane.nickname) and lane.nickname in {_pure(name).name, _pure(name).stem}


def _pure(name: str) -> PurePath:
    """Return a path that may be of another system."""
    kind: Callable[[str], PurePath] = PureWindowsPath if "\\" in name else PurePath
    return kind(name)
