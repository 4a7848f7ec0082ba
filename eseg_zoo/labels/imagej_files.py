"""Where ImageJ keeps ROIs: a file each, many in a ZIP, or in the metadata of a TIFF. Nothing is unpacked to disk."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import tifffile

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.files import require_existing
from eseg_zoo.images.image import first_line
from eseg_zoo.images.tiff_pixels import DAMAGE
from eseg_zoo.paths import TIFF, ZIP, kind_by_beginning

_BEGINNING = b"Iout"
_METADATA = 50839  # the tag of a TIFF in which ImageJ keeps what is no pixel
# Far beyond what a person draws: a ROI, all of them unpacked, and their number.
_BYTES, _ALL_BYTES, _COUNT = 1 << 26, 1 << 29, 100_000
# What zipfile raises for damaged, encrypted and unknown files.
_ZIP_DAMAGE = (
    OSError, ValueError, LookupError, NotImplementedError, EOFError, RuntimeError, struct.error, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class RoiBytes:
    """A ROI as it is stored."""

    name: str  # of its file, without `.roi`; '' in a TIFF
    content: bytes
    channels: int = 1  # of the stack whose planes its position counts


def holds_rois(path: Path) -> bool:
    """Say whether a file is a ROI, a ZIP with one, or a TIFF with an overlay.

    A TIFF with a selection alone is none: ImageJ keeps the last selection in whatever it saves, also in label images.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(16)
        if beginning.startswith(_BEGINNING):
            return True
        kind = kind_by_beginning(beginning)
        if kind == ZIP:
            with zipfile.ZipFile(path) as archive:
                return any(_is_roi(info) for info in archive.infolist())
        return kind == TIFF and bool(_in_tiff(path)[0].get("Overlays"))
    except (*DAMAGE, *_ZIP_DAMAGE):
        return False


def rois_in(path: Path) -> Iterator[RoiBytes]:
    """Yield the ROIs in a file, of a TIFF those in its overlay, or its selection where it has none.

    Raises `InputError` for a file that cannot be read, is no file of ROIs, or takes too much memory.
    """
    require_existing(path)
    try:
        with path.open("rb") as file:
            beginning = file.read(16)
            content = file.read() if beginning.startswith(_BEGINNING) and path.stat().st_size <= _BYTES else b""
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {first_line(error)}") from error
    kind = kind_by_beginning(beginning)
    if kind == ZIP:
        yield from _in_zip(path)
    elif kind == TIFF:
        yield from _of_tiff(path)
    elif not beginning.startswith(_BEGINNING):
        raise InputError(f"{path} is no file of ImageJ ROIs: .roi, .zip, or a TIFF with an overlay")
    elif path.stat().st_size > _BYTES:
        raise InputError(f"{path} has more than {_BYTES >> 20} MiB, too many for a ROI")
    else:
        yield RoiBytes(path.stem, beginning + content)


def _is_roi(info: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(info.filename).name
    return name.lower().endswith(".roi") and not name.startswith("._")  # which macOS adds


def _in_zip(path: Path) -> Iterator[RoiBytes]:
    left = _ALL_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if _is_roi(info)]
            if not infos:
                raise InputError(f"{path} is a ZIP file without a .roi in it")
            if len(infos) > _COUNT:
                raise InputError(f"{path} holds {len(infos)} ROIs; at most {_COUNT} are read")
            for info in infos:
                left -= min(info.file_size, _BYTES + 1)
                if info.file_size > _BYTES or left < 0:
                    raise InputError(f"{path}: {shown(info.filename)} is too large for a ROI")
                with archive.open(info) as file:  # read with its size, or more than that may be unpacked at once
                    content = file.read(info.file_size)
                yield RoiBytes(PurePosixPath(info.filename).name[:-4], content)
    except _ZIP_DAMAGE as error:
        raise InputError(f"{path} is not a readable ZIP file: {first_line(error)}") from error


def _in_tiff(path: Path) -> tuple[dict[str, Any], int]:
    """Return what ImageJ keeps in a TIFF beside its pixels, and the number of channels."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags.get(_METADATA)
        found = tag.value if tag else None
        described = tiff.imagej_metadata if tiff.is_imagej else None
    channels = (described or {}).get("channels", 1)
    return found if isinstance(found, dict) else {}, channels if isinstance(channels, int) else 1


def _of_tiff(path: Path) -> Iterator[RoiBytes]:
    try:
        found, channels = _in_tiff(path)
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {first_line(error)}") from error
    rois = found.get("Overlays") or found.get("ROI") or []
    rois = [rois] if isinstance(rois, bytes) else rois
    if not rois:
        raise InputError(f"{path} is a TIFF without an overlay or a selection of ImageJ")
    for roi in rois:
        yield RoiBytes("", roi, max(1, channels))
