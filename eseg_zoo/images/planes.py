"""Folders and globs of TIFF or PNG files, a plane or a stack each: all alike, sorted by the numbers in their names."""

from __future__ import annotations

import glob
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eseg_zoo.errors import InputError
from eseg_zoo.images.files import kind_of, natural, require_unchanged, stamp
from eseg_zoo.images.found import Found, Request
from eseg_zoo.images.image import StoredSource, tell
from eseg_zoo.images.png import PngSource, open_png
from eseg_zoo.images.stack import Stack
from eseg_zoo.images.tiff import open_tiff
from eseg_zoo.images.tiff_pixels import TiffSource
from eseg_zoo.paths import PNG, TIFF

_ENDINGS = {".tif": TIFF, ".tiff": TIFF, ".png": PNG}


@dataclass(frozen=True)
class PlanesSource(StoredSource):
    """The files of a folder or of a glob along a leading axis."""

    folder: Path
    pattern: str  # of a glob, '' for the folder
    kind: str
    stamp: str

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Those of the files."""
        kind: Any = TiffSource if self.kind == TIFF else PngSource
        return (*kind(self.folder, "").failures, InputError)

    def open(self) -> Any:
        """Return the planes; each file is opened when it is read."""
        files = files_of(self.folder, self.pattern)
        require_unchanged(files, self.stamp)
        request = Request(allow_missing=True)  # they were looked through when the folder was opened
        if self.kind == PNG:
            return Stack(lambda number: PngSource(files[number], stamp([files[number]])).open(), len(files), keep=2)
        return Stack(lambda number: open_tiff(files[number], request).source.open(), len(files))


def split_glob(path: Path) -> tuple[Path, str] | None:
    """Return folder and pattern of a path that is a pattern of names, such as `plane*.tif` or `*/raw.png`."""
    magic = [number for number, part in enumerate(path.parts) if glob.has_magic(part)]
    return (Path(*path.parts[: magic[0]]), "/".join(path.parts[magic[0] :])) if magic else None


def open_planes(folder: Path, pattern: str, request: Request) -> Found:
    """Return the files of a folder, or those in it that a pattern matches, as one image.

    Raises `InputError` for a folder without images or with two kinds of them, and names the first file that differs
    from most in its shape or kind of pixels.
    """
    name = f"{folder / pattern}" if pattern else str(folder)
    files = files_of(folder, pattern)
    kinds = Counter(kind_of(file) for file in files)
    if not files:
        raise InputError(_nothing(folder, pattern))
    if len(kinds) > 1 or not set(kinds) <= {TIFF, PNG}:
        told = " and ".join(tell(n, f"{kind or 'other'} file") for kind, n in kinds.items())
        raise InputError(f"{name} holds {told}; give a pattern of one kind, such as {folder}/*{files[0].suffix}")
    kind = next(iter(kinds))
    inner = Request(level=request.level, allow_missing=request.allow_missing)
    found = [open_png(file) if kind == PNG else open_tiff(file, inner) for file in files]
    first = _require_alike(name, files, found)
    if isinstance(first.source, TiffSource) and first.source.others:
        raise InputError(f"{name} is a multi-file OME-TIFF; name one of its files, such as {files[0]}")
    stacks = len(first.shape) > 2 and "s" not in first.said and first.sure
    leading = "t" if stacks and "t" not in first.said and "z" in first.said else "?"
    source = PlanesSource(folder.absolute(), pattern, kind, stamp(files))
    return Found(
        source, (len(files), *first.shape), first.dtype, (1, *first.chunks), f"{leading}{first.said}",
        leading == "t", first.spacing, first.channels, tell(len(files), "file"),
    )  # fmt: skip


def files_of(folder: Path, pattern: str) -> list[Path]:
    """Return the TIFF and PNG files of a folder, or what a pattern matches in it, in the order of their numbers."""
    if pattern:
        found = [path for path in folder.glob(pattern) if path.is_file() or path.is_symlink()]
    else:
        found = [path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS]
    return sorted((path for path in found if not path.name.startswith(".")), key=natural)


def _nothing(folder: Path, pattern: str) -> str:
    if pattern:
        return f"{folder / pattern} matches no file"
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:4]
    held = f"it holds {', '.join(others)}" if others else "it is empty"
    return f"{folder} is a folder without TIFF or PNG files, and no OME-Zarr; {held}"


def _require_alike(name: str, files: list[Path], found: list[Found]) -> Found:
    """Return the first of most files; raise `InputError` that names the first that differs from them."""
    looks = [(one.shape, one.dtype) for one in found]
    usual = Counter(looks).most_common(1)[0][0]
    for file, look in zip(files, looks, strict=True):
        if look != usual:
            told = [f"{' x '.join(map(str, shape))} {dtype}" for shape, dtype in (look, usual)]
            raise InputError(f"{name}: {file.name} is {told[0]}, but most of its {len(files)} files are {told[1]}")
    return found[0]
