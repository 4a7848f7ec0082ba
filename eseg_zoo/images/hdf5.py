"""HDF5 files: the dataset that is meant, whether all of it is there, and how ilastik and others describe it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eseg_zoo.errors import AbsentPartsError, InputError
from eseg_zoo.images.files import require_unchanged, stamp
from eseg_zoo.images.found import Found, rows
from eseg_zoo.images.image import AXES, Spacing, StoredSource, first_line, tell


@dataclass(frozen=True)
class Hdf5Source(StoredSource):
    """A dataset in an HDF5 file."""

    path: Path
    dataset: str
    stamp: str
    others: str = ""  # a digest of the other files that its pixels are in

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What h5py raises for a damaged file: OSError for its pixels, KeyError for its tree, RuntimeError for both."""
        return (OSError, KeyError, RuntimeError)

    def open(self) -> Any:
        """Return the dataset; it keeps its file open."""
        require_unchanged([self.path], self.stamp)
        return h5py.File(self.path, "r")[self.dataset]


def open_hdf5(file: Path, wanted: str, *, allow_missing: bool) -> Found:
    """Return the dataset `wanted` of an HDF5 file, or, for '', its only one of two axes or more.

    Raises `InputError` for a file that is damaged or locked, for a dataset that is not there or is not named, for
    links to nothing, for a codec that is not installed, and for parts that were never written.
    """
    try:
        with h5py.File(file, "r") as content:
            inner = _named(file, content, wanted) if wanted else _only(file, content)
            dataset = content[inner]
            path = f"{file}/{inner}"
            _require_codec(path, dataset)
            if not allow_missing:
                _refuse_absent(path, dataset)
            said, sizes = _axes_of(dataset), _sizes_of(dataset)
            others = sorted({other for other in _other_files(dataset) if other != file and other.is_file()})
            source = Hdf5Source(file.absolute(), inner, stamp([file]), stamp(others) if others else "")
            chunks = dataset.chunks or rows(dataset.shape)
            return Found(source, dataset.shape, dataset.dtype, chunks, said, bool(said), sizes, (), inner)
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, BlockingIOError) or "unable to lock" in str(error):
            raise InputError(f"{file} is locked: another program has it open for writing; close it there") from error
        raise InputError(f"{file} is not a readable HDF5 file: {first_line(error)}") from error


def _datasets(content: h5py.File) -> list[str]:
    """Return the names of all datasets of two axes or more, those behind links only if there are no others."""
    found: list[str] = []

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 2:
            found.append(name)

    content.visititems(note)
    return found or [name for name, link in content.items() if isinstance(link, h5py.Dataset) and link.ndim >= 2]


def _only(file: Path, content: h5py.File) -> str:
    found = _datasets(content)
    if len(found) == 1:
        return found[0]
    raise InputError(_listing(file, found))


def _listing(file: Path, found: list[str]) -> str:
    shown = ", ".join([*found[:12], *(["..."] if len(found) > 12 else [])])
    return f"{file} holds the datasets {shown or 'none'}" + (f"; name one, such as {file}/{found[0]}" if found else "")


def _named(file: Path, content: h5py.File, wanted: str) -> str:
    """Return `wanted` if it is a dataset, and say what it is otherwise."""
    try:
        item = content.get(wanted)
    except (KeyError, OSError):
        item = None
    if isinstance(item, h5py.Dataset):
        if item.ndim < 2:
            raise InputError(f"{file}/{wanted} has shape {item.shape}; an image has two axes or more")
        return wanted
    for part in (wanted, *(str(p) for p in Path(wanted).parents if str(p) != ".")):
        link = content.get(part, getlink=True) if part in _names(content, part) else None
        if isinstance(link, h5py.SoftLink) and content.get(part) is None:
            raise InputError(f"{file}/{part} is a link to {link.path}, which is not there")
        if isinstance(link, h5py.ExternalLink) and item is None:
            there = "which cannot be opened" if _beside(file, link.filename).exists() else "which is not there"
            raise InputError(f"{file}/{part} is a link to {link.path} in the file {link.filename}, {there}")
    raise InputError(_listing(file, _datasets(content)))


