"""The YAML file of a run, written out of images and labels: short, with comments, and ready to be trained."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from eseg_zoo.config import Run
from eseg_zoo.errors import InputError, OutputError
from eseg_zoo.images.image import tell_voxel_size
from eseg_zoo.label_files import LabelFile
from eseg_zoo.labels.opening import classes_in
from eseg_zoo.labels.painted import LabelClass
from eseg_zoo.look.given import Found, FoundImage, sort_files
from eseg_zoo.machine import has_gpu
from eseg_zoo.output import make_folder, refuse_existing, replacing
from eseg_zoo.patches.intensity import MOST_VALUES, intensities_of
from eseg_zoo.patches.sections import sections_of

# The median of a fluorescence image is so near its dark end, as a share of its range (1st to 99th percentile): most of
# it is background. In electron microscopy it is about in the middle.
DARK = 0.25


def write_run(paths: Sequence[Path], labels: Sequence[Path], out: Path, *, axes: str | None = None) -> None:
    """Write the YAML file of a run on these files to `out`; `labels` are label files whatever they hold.

    `axes` are those of the images, such as yxc for colours that are channels; by default what the files state.

    Raises `OutputError` where `out` exists, and `InputError` for files that no run can be made of.
    """
    try:
        refuse_existing(out, force=False)
    except OutputError as error:
        if not out.exists():
            raise
        raise OutputError(f"{out} exists already, and is not replaced; give another name with --out") from error
    text = text_of(sort_files(paths, labels, axes=axes), out.parent, axes=axes)
    Run.checked(yaml.safe_load(text), out)
    make_folder(out.parent)
    with replacing(out, force=False) as temporary:
        temporary.write_text(text, encoding="utf-8")


def text_of(found: Found, folder: Path, *, axes: str | None = None) -> str:
    """Return the YAML file of a run, with paths as seen from its folder, and the `axes` that a person gave."""
    classes = _classes(found)
    lines = [f"images:{_listed([_seen(one.path, folder) for one in found.images])}", *_labels(found, folder)]
    lines += [*_axes(found.images, axes), *_voxel_size(found.images), *_class_lines(found, classes), *_preset()]
    name = found.images[0].path.name.partition(".")[0] or "first"
    lines += [f"out: {_inline(f'runs/{name}')}", *_template(found.images)]
    return "\n".join(lines) + "\n"


def _labels(found: Found, folder: Path) -> Iterator[str]:
    """Yield where the labels are, or where they will be."""
    if not found.labels:
        first = found.images[0].path
        drawn = [first.with_name(f"{first.name.partition('.')[0]}_labels.tif")]
        yield "# Paint a few strokes of each class, and say here where they are, a file for each image:"
        yield f"labels:{_listed([_seen(path, folder) for path in drawn * len(found.images)])}"
        return
    entries = [[_seen(one.path, folder) for one in entry] for entry in found.labels]
    yield f"labels:{_listed([entry[0] if len(entry) == 1 else entry for entry in entries])}"


def _classes(found: Found) -> list[LabelClass]:
    """Return the classes that the label files name, and one for each other value of label images.

    Raises `InputError` where there are fewer than two.
    """
    if not found.labels:
        return [LabelClass("class 1", 1), LabelClass("class 2", 2)]
    image = found.images[0].image
    t, z, y, x = (image.sizes[axis] for axis in "tzyx")
    files = [LabelFile(file=one.path) for one in found.files]
    named = list(classes_in(files, space=(t, z, y, x), voxel_size=image.voxel_size))
    known = {one.value for one in named}
    values = sorted({value for one in found.files for value in one.values} - known)
    names = {one.name for one in named}
    classes = named + [LabelClass(_free(f"class {value}", names), value) for value in values]
    if len(classes) < 2:
        files_told = ", ".join(str(one.path) for one in found.files)
        raise InputError(
            f"{files_told}: {'one class is' if classes else 'nothing is'} labelled; a model tells at least two classes "
            "apart, so label a second one, such as background"
        )
    return sorted(classes, key=lambda one: one.value)


def _free(name: str, taken: set[str]) -> str:
    """Return a name that no class has yet."""
    return name if name not in taken else next(new for n in count(2) if (new := f"{name} ({n})") not in taken)


def _class_lines(found: Found, classes: Sequence[LabelClass]) -> Iterator[str]:
    values = {value for one in found.files for value in one.values}
    if not found.labels or values & {one.value for one in classes if one.name.startswith("class ")}:
        yield "# The values of the label image; give the classes their names:"
    else:
        yield "# As the labels name them:"
    yield "classes:"
    yield from (f"  {one.value}: {_inline(one.name)}" for one in classes)
    colours = {one.name: one.colour for one in classes if one.colour}
    if colours:
        yield "colours:  # of the labels"
        yield from (f"  {_inline(name)}: {_inline(colour)}" for name, colour in colours.items())


def _axes(images: Sequence[FoundImage], given: str | None) -> Iterator[str]:
    axes = {one.image.axes for one in images}
    if given is not None:
        yield f"axes: {given.lower()}"
    elif any(one.is_guess for one in images):
        yield f"axes: {images[0].image.axes}  # a guess, as the files do not say: t is time, z depth, c channels"
    elif len(axes) == 1 and images[0].image.stated_axes:
        yield f"# axes: {images[0].image.axes}  # as the files state"
    elif len(axes) == 1:
        yield f"axes: {images[0].image.axes}"


def _voxel_size(images: Sequence[FoundImage]) -> Iterator[str]:
    image = images[0].image
    stated = {axis: float(f"{size:.6g}") for axis, size in image.voxel_size.items()}
    if stated:
        yield f"# voxel_size: {_inline(stated)}  # micrometres, as the files state: {tell_voxel_size(stated)}"
    if image.sizes["z"] > 1:
        if "z" not in stated:
            yield "# voxel_size: {z: 0.05, y: 0.005, x: 0.005}  # micrometres; the files do not state it, 3D needs it"
        yield "# network: {dims: 3}  # learns from volumes; by default each slice is an image of its own"


def _preset() -> Iterator[str]:
    if has_gpu():
        yield "preset: default  # for a GPU; small is for a CPU"
    else:
        yield "preset: small  # for a CPU; default is for a GPU"


def _template(images: Sequence[FoundImage]) -> Iterator[str]:
    channels = images[0].image.sizes["c"]
    if channels > 1:
        kind, why = "fluorescence", f"it has {channels} channels"
    elif _is_dark(images[0]):
        kind, why = "fluorescence", "its background is dark"
    else:
        kind, why = "em", "its background is not dark"
    yield f"# For the package: eseg export --template {kind}2d (a guess, as {why})"


def _is_dark(found: FoundImage) -> bool:
    """Say whether most of an image is near its dark end."""
    known = intensities_of(sections_of(found.image, 2), most=MOST_VALUES)
    if known is None:
        return False
    one = known.channels[0]
    return one.median - one.low < DARK * (one.high - one.low)


def _seen(path: Path, folder: Path) -> str:
    """Return a path as seen from the folder of the run; on another drive it is whole."""
    there = path.expanduser()
    try:
        seen = os.path.relpath(there, folder)
    except ValueError:
        seen = str(there.absolute())
    return Path(seen).as_posix()


def _listed(entries: Sequence[Any]) -> str:
    """Return what follows a key: one entry as it is, several as lines of a YAML list."""
    if len(entries) == 1:
        return f" {_inline(entries[0])}"
    return "".join(f"\n  - {_inline(entry)}" for entry in entries)


def _inline(value: str | float | Sequence[str] | Mapping[str, float] | None) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1 << 20, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()
