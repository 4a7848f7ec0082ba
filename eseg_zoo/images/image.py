"""An image that knows its axes and is read a region at a time, wherever its pixels are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError, TooLittleMemoryError

AXES = ("t", "c", "z", "y", "x")

_LONGEST = 300  # characters of what a library says of a file
_PACKAGE = __name__.partition(".")[0]

# Micrometres of the length units that OME-NGFF names (from UDUNITS-2), as far as a microscope sees.
UNITS = {"angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3}


@dataclass(frozen=True)
class Spacing:
    """Where the pixels of one axis are: at `translation + scale * index`, in `unit` (None: not stated)."""

    scale: float = 1.0
    translation: float = 0.0
    unit: str | None = None

    @property
    def micrometres(self) -> float | None:
        """Micrometres per pixel, where a unit of length is stated."""
        return self.scale * UNITS[self.unit] if self.unit in UNITS else None

    def moved(self, pixels: int) -> Spacing:
        """Return where the pixels are of what begins so many pixels later."""
        return replace(self, translation=self.translation + self.scale * pixels)


class Source(Protocol):
    """Where the pixels of an image are: a small frozen dataclass that travels to other processes.

    It is hashable, and two sources of the same pixels are equal; a file that has changed gives another one.
    """

    def __hash__(self) -> int: ...

    def open(self) -> Any:
        """Return an array-like with `shape`, `dtype` and slices; `read` keeps it open in each process."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What reading a damaged file of this kind raises; anything else is a fault of this package."""

    @property
    def kept(self) -> bool:
        """Whether a process keeps the open array between reads: files are, arrays in memory belong to the caller."""

    @property
    def identity(self) -> str:
        """What tells these pixels from all others, the same in every process: path, place inside, size, time."""


class StoredSource:
    """What sources in files share: their fields state path, place inside, size and time, and they are kept open."""

    @property
    def kept(self) -> bool:
        """A process keeps it open between reads."""
        return True

    @property
    def identity(self) -> str:
        """All fields."""
        return repr(self)


@runtime_checkable
class SparseSource(Source, Protocol):
    """A source that knows which of its chunks were written."""

    def absent_value(self, where: tuple[slice, ...]) -> np.generic | None:
        """Return the value of all pixels of a part none of whose chunks was written; None where some were."""


