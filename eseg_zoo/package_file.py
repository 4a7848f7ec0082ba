"""A package of the BioImage Model Zoo: read in memory and checked, whoever made it; nothing in it is run or unpacked.

A package may be damaged, or made to do harm. Its size is bounded before it is read, names that lead elsewhere and links
are refused, and a file is handed out only where its content has the checksum that the description states.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor

from eseg_zoo.errors import CheckpointError, ConfigError, shown
from eseg_zoo.paths import DESCRIPTIONS, PACKAGE, described
from eseg_zoo.yaml_file import mapping_of

STATE = "eseg_zoo.pt"
"""The attachment that makes a package one of ours: all of a checkpoint that the package does not hold anyway."""

# Weights can hardly be compressed. A package may unpack to so many times its size, beyond what nobody notices.
_EXPANSION, _ALWAYS = 100, 64 << 20
_FILES = 10_000
_LIKE_A_DESCRIPTION = (*DESCRIPTIONS, "model.yaml")  # bioimageio.spec also reads `NAME.rdf.yaml` and so on
_ENCRYPTED = 1  # of the flags of an entry

# What the standard library raises for zips that are damaged, or packed in a way that it does not know.
_UNREADABLE = (
    OSError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, NotImplementedError, ValueError,
    LookupError,
)  # fmt: skip


@dataclass(frozen=True)
class PackageFile:
    """An opened package: its description, and the checksum that this states of each file."""

    path: Path
    rdf: Mapping[str, Any]
    checksums: Mapping[str, str]  # file name -> sha256; where none is stated the file is missing here

    @classmethod
    def open(cls, path: Path) -> PackageFile:
        """Return the package at `path`; raises `CheckpointError` where it is damaged or not to be trusted."""
        with _opened(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(_LIKE_A_DESCRIPTION)]
            name = next((name for name in DESCRIPTIONS if name in names), None)
            if name is None or len(names) > 1:  # of several, others may read another one
                raise CheckpointError(f"{path} must have one {DESCRIPTIONS[0]} in it; it has {shown(names)}")
            content = archive.read(name)
        try:
            rdf = mapping_of(content, f"{path}: {name}", hint="the description of a model")
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        return cls(path, rdf, dict(_checksums(rdf)))

    @property
    def is_ours(self) -> bool:
        """Whether it holds what `eseg export` writes for going on with the model."""
        return STATE in self.checksums

    def read(self, name: object) -> bytes:
        """Return the content of a file; raises `CheckpointError` unless it is there and as the description says."""
        if not isinstance(name, str) or name not in self.checksums:
            raise CheckpointError(f"{self.path} states no sha256 of {shown(name)}, so it cannot be checked")
        with _opened(self.path) as archive:
            if name not in archive.namelist():
                raise CheckpointError(f"{self.path} lacks {shown(name)}, which its description names")
            content = archive.read(name)
        if sha256(content).hexdigest() != self.checksums[name]:
            raise CheckpointError(
                f"{self.path}: {name} has another sha256 than its description says: it is damaged, or was changed"
            )
        return content

    @property
    def refusal(self) -> str:
        """What to say where a package of others is to be trained, judged or exported."""
        if isinstance(self.at("config", "eseg"), dict):
            return (
                f"{self.path} was exported by an earlier version, without what training needs: it can be applied "
                "(eseg predict); for all else give the model.pt that it was made of"
            )
        return (
            f"{self.path} is a package of other software: it can be applied (eseg predict), but not trained, judged or "
            "exported, as it holds nothing but a network that is run as it is"
        )

    def at(self, *keys: str | int) -> Any:
        """Return what the description says at these keys; None where it says nothing."""
        found: Any = self.rdf
        for key in keys:
            is_there = key in found if isinstance(found, dict) else isinstance(found, list) and key in range(len(found))
            if not is_there:
                return None
            found = found[key]
        return found


def is_package(path: Path) -> bool:
    """Say whether a package of the zoo lies at `path`, by its content."""
    return described(path) == PACKAGE


class _opened:  # noqa: N801  a context manager that is used as a function
    """Open a zip whose names and sizes are harmless; what else is wrong with it is a `CheckpointError` too."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self.archive = zipfile.ZipFile(self.path)
        except _UNREADABLE as error:
            raise self._damaged(error) from error
        try:
            _refuse_harm(self.path, self.archive.infolist())
        except CheckpointError:
            self.archive.close()
            raise
        return self.archive

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.archive.close()
        if isinstance(error, _UNREADABLE):
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException) -> CheckpointError:
        return CheckpointError(f"{self.path} is a damaged package: {' '.join(str(error).split()) or 'it is cut off'}")


def _refuse_harm(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise `CheckpointError` for a zip that would fill the memory, or with a file that is none or lies elsewhere."""
    allowed = _ALWAYS + _EXPANSION * path.stat().st_size
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > allowed or len(entries) > _FILES:
        raise CheckpointError(
            f"{path} would unpack to {len(entries)} files of {unpacked} bytes, of which a package of its size has "
            f"{_FILES} and {allowed} at most"
        )
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        parts = name.removesuffix("/").split("/")
        if "\\" in name or ":" in name or not name.isprintable() or any(part in ("", ".", "..") for part in parts):
            raise CheckpointError(f"{path} has a file in it whose name leads elsewhere: {shown(name)}")
        if name in seen:
            raise CheckpointError(f"{path} has {shown(name)} in it more than once")
        seen.add(name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise CheckpointError(f"{path} has {shown(name)} in it, which is a link or a device, not a file")
        if entry.flag_bits & _ENCRYPTED:
            raise CheckpointError(f"{path} has {shown(name)} in it, which is encrypted")


def _checksums(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every file that a description names together with its sha256."""
    if isinstance(value, dict):
        name, checksum = value.get("source"), value.get("sha256")
        if isinstance(name, str) and isinstance(checksum, str):
            yield name, checksum
        for item in value.values():
            yield from _checksums(item)
    elif isinstance(value, list):
        for item in value:
            yield from _checksums(item)


def read_sample(content: bytes, shape: Sequence[int], dtype: str) -> Tensor:
    """Return the image (c, *space) of this shape that a package's TIFF begins with; it may be larger along each axis.

    Raises `ValueError` for another file, and for one that would take more memory than its size.
    """
    channels, *space = (int(length) for length in shape)
    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            series = file.series[0]
            if series.nbytes > len(content) or any(page.compression != 1 for page in series.pages if page is not None):
                raise ValueError("it is compressed")
            stored = series.asarray()
    except (*_UNREADABLE, TypeError, AttributeError) as error:  # tifffile's own is a ValueError
        raise ValueError(" ".join(str(error).split()) or "it is damaged") from error
    if len(space) == 3:  # ImageJ has z before c
        image = stored.reshape(-1, channels, *stored.shape[-2:]).swapaxes(0, 1)
    else:
        image = stored.reshape(channels, *stored.shape[-2:])
    image = image[(slice(None), *(slice(0, length) for length in space))]
    if image.shape != (channels, *space):
        raise ValueError(f"it has the shape {image.shape}, not {(channels, *space)}")
    return torch.from_numpy(np.array(image, dtype, order="C"))
