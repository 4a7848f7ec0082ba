"""Writing results so that nothing is overwritten unasked and nothing half-written is ever seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eseg_zoo.errors import OutputError


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputError` when `path` exists and `force` is not set."""
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; give --force to replace it")


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents; raises `OutputError` when it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder} cannot be written to")


@contextmanager
def replacing(path: Path, *, force: bool) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; it is renamed to `path` at the end, or removed on failure.

    Raises `OutputError` when `path` exists and `force` is not set, and for a full disk or an unwritable folder.
    """
    refuse_existing(path, force=force)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # keeps the suffix, which writers go by
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it was renamed, or never made
            temporary.unlink()


def unfinished(target: Path) -> Path:
    """Return the name beside `target` that a result has until it is finished."""
    return target.with_name(f"{target.name}.partial")


def discard(path: Path) -> None:
    """Remove a file or folder that may be there; raises `OutputError` when that fails."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror}") from error
