"""Writing results so that nothing is overwritten unasked, nothing half-written is seen, and nothing is left over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eseg_zoo.errors import OutputError
from eseg_zoo.hidden import discard, fitting, followed, hidden
from eseg_zoo.owner import Owner, owning

__all__ = [
    "Owner", "clear_unfinished", "discard", "fitting", "followed", "hidden", "make_folder", "owning", "refuse_existing",
    "refuse_inputs",
    "refuse_other_than_file", "replacing", "unfinished",
]  # fmt: skip


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputError` when `path` exists and `force` is not set, and for a name that no disk can hold."""
    try:
        path.lstat()
        there = path.exists()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:  # too long, not to be looked at, a character that no name has
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    if there and not force:
        raise OutputError(f"{path} exists already; give --force to replace it")


def refuse_other_than_file(path: Path) -> None:
    """Raise `OutputError` for what a file never replaces, not even by force: a folder, a device, a pipe."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise OutputError(f"{path} is {kind}, which a file never replaces; give another name")


def refuse_inputs(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise `OutputError` for a target that is one of the inputs, lies in one, or has one in it."""
    read = [Path(os.path.realpath(one)) for one in inputs]
    for target in targets:
        real = Path(os.path.realpath(target))
        for one in read:
            if real == one:
                raise OutputError(f"{target} is an input of this command, which it never replaces; give another name")
            if one in real.parents or real in one.parents:
                where = "lies in" if one in real.parents else "has in it"
                raise OutputError(f"{target} {where} {one}, an input of this command; write it elsewhere")


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents; raises `OutputError` when it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder} cannot be made: {getattr(error, 'strerror', None) or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):  # a folder may be written to that may not be entered
        raise OutputError(f"{folder} cannot be written to")


@contextmanager
def replacing(path: Path, *, force: bool) -> Iterator[Path]:
    """Yield a hidden name beside `path` to write to; it is renamed to `path` at the end, or removed on failure.

    A `path` that is a link stays one: what it leads to is replaced. Raises `OutputError` when `path` exists and `force`
    is not set, when it is a folder or a device, and for a full disk or an unwritable folder.
    """
    refuse_existing(path, force=force)
    refuse_other_than_file(path)
    target = followed(path)
    with hidden(target) as temporary:
        try:
            yield temporary
            os.replace(temporary, target)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def unfinished(target: Path) -> Path:
    """Return the name beside `target` that a result has until it is finished."""
    return target.with_name(fitting(target.name, after=".partial"))


def clear_unfinished(path: Path) -> None:
    """Remove what a process of this machine that was killed left beside `path`: its lock, and its hidden files."""
    with suppress(OutputError), owning(path), hidden(followed(path)):
        pass
