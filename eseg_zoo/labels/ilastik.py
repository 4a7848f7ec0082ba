"""Projects of ilastik (`.ilp`): the labels that were painted, their names and colours, and the images they are of.

A project is an HDF5 file. Every applet in which one paints has a group with `LabelSets`: for each lane, which is an
image, blocks of values that are cropped to what was painted, 0 for no label and k for the k-th of `LabelNames`. What is
pickled in a project, such as classifiers, is never read. Read in ilastik's sources (`slotSerializer`, 2024) and seen in
projects of 1.2 to 1.3.3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from packaging.version import InvalidVersion, Version

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.files import natural
from eseg_zoo.images.image import AXES, first_line, is_ours
from eseg_zoo.images.opening import files_of_source
from eseg_zoo.labels.painted import Block, LabelClass, Painted
from eseg_zoo.names import plain_name
from eseg_zoo.paths import HDF5, kind_by_beginning

# In these versions a block without axes of its own has those of its image's file, in others the channel comes last.
_OWN_ORDER = Version("1.3.3.post2"), Version("1.4.0b7")
_WORKFLOW = "txyzc"  # of blocks of five axes in the other versions
# Pixels of a block; ilastik's own have far fewer, and a made-up one must not fill the memory.
_LARGEST = 1 << 28
_LONGEST = 1 << 16  # numbers or names in a list
_FAILURES = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError, IndexError)
_INFOS = "Input Data/infos"
_FILES = re.compile(r"(.*?\.(?:h5|hdf5|ilp|n5|zarr))[/\\]+(.+)", re.IGNORECASE)  # with a dataset in them


@dataclass(frozen=True)
class Lane:
    """An image in a project."""

    number: int
    sources: tuple[str, ...]  # where it is, as `open_image` takes it; several files are planes of one stack
    nickname: str
    axes: str  # letters in the order of its array; '' where the project does not say
    shape: tuple[int, ...]  # in the order of `axes`; () where the project does not say
    is_labelled: bool

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"lane {self.number} ({self.nickname or ', '.join(self.sources[:1]) or 'without a name'})"

    @property
    def usual_axes(self) -> str:
        """The axes of its file, for one that states none: ilastik adds axes of length 1, such as c."""
        if not self.shape:
            return self.axes
        sizes = zip(self.axes, self.shape, strict=True)
        return "".join(axis for axis, length in sizes if length > 1 or axis in "yx")

    @property
    def exists(self) -> bool:
        """Whether all of its files are where the project says."""
        return bool(self.sources) and all(files_of_source(source) for source in self.sources)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each of its axes, where the project says them."""
        return dict(zip(self.axes, self.shape, strict=True)) if self.shape else {}


@dataclass(frozen=True)
class Project:
    """What a project holds, without its labels."""

    path: Path
    version: str
    classes: tuple[LabelClass, ...]  # their values are those of `read_lane`
    lanes: tuple[Lane, ...]


def knows(path: Path) -> bool:
    """Say whether a file is a project of ilastik."""
    try:
        with path.open("rb") as file:
            if kind_by_beginning(file.read(16)) != HDF5:
                return False
        with h5py.File(path, "r") as content:
            return "ilastikVersion" in content
    except (OSError, RuntimeError, KeyError, ValueError):
        return False


def read_project(path: Path) -> Project:
    """Return the classes and images of a project; raises `InputError` for one that cannot be read."""
    with _opened(path) as content:
        version = _text(_value(content, "ilastikVersion"))
        classes: dict[str, LabelClass] = {}
        for applet in _applets(content):
            for name, colour in _names(path, applet):
                classes.setdefault(name, LabelClass(name, len(classes) + 1, colour))
        labelled = {number for applet in _applets(content) for number, _ in _blocks(applet)}
        infos = content.get(_INFOS)
        groups = infos.items() if isinstance(infos, h5py.Group) else ()
        numbered = sorted((int(found[1]), group) for key, group in groups if (found := re.fullmatch(r"lane(\d+)", key)))
        lanes = [_lane(path, number, group, number in labelled) for number, group in numbered]
        known = {lane.number for lane in lanes}
        lanes += [Lane(number, (), "", "", (), True) for number in sorted(labelled - known)]
        return Project(path, version, tuple(classes.values()), tuple(lanes))


def read_lane(project: Project, lane: Lane, *, frames_are_slices: bool = False) -> Painted:
    """Return what was painted on an image of a project; a block is a plane, cropped to what was painted on it.

    `frames_are_slices` exchanges t and z, where the project took slices for time or the reverse. Raises `InputError`
    for a project that is damaged.
    """
    numbers = {one.name: one.value for one in project.classes}
    blocks: list[Block] = []
    with _opened(project.path) as content:
        for applet in _applets(content):
            table = [numbers[name] for name, _ in _names(project.path, applet)]
            for number, block in _blocks(applet):
                if number == lane.number:
                    blocks += _planes(project, lane, block, np.array([0, *table], np.uint16), frames_are_slices)
    return Painted(str(project.path), project.classes, tuple(blocks))