@dataclass(frozen=True)
class Image:
    """A lazily opened image. It is small enough to travel with every task; each process opens it by itself."""

    source: Source
    name: str  # what messages call it: its path, or `images[0]` for an array
    axes: str  # of the stored array, in its order: letters of `AXES`
    shape: tuple[int, ...]  # in the order of `axes`
    dtype: np.dtype[Any]  # in the machine's byte order
    chunks: tuple[int, ...]  # what is decoded at once, in the order of `axes`
    spacing: tuple[Spacing, ...]  # of each axis, in the order of `axes`
    channels: tuple[str, ...] = ()  # names of the channels; none where nothing states them
    stated_axes: str = ""  # the axes that the file itself states, in its order; '' where it states none
    where: str = ""  # what was read of several in the file: a level, an HDF5 dataset, an image; '' where there is one

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every axis of `AXES`; 1 for those that the image lacks."""
        return dict.fromkeys(AXES, 1) | dict(zip(self.axes, self.shape, strict=True))

    @property
    def chunk_sizes(self) -> dict[str, int]:
        """Length of a chunk along every axis of `AXES`."""
        return dict.fromkeys(AXES, 1) | dict(zip(self.axes, self.chunks, strict=True))

    @property
    def voxel_size(self) -> dict[str, float]:
        """Micrometres per voxel for the spatial axes that state them; a size of 0 or less states none."""
        stated = {axis: spacing.micrometres for axis, spacing in zip(self.axes, self.spacing, strict=True)}
        return {axis: size for axis, size in stated.items() if axis in "zyx" and size is not None and 0 < size < inf}

    @property
    def fingerprint(self) -> str:
        """A digest of the input: another file, part, size, time stamp or understanding of it gives another one."""
        return digest(self.source.identity, self.axes, self.shape, self.dtype.str)

    def read(self, region: Mapping[str, slice] | None = None) -> NDArray[np.generic]:
        """Return the pixels of a region, (t, c, z, y, x); axes that `region` lacks are read whole.

        The slices have a start and a stop within the image and no step. Raises `InputError` where the file cannot be
        read.
        """
        region = region or {}
        where = self._where(region)
        with self._damage_told(region):
            array = _opened(self.source) if self.source.kept else self.source.open()
            found = np.asarray(array[where])
        order, expanded = _layout(self.axes)
        pixels: NDArray[np.generic] = found.astype(self.dtype, copy=False).transpose(order)[expanded]
        return pixels

    def absent_value(self, region: Mapping[str, slice]) -> np.generic | None:
        """Return the value of all pixels of a region that was never written; None where it was, or nobody knows.

        Raises `InputError` where the file cannot be read.
        """
        if not isinstance(self.source, SparseSource):
            return None
        with self._damage_told(region):
            return self.source.absent_value(self._where(region))

    @contextmanager
    def _damage_told(self, region: Mapping[str, slice]) -> Iterator[None]:
        """Turn what a library raises for a damaged file into one `InputError` with the place."""
        try:
            yield
        except MemoryError as error:
            raise TooLittleMemoryError(
                f"{self.name} cannot be read{_tell_place(region)} as the memory is too small: {first_line(error)}"
            ) from error
        except self.source.failures as error:
            if is_ours(error):
                raise
            raise InputError(f"{self.name} cannot be read{_tell_place(region)}: {first_line(error)}") from error

    def _where(self, region: Mapping[str, slice]) -> tuple[slice, ...]:
        """Return a region as slices of the stored array."""
        return tuple(region.get(axis, slice(0, n)) for axis, n in zip(self.axes, self.shape, strict=True))

    def describe(self) -> str:
        """Return what was understood, such as `14 slices of 1024 x 1024, 1 channel, uint8, 50 x 4.6 x 4.6 nm`."""
        sizes = self.sizes
        counts = [(sizes["t"], "frame"), (sizes["z"], "slice")]
        parts = [tell(count, what) for count, what in counts if count > 1]
        plane = f"{sizes['y']} x {sizes['x']}"
        parts = [f"{' of '.join([*parts, plane])}" if parts else plane, tell(sizes["c"], "channel"), str(self.dtype)]
        return ", ".join([*parts, *filter(None, [tell_voxel_size(self.voxel_size)])])


def _tell_place(region: Mapping[str, slice]) -> str:
    """Return ` at z 0-3, y 0-99` of a region, '' of the whole image."""
    place = ", ".join(f"{axis} {part.start}-{part.stop - 1}" for axis, part in region.items())
    return f" at {place}" if place else ""


@lru_cache
def _layout(axes: str) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Return how an array with these axes becomes one of `AXES`: in which order, and indexed by what."""
    order = tuple(axes.index(axis) for axis in AXES if axis in axes)
    return order, tuple(slice(None) if axis in axes else None for axis in AXES)


@lru_cache(maxsize=64)
def _opened(source: Source) -> Any:
    """Return the open array of a source; a process keeps those that it read last."""
    return source.open()


if hasattr(os, "register_at_fork"):  # an open file has one position for parent and child
    os.register_at_fork(after_in_child=_opened.cache_clear)


def digest(*parts: object) -> str:
    """Return a short hexadecimal digest of what `parts` say."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def is_ours(error: BaseException) -> bool:
    """Say whether code of this package made a mistake, other than a library that stumbles over a damaged file.

    Both raise `TypeError` and the like; they differ in the function that raised. An `OSError` is never ours.
    """
    if isinstance(error, OSError):
        return False
    last: TracebackType | None = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    return last is not None and str(last.tb_frame.f_globals.get("__name__", "")).startswith(f"{_PACKAGE}.")


def tell(count: int, what: str) -> str:
    """Return `1 channel` or `2 channels`."""
    return f"{count} {what}{'s' * (count != 1)}"


def tell_voxel_size(sizes: Mapping[str, float]) -> str:
    """Return sizes in micrometres as `50 x 4.6 x 4.6 nm`, equal ones once; nothing where none is known."""
    known = [sizes[axis] for axis in "zyx" if axis in sizes]
    if not known:
        return ""
    factor, unit = (1e3, "nm") if min(known) < 0.1 else (1.0, "µm")
    texts = [f"{size * factor:.4g}" for size in known]
    return f"{texts[0] if len(set(texts)) == 1 else ' x '.join(texts)} {unit}"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name; of a long one the beginning."""
    lines = (str(getattr(error, "strerror", None) or error)).strip().splitlines() or [type(error).__name__]
    line = "".join(letter if letter.isprintable() else "?" for letter in lines[0])
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
