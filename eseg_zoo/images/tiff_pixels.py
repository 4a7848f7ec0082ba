"""The pixels of a TIFF file: tifffile parses it, memory maps and Zarr stores of tifffile read regions of it."""

from __future__ import annotations

import logging
import struct
import threading
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.files import require_unchanged
from eseg_zoo.images.image import StoredSource, first_line, is_ours
from eseg_zoo.images.stack import Stack

log = logging.getLogger(__name__)

# What tifffile stumbles over in damaged files. Its decoders raise RuntimeError; our own mistakes are told apart by
# `is_ours`.
DAMAGE = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError, RuntimeError, AttributeError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class TiffSource(StoredSource):
    """Images of a TIFF file: one, several alike along a leading axis, or all its pages as one stack."""

    path: Path
    stamp: str
    others: str = ""  # a digest of the other files of a set
    images: tuple[int, ...] = ()  # numbers of tifffile's series; none for the pages
    pages: tuple[int, ...] = ()
    level: int = 0
    stacked: bool = False  # whether the images lie along a leading axis, even if there is one
    described: bool = True  # whether the OME description is understood; else the pages are read as they are

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What tifffile, zarr and the decoders raise."""
        return DAMAGE

    def open(self) -> Any:
        """Return a memory map where the pixels lie uncompressed in one piece, else a Zarr array that decodes them."""
        require_unchanged([self.path], self.stamp)
        tiff = _opened(self.path, described=self.described)
        try:
            with _listening(self.path):  # what it says was heard when the file was looked through
                array = self._array(tiff)
        except BaseException:
            tiff.close()
            raise
        weakref.finalize(array, tiff.close)  # when no thread reads it any more
        return array

    def _array(self, tiff: tifffile.TiffFile) -> Any:
        if self.pages:
            return Stack(lambda number: _page_pixels(tiff, self.pages[number]), len(self.pages))
        if self.stacked:
            parts = [_pixels(tiff, tiff.series[number], self.level) for number in self.images]
            return Stack(parts.__getitem__, len(parts))
        return _pixels(tiff, tiff.series[self.images[0]], self.level)


def _opened(path: Path, *, described: bool) -> tifffile.TiffFile:
    return tifffile.TiffFile(path, is_ome=None if described else False)


def _pixels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, level: int) -> Any:
    chosen = series.levels[level]
    if lies_in_one_piece(chosen):
        return _mapped(tiff, chosen.dataoffset, chosen.shape, chosen.dtype)
    empty_beyond_end(chosen)
    return zarr.open_array(series.aszarr(level=level), mode="r")


def _page_pixels(tiff: tifffile.TiffFile, number: int) -> Any:
    page = tiff.pages[number].aspage()
    if page.is_memmappable:
        return _mapped(tiff, page.dataoffsets[0], page.shape, page.dtype)
    return zarr.open_array(page.aszarr(), mode="r")


def _mapped(tiff: tifffile.TiffFile, offset: int | None, shape: tuple[int, ...], dtype: Any) -> Any:
    stored = np.dtype(dtype).newbyteorder(tiff.byteorder)
    return np.memmap(tiff.filehandle.path, dtype=stored, mode="r", offset=offset or 0, shape=shape)


def lies_in_one_piece(series: tifffile.TiffPageSeries) -> bool:
    """Say whether a series lies uncompressed in one piece of its file, and whole."""
    if series.is_multifile or series.transform is not None or not series.keyframe.is_memmappable:
        return False
    if series.dataoffset is None:
        return False
    return series.dataoffset + series.nbytes <= series.keyframe.parent.filehandle.size


def empty_beyond_end(series: tifffile.TiffPageSeries) -> None:
    """Let strips and tiles that lie beyond the end of the file be absent ones, which are read as empty."""
    for page in series:
        if page is not None and (absent := absent_parts(page)).any():
            counts = np.resize(page.databytecounts, len(absent))
            page.databytecounts = tuple(np.where(absent, 0, counts).tolist())


def absent_parts(page: tifffile.TiffPage | tifffile.TiffFrame) -> NDArray[np.bool_]:
    """Return which strips or tiles of a page have no offset in the file, or one that is beyond its end."""
    stated = min(len(page.dataoffsets), len(page.databytecounts))
    offsets = np.asarray(page.dataoffsets[:stated], np.float64)  # exact up to 9 petabytes, and never overflows
    counts = np.asarray(page.databytecounts[:stated], np.float64)
    absent = (offsets <= 0) | (counts <= 0) | (offsets + counts > page.parent.filehandle.size)
    return np.concatenate([absent, np.ones(max(0, len(page.dataoffsets) - stated), bool)])


@contextmanager
def reading_tiff(path: Path, *, described: bool = True) -> Iterator[tifffile.TiffFile]:
    """Yield the open file; whatever tifffile stumbles over, or only logs, becomes an `InputError`.

    Without `described` an OME-TIFF is read as a TIFF. Broken XML, which tifffile logs, is not damage.
    """
    with _listening(path) as complaints:
        try:
            with _opened(path, described=described) as tiff:
                len(tiff.pages)  # walks all of them; where they form a circle tifffile logs it, and would look for ever
                if complaints:
                    raise InputError(f"{path} is damaged: {complaints[0]}")
                yield tiff
        except tifffile.TiffFileError as error:
            raise InputError(f"{path} is not a readable TIFF file: {first_line(error)}") from error
        except DAMAGE as error:
            if is_ours(error):
                raise
            raise InputError(f"{path} is damaged: {first_line(error)}") from error
    if complaints:  # a truncated stack would otherwise pass for its first plane
        raise InputError(f"{path} is damaged: {complaints[0]}")


@contextmanager
def _listening(path: Path) -> Iterator[list[str]]:
    """Yield a list that gets the errors that tifffile logs in this thread; its warnings are checked for elsewhere."""
    complaints: list[str] = []
    thread = threading.get_ident()

    def note(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        if record.levelno >= logging.ERROR and "OME series raised" not in record.getMessage():
            complaints.append(record.getMessage())
        else:
            log.debug("%s: %s", path, record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(note)
    try:
        yield complaints
    finally:
        logger.removeFilter(note)