def _applets(content: h5py.File) -> list[h5py.Group]:
    """Return the groups in which one paints."""
    groups = [content[key] for key in sorted(content) if isinstance(content.get(key), h5py.Group)]
    return [group for group in groups if isinstance(group.get("LabelSets"), h5py.Group)]


def _names(path: Path, applet: h5py.Group) -> list[tuple[str, str | None]]:
    """Return name and colour of each label; what is called empty holds a value that means nothing."""
    names, colours = (_list(applet.get(key)) for key in ("LabelNames", "LabelColors"))
    found = []
    for number, name in enumerate(map(_text, names)):
        try:
            plain_name(name)
        except ValueError as error:
            raise InputError(f"{path} has the label name {shown(name)}; it {error}") from error
        found.append((name, _colour(colours[number]) if number < len(colours) else None))
    return found


def _list(dataset: Any) -> list[Any]:
    """Return the values of a list; an empty one holds a value that means nothing, and says so, perhaps as a text."""
    if not isinstance(dataset, h5py.Dataset) or not dataset.shape or prod(dataset.shape) > _LONGEST:
        return []
    return [] if str(dataset.attrs.get("isEmpty", False)) in {"True", "1", "b'True'"} else list(dataset[()])


def _colour(values: Any) -> str | None:
    numbers = np.atleast_1d(values)
    if numbers.shape[0] < 3 or numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers <= 255)).all():
        return None
    return "#{:02x}{:02x}{:02x}".format(*numbers[:3].tolist())


def _blocks(applet: h5py.Group) -> Iterator[tuple[int, Any]]:
    """Yield the number of the lane and the block, a dataset or a group of data and mask, in the order of both."""
    for name in sorted(applet["LabelSets"], key=lambda name: natural(Path(name))):
        found, group = re.search(r"\d+", name), applet["LabelSets"].get(name)
        if found and isinstance(group, h5py.Group):
            for key in sorted(group, key=lambda key: natural(Path(key))):
                yield int(found[0]), group[key]


def _planes(
    project: Project, lane: Lane, block: Any, table: NDArray[np.uint16], frames_are_slices: bool
) -> Iterator[Block]:
    """Yield what was painted in a block, plane by plane; `table` has the value of each label."""
    where = f"{project.path}: {block.name}"
    values = _values(where, block)
    starts = _starts(where, block, values.shape)
    letters = _letters(project, lane, block, values.ndim)
    channels = values.shape[letters.index("c")] if "c" in letters else 1
    if channels != 1:
        raise InputError(f"{where} has {channels} channels; labels have one value at each pixel")
    if values.max(initial=0) >= len(table):
        raise InputError(f"{where} has the label {values.max()}, but the project names {len(table) - 1}")
    if frames_are_slices:
        letters = letters.translate(str.maketrans("tz", "zt"))
    first = dict(zip(letters, starts, strict=True))
    order = [letters.index(axis) for axis in AXES if axis in letters]
    values = values.transpose(order)[tuple(slice(None) if axis in letters else None for axis in AXES)][:, 0]
    for t, z in product(*map(range, values.shape[:2])):
        plane = values[t, z]
        rows, columns = (np.flatnonzero(plane.any(axis)) for axis in (1, 0))
        if len(rows):
            y, x = int(rows[0]), int(columns[0])
            painted = table[plane[y : rows[-1] + 1, x : columns[-1] + 1]]
            place = first.get("t", 0) + t, first.get("z", 0) + z, first["y"] + y, first["x"] + x
            yield Block(place, painted[None, None])


def _values(where: str, block: Any) -> NDArray[np.uint16]:
    """Return the labels of a block; what is masked is not labelled."""
    data = block.get("data") if isinstance(block, h5py.Group) else block
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "iu" or not 2 <= data.ndim <= 5:
        raise InputError(f"{where} is no block of labels")
    if prod(data.shape) > _LARGEST:
        raise InputError(f"{where} has {' x '.join(map(str, data.shape))} pixels; ilastik writes smaller blocks")
    values = np.asarray(data[()])
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < 2**16:
        raise InputError(f"{where} has labels from {values.min()} to {values.max()}, which ilastik does not write")
    mask = block.get("mask") if isinstance(block, h5py.Group) else None
    if isinstance(mask, h5py.Dataset):
        if mask.shape != data.shape:
            raise InputError(f"{where} has a mask of shape {mask.shape} for labels of shape {data.shape}")
        values = np.where(np.asarray(mask[()]).astype(bool), 0, values)
    return values.astype(np.uint16)


