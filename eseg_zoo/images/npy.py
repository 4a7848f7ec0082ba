"""NPY files: a memory map of the array in them. Objects are never unpickled."""

from __future__ import annotations

import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.files import require_unchanged, stamp
from eseg_zoo.images.found import Found, rows
from eseg_zoo.images.image import StoredSource, first_line


@dataclass(frozen=True)
class NpySource(StoredSource):
    """The array in an NPY file."""

    path: Path
    stamp: str

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What NumPy raises for a file that is damaged, or holds objects."""
        return (OSError, ValueError, EOFError, SyntaxError, TypeError, LookupError, OverflowError, RecursionError,
                tokenize.TokenError)  # fmt: skip

    def open(self) -> Any:
        """Return a memory map."""
        require_unchanged([self.path], self.stamp)
        return np.load(self.path, mmap_mode="r", allow_pickle=False)


def open_npy(path: Path) -> Found:
    """Return the array in an NPY file; raises `InputError` for a damaged one, and for one that holds objects."""
    source = NpySource(path.absolute(), stamp([path]))
    try:
        array = source.open()
    except source.failures as error:
        raise InputError(f"{path} is not a readable NPY file: {first_line(error)}") from error
    return Found(source, array.shape, array.dtype, rows(array.shape))
