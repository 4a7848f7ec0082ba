"""Hidden names beside a result, for what is not finished: they tell which process made them.

A hidden name is `.eseg-MACHINE-PROCESS-RANDOM.NAME`. What a process left that was killed is removed by the next one
that writes the same result, and nothing else ever is.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import psutil

from eseg_zoo.errors import OutputError

LONGEST_NAME = 255  # bytes, of ext4, XFS, APFS and NTFS
_HIDDEN = re.compile(r"\.eseg-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.(?P<name>.*)", re.DOTALL)
_HIDDEN_BYTES = 40  # that the beginning of such a name takes at most
_SAME_START = 60.0  # seconds that the start of one process may seem to move by, as clocks are set

_in_use: set[Path] = set()  # hidden names of this process


def fitting(name: str, *, before: str = "", after: str = "", room: int = LONGEST_NAME) -> str:
    """Return `before + name + after` in at most `room` bytes.

    Of a name that is too long the end of its stem is replaced by a digest of the name, so that two stay two.
    """
    raw = os.fsencode(name)
    room -= len(os.fsencode(before + after))
    if len(raw) > room:
        suffix = os.fsencode("".join(Path(name).suffixes[-2:]))
        suffix = suffix if len(suffix) <= 16 else b""
        end = b"~" + hashlib.sha256(raw).hexdigest()[:12].encode() + suffix
        name = (raw[: room - len(end)] + end).decode("utf-8", "ignore")
    return f"{before}{name}{after}"


def followed(path: Path) -> Path:
    """Return where a result goes: `path`, or what it is a link to, which so stays a link."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path.absolute()


@lru_cache
def machine() -> str:
    """Return eight hexadecimal digits that tell where the number of a process means something.

    That is a machine, or a container on one: they may share their name and their disk, but not their processes.
    """
    space = Path("/proc/self/ns/pid")
    try:
        number = os.readlink(space)
    except OSError:  # not Linux
        number = ""
    return hashlib.sha256(f"{platform.node()} {number}".encode("utf-8", "surrogateescape")).hexdigest()[:8]


def is_running(process: int, started: float | None = None) -> bool:
    """Say whether a process of this machine runs; `started`, seconds since 1970, tells it from a later namesake."""
    try:
        found = psutil.Process(process)
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        return started is None or abs(found.create_time() - started) < _SAME_START
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OverflowError, ValueError):
        return False


@contextmanager
def hidden(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path` that nothing has; a file or folder that has it at the end is removed.

    What processes of this machine that are gone left of the same `path` is removed first. The name ends as that of
    `path`, for writers go by the suffix.
    """
    _clear_leftovers(path)
    before = f".eseg-{machine()}-{os.getpid()}-{secrets.token_hex(4)}."
    temporary = path.with_name(before + _end_of_hidden(path))
    _in_use.add(temporary)
    try:
        yield temporary
    finally:
        with suppress(OutputError, OSError):  # the disk is gone
            discard(temporary)
        _in_use.discard(temporary)


def _end_of_hidden(path: Path) -> str:
    return fitting(path.name, room=LONGEST_NAME - _HIDDEN_BYTES)


def _clear_leftovers(path: Path) -> None:
    """Remove the hidden files and folders that dead processes of this machine left beside `path` for it."""
    end = _end_of_hidden(path)
    try:
        names = os.listdir(path.parent)
    except OSError:
        return
    for name in names:
        found = _HIDDEN.fullmatch(name)
        if not found or found["name"] != end or found["machine"] != machine():
            continue
        process, left = int(found["process"]), path.with_name(name)
        is_used = left in _in_use if process == os.getpid() else is_running(process)
        if not is_used:
            with suppress(OutputError, OSError):  # another one removes it at the same time, or it is not allowed
                discard(left)


def discard(path: Path) -> None:
    """Remove a file or folder that may be there; raises `OutputError` when that fails."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror}") from error