def _names(content: h5py.File, part: str) -> list[str]:
    """Return `part` in a list if its group has a link of that name, whether it leads anywhere or not."""
    parent, _, name = part.rpartition("/")
    group = content.get(parent) if parent else content
    return [part] if isinstance(group, h5py.Group) and name in list(group) else []  # `in group` follows the link


def _beside(file: Path, name: str) -> Path:
    return file if name == "." else file.parent / name


def _require_codec(path: str, dataset: h5py.Dataset) -> None:
    settings = dataset.id.get_create_plist()
    for number in range(settings.get_nfilters()):
        code, _, _, label = settings.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            named = f"{label.decode('utf-8', 'replace')} (number {code})" if label else f"number {code}"
            raise InputError(f"{path} is compressed with the HDF5 filter {named}, which is not installed")


def _refuse_absent(path: str, dataset: h5py.Dataset) -> None:
    """Raise `InputError` that counts what is stated and absent: sources, external files, chunks never written."""
    way_out = "or give --missing-chunks to read them as empty"
    absent = list(_absent_files(dataset))
    if absent:
        raise InputError(
            f"{path} takes {tell(len(absent), 'part')} from other files that are not there, the first {absent[0]}; "
            f"copy them beside it, {way_out}"
        )
    if dataset.is_virtual:
        mapped = sum(int(source.vspace.get_select_npoints()) for source in dataset.virtual_sources())
        if 0 <= mapped < dataset.size:
            raise InputError(
                f"{path} lacks {dataset.size - mapped} of its {dataset.size} pixels: it is a virtual dataset that "
                f"nothing fills there; make it again, {way_out}"
            )
    elif dataset.chunks:
        total = prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
        if written < total:
            raise AbsentPartsError(
                f"{path} lacks {total - written} of its {total} chunks, which were never written",
                f"write it again, {way_out}",
            )
    elif not dataset.external and dataset.size and dataset.id.get_storage_size() == 0:
        raise InputError(f"{path} lacks all of its pixels, which were never written; write it again, {way_out}")


def _other_files(dataset: h5py.Dataset) -> Iterator[Path]:
    """Yield the files that the pixels of a dataset are in: behind an external link, virtual, or raw."""
    file = Path(dataset.file.filename)
    yield file
    yield from (_beside(file, name) for name, _, _ in dataset.external or [])
    yield from (_beside(file, source.file_name) for source in (dataset.virtual_sources() if dataset.is_virtual else []))


def _absent_files(dataset: h5py.Dataset) -> Iterator[str]:
    """Yield what a virtual or external dataset takes from elsewhere and is not there."""
    file = Path(dataset.file.filename)
    for name, _, _ in dataset.external or []:
        if not _beside(file, name).is_file():
            yield str(name)
    for source in dataset.virtual_sources() if dataset.is_virtual else []:
        if "%" in source.file_name:
            continue  # a pattern of numbered files: as many as there are
        other = _beside(file, source.file_name)
        if not other.is_file():
            yield source.file_name
        else:
            part = source.dset_name.lstrip("/")
            with h5py.File(other, "r") as content:
                if not isinstance(content.get(part), h5py.Dataset):
                    yield f"{source.file_name}/{part}"


def _axes_of(dataset: h5py.Dataset) -> str:
    """Return the axes by `axistags` (ilastik, vigra) or by the labels of the dimensions; '' where nothing says all."""
    try:
        tags = json.loads(dataset.attrs["axistags"])
        said = "".join(tag["key"] for tag in tags["axes"])
    except (KeyError, ValueError, TypeError):
        said = "".join(str(dimension.label) or "?" for dimension in dataset.dims)
    return said if len(said) == dataset.ndim and set(said) <= set(AXES) and len(set(said)) == len(said) else ""


def _sizes_of(dataset: h5py.Dataset) -> dict[str, Spacing]:
    """Return the pixel size by `element_size_um` (z, y, x), as many programs around ilastik write it."""
    sizes = np.atleast_1d(np.asarray(dataset.attrs.get("element_size_um", ())))
    if sizes.shape != (3,) or not np.issubdtype(sizes.dtype, np.number) or not (sizes > 0).all():
        return {}
    return {axis: Spacing(float(size), 0.0, "micrometer") for axis, size in zip("zyx", sizes, strict=True)}
