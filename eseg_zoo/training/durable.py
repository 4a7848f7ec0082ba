"""Files that are whole or not there, whatever ends the program or the machine: the records of a training."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eseg_zoo.errors import CheckpointError


@contextmanager
def written_whole(path: Path, *, previous: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; at the end it is on the disk, and has its name.

    It lies in the folder of `path`, so that renaming never copies. A `path` that is there becomes `previous`, if that
    is given. On failure `path` stays what it was.
    """
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):  # it was renamed, or never made
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder outlive a power cut, where the system knows how."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems refuse
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values as JSON, with a checksum of them."""
    with written_whole(path) as temporary:
        text = json.dumps({"checksum": _checksum(content), **content}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """Return what `write_record` wrote.

    Raises `CheckpointError` for anything else, `FileNotFoundError` or `NotADirectoryError` where there is nothing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.pop("checksum", None) == _checksum(content):
            return content
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    raise CheckpointError(f"{path} is damaged: its content does not fit its checksum")


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:32]
