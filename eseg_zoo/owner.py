"""One owner for a result: the process that writes it, told by a lock file beside it.

A lock says which process of which machine made it, and has a random token. It is looked at before each write, as a
person may remove it. That of a process of this machine that is gone is taken over; of another machine nobody can tell.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from eseg_zoo.errors import OutputError
from eseg_zoo.hidden import fitting, followed, hidden, is_running, machine

_KIND = "eseg_zoo lock"
_LARGEST = 4096  # bytes that are read of what may be a lock
_TRIES = 20  # where several take over one lock


@dataclass(frozen=True)
class Owner:
    """The right to write one result; it travels to the workers that help with it."""

    path: Path  # of the result
    lock: Path
    token: str

    def require(self) -> None:
        """Raise `OutputError` when the lock was removed or is that of another process."""
        if (_read(self.lock) or {}).get("token") != self.token:
            raise OutputError(
                f"{self.path} is not written any more, as {self.lock.name} was removed or taken over by another command"
            )


@contextmanager
def owning(path: Path, *, by: str = "another command", advice: str = "wait for it or end it") -> Iterator[Owner]:
    """Hold the lock of the result `path`, whose folder exists, while the context lasts.

    `by` and `advice` are what is told of another process of this machine that holds it.

    Raises `OutputError`, in one line, while another process holds it, and where the folder cannot be written to.
    """
    path = followed(path)
    owner = Owner(path, _lock_of(path), secrets.token_hex(8))
    try:
        _acquire(owner, by, advice)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        yield owner
    finally:
        if (_read(owner.lock) or {}).get("token") == owner.token:
            with suppress(OSError):  # the disk is gone
                owner.lock.unlink()


def _lock_of(path: Path) -> Path:
    return path.with_name(fitting(path.name, before=".", after=".lock"))


def _acquire(owner: Owner, by: str, advice: str) -> None:
    process = os.getpid()
    stated = {
        "kind": _KIND, "machine": machine(), "host": platform.node(), "process": process,
        "started": psutil.Process(process).create_time(), "token": owner.token,
    }  # fmt: skip
    for _ in range(_TRIES):
        try:
            _create(owner.lock, json.dumps(stated))
            return
        except FileExistsError:
            found = _read(owner.lock)
            if found is not None:
                _refuse_held(owner, found, by, advice)
                _remove(owner.lock, found)
    raise OutputError(f"several commands want to write {owner.path} at once; run one of them")


def _create(lock: Path, content: str) -> None:
    """Make the file with its content at once; raises `FileExistsError` where anything is there."""
    with hidden(lock) as new:
        new.write_text(content, encoding="utf-8")
        try:
            os.link(new, lock)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            with lock.open("x", encoding="utf-8") as file:
                file.write(content)


def _read(lock: Path) -> dict[str, Any] | None:
    """Return what a lock says, {} for what is no lock of ours, None where nothing is there."""
    try:
        if not lock.is_symlink() and not lock.is_file():
            return {} if lock.exists() else None
        with lock.open("rb") as file:
            found = json.loads(file.read(_LARGEST))
    except FileNotFoundError:
        return {} if lock.is_symlink() else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("kind") == _KIND else {}


def _refuse_held(owner: Owner, found: dict[str, Any], by: str, advice: str) -> None:
    """Raise `OutputError` unless the lock is that of a process of this machine that is gone."""
    process, host, started = found.get("process"), found.get("host"), found.get("started")
    if not isinstance(process, int) or not isinstance(started, (int, float)):
        raise OutputError(
            f"{owner.lock} is in the way of {owner.path.name}, and no lock of eseg_zoo; move it elsewhere"
        )
    if found.get("machine") != machine():
        raise OutputError(
            f"{owner.path} is being written by process {process} on {host!s:.80}; if that is gone, remove {owner.lock}"
        )
    if is_running(process, started):
        raise OutputError(f"{owner.path} is being written by {by}, process {process}; {advice}")


def _remove(lock: Path, found: dict[str, Any]) -> None:
    """Remove the lock that said this; one that another process has made meanwhile is put back."""
    with hidden(lock) as aside, suppress(OSError):  # another process was faster
        os.rename(lock, aside)
        if (_read(aside) or {}).get("token") != found.get("token"):
            os.link(aside, lock)
