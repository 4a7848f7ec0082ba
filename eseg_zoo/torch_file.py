"""Files of torch, read without executing anything in them: plain containers, numbers, strings and tensors."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch

from eseg_zoo.errors import CheckpointError
from eseg_zoo.paths import missing

# What torch and zipfile raise for damaged files.
_DAMAGE = (
    OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def read_torch(file: Path | bytes, name: str) -> Any:
    """Return what a file of torch holds, at a path or in memory; `name` is what messages call it.

    Raises `CheckpointError` for anything else, and for a file that holds code.
    """
    try:
        with BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
            _refuse_damaged_zip(opened, name)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")  # of a file that is then refused
                return torch.load(opened, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(missing(Path(name))) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{name} is not an eseg_zoo checkpoint, or holds code, which is never executed"
        ) from error
    except PermissionError as error:
        raise CheckpointError(f"{name} cannot be opened: {error.strerror}") from error
    except _DAMAGE as error:
        raise CheckpointError(f"{name} is not an eseg_zoo checkpoint, or is truncated") from error


def _refuse_damaged_zip(file: IO[bytes], name: str) -> None:
    """Raise `CheckpointError` where a file's content does not fit its checksums, which torch does not compare.

    So it does for content that is compressed, which torch never writes: a small file could fill the memory.
    """
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return
    with zipfile.ZipFile(file) as content:
        entries = content.infolist()
        sizes = sum(entry.file_size for entry in entries)
        whole = file.seek(0, 2)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sizes > whole:
            raise CheckpointError(f"{name} is not an eseg_zoo checkpoint: its content is compressed")
        if content.testzip():
            raise CheckpointError(f"{name} is damaged: its content does not fit its checksums")
    file.seek(0)
