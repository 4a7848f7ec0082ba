"""Files as they lie on disk: what kind they are by their first bytes, their order, and whether they have changed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import digest, first_line

TIFF, PNG, NPY, HDF5 = "TIFF", "PNG", "NPY", "HDF5"

_BEGINNINGS = {
    b"II*\0": TIFF, b"MM\0*": TIFF, b"II+\0": TIFF, b"MM\0+": TIFF, b"\x89PNG": PNG, b"\x93NUMPY": NPY,
    b"\x89HDF\r\n": HDF5, b"\xff\xd8\xff": "JPEG", b"PK\3\4": "ZIP", b"\x1f\x8b": "gzip", b"GIF8": "GIF", b"BM": "BMP",
    b"ZISRAWFILE": "CZI", b"\xda\xce\xbe\x0a": "ND2", b"\x70\0\0\0": "LIF",
    b"\0\0\0\x0cjP": "JPEG 2000", b"%PDF": "PDF",
}  # fmt: skip


def kind_of(path: Path) -> str:
    """Return the kind of a file by its first bytes, '' for an unknown one.

    Raises `InputError` that says why for a file that is missing, is a broken link, is empty, or may not be read.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(16)
    except FileNotFoundError as error:
        raise InputError(_missing(path)) from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {first_line(error)}") from error
    if not beginning:
        raise InputError(f"{path} is empty, 0 bytes")
    return next((kind for start, kind in _BEGINNINGS.items() if beginning.startswith(start)), "")


def _missing(path: Path) -> str:
    link = next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)
    return f"{path} does not exist" + (f": {link} is a link to {link.readlink()}, which is not there" if link else "")


def require_existing(path: Path) -> None:
    """Raise `InputError` unless there is a file or folder at `path`; a broken link is called one."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(_missing(path)) from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {first_line(error)}") from error


def stamp(paths: Iterable[Path]) -> str:
    """Return a digest of the names, sizes and times of the last change of files and folders."""
    found = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths]
    return digest(*found)


def require_unchanged(paths: Iterable[Path], expected: str) -> None:
    """Raise `OSError` where files are not those that `expected`, an earlier `stamp`, was made of."""
    if stamp(paths) != expected:
        raise OSError("it has changed since it was opened")


def natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts names with the numbers in them by their value: 9 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.as_posix()) if part]
