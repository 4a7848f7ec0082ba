"""Files as they lie on disk: what kind they are by their first bytes, their order, and whether they have changed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import digest, first_line
from eseg_zoo.paths import kind_by_beginning, missing


def kind_of(path: Path) -> str:
    """Return the kind of a file by its first bytes, '' for an unknown one.

    Raises `InputError` that says why for a file that is missing, is a broken link, is empty, or may not be read.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(16)
    except FileNotFoundError as error:
        raise InputError(missing(path)) from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {first_line(error)}") from error
    if not beginning:
        raise InputError(f"{path} is empty, 0 bytes")
    return kind_by_beginning(beginning)


def require_existing(path: Path) -> None:
    """Raise `InputError` unless there is a file or folder at `path`; a broken link is called one."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(missing(path)) from error
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