def _starts(where: str, block: Any, shape: tuple[int, ...]) -> list[int]:
    """Return where a block begins along each of its axes, from `[329:396,288:494,0:1]`."""
    said = _text(block.attrs.get("blockSlice", ""))
    ends = [(int(first), int(last)) for first, last in re.findall(r"(\d{1,12}):(\d{1,12})", said)]
    if not re.fullmatch(r"\[[\d:, ]*\]", said) or tuple(last - first for first, last in ends) != shape:
        raise InputError(f"{where} has the slices {shown(said)}, but labels of shape {shape}: the project is damaged")
    return [first for first, _ in ends]


def _letters(project: Project, lane: Lane, block: Any, ndim: int) -> str:
    """Return the axes of a block: its own, or those that its version of ilastik means."""
    own = _axes(block.attrs.get("axistags"))
    if len(own) == ndim:
        return own
    try:
        version = Version(project.version)
    except InvalidVersion as error:
        raise InputError(f"{project.path} says that it is of ilastik {shown(project.version)}") from error
    is_own_order = _OWN_ORDER[0] <= version <= _OWN_ORDER[1]
    if ndim == len(_WORKFLOW) and not is_own_order:
        return _WORKFLOW
    letters = lane.axes if is_own_order and "c" in lane.axes else f"{lane.axes.replace('c', '')}c"
    letters = letters.replace("c", "") if len(letters) == ndim + 1 else letters
    if len(letters) != ndim or not {"y", "x"} <= set(letters):
        raise InputError(
            f"{project.path} has labels with {ndim} axes for {lane.name}, which has the axes {lane.axes or 'of nobody'}"
        )
    return letters


def _axes(tags: Any) -> str:
    """Return the letters in `axistags`; '' where they are none or cannot be understood."""
    try:
        letters = "".join(str(axis["key"]) for axis in json.loads(_text(tags))["axes"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return letters if set(letters) <= set(AXES) and len(set(letters)) == len(letters) else ""


def _lane(path: Path, number: int, group: Any, is_labelled: bool) -> Lane:
    raw = group.get("Raw Data") if isinstance(group, h5py.Group) else None
    if not isinstance(raw, h5py.Group):
        return Lane(number, (), "", "", (), is_labelled)
    axes = _axes(_value(raw, "axistags"))
    stated = np.atleast_1d(np.asarray(_value(raw, "shape")))
    shape = tuple(stated.tolist()) if stated.dtype.kind in "iu" and stated.shape == (len(axes),) else ()
    file, location = _text(_value(raw, "filePath")), _text(_value(raw, "location"))
    inside = "Internal" in location or file.startswith("/Input Data/")
    sources = (f"{path}/{file.lstrip('/')}",) if inside else tuple(_beside(path, part) for part in _parts(file))
    return Lane(number, sources, _text(_value(raw, "nickname")), axes, shape, is_labelled)


def _parts(file: str) -> list[str]:
    """Return the files of an image; those of a stack are joined by the separator of paths."""
    if "://" in file:
        return [file]
    windows = ";" in file or re.match(r"[A-Za-z]:[\\/]", file)
    return [part for part in file.split(";" if windows else ":") if part]


def _beside(path: Path, file: str) -> str:
    """Return where a file is that a project names, from where the project is."""
    is_elsewhere = "://" in file or re.match(r"[A-Za-z]:[\\/]", file)
    return file if is_elsewhere else str(path.parent / file)


def file_and_dataset(source: str) -> tuple[str, str]:
    """Return the file of an image, and the dataset in it, '' where none is named."""
    found = _FILES.fullmatch(source)
    return (found[1], found[2].strip("/")) if found else (source, "")


def _value(group: h5py.Group, key: str) -> Any:
    """Return the value of a small dataset, None where there is none."""
    dataset = group.get(key)
    return dataset[()] if isinstance(dataset, h5py.Dataset) and (dataset.size or 0) <= _LONGEST else None


def _text(value: Any) -> str:
    """Return a text that is stored in one of the ways that HDF5 has, '' for what is none."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size == 1 else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    return value if isinstance(value, str) else ""


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a project; what its file refuses is one line."""
    try:
        with h5py.File(path, "r") as content:
            yield content
    except _FAILURES as error:
        if is_ours(error):
            raise
        if isinstance(error, BlockingIOError) or "unable to lock" in str(error):
            raise InputError(f"{path} is locked: ilastik has it open; close the project there") from error
        raise InputError(f"{path} is not a readable project of ilastik: {first_line(error)}") from error
