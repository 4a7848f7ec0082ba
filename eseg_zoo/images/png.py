"""PNG files: one picture, in the numbers that are stored."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.files import require_unchanged, stamp
from eseg_zoo.images.found import Found
from eseg_zoo.images.image import StoredSource, first_line

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type: grey, RGB, indexed, grey and alpha, RGBA
_INDEXED = 3


@dataclass(frozen=True)
class PngSource(StoredSource):
    """The picture in a PNG file; an indexed one is its indices, not its colours."""

    path: Path
    stamp: str

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What Pillow and imagecodecs raise for damaged files."""
        return (OSError, ValueError, SyntaxError, RuntimeError, EOFError, struct.error, zlib.error)

    def open(self) -> Any:
        """Return the whole picture, (y, x) or (y, x, colours): PNG cannot be read in parts."""
        require_unchanged([self.path], self.stamp)
        return decode(self.path)


def open_png(path: Path) -> Found:
    """Return a PNG file; raises `InputError` for a damaged one and for an animation."""
    try:
        width, height, bits, colour, frames = _header(path)
    except (OSError, ValueError, struct.error) as error:
        raise InputError(f"{path} is not a readable PNG file: {first_line(error)}") from error
    if frames > 1:
        raise InputError(f"{path} is an animation of {frames} frames; only the first would be read. Save them as files")
    samples = _SAMPLES[colour]
    shape = (height, width, samples) if samples > 1 else (height, width)
    dtype = np.dtype(np.uint16 if bits == 16 else np.bool_ if bits == 1 and colour != _INDEXED else np.uint8)
    return Found(PngSource(path.absolute(), stamp([path])), shape, dtype, shape, "yxs"[: len(shape)])


def _header(path: Path) -> tuple[int, int, int, int, int]:
    """Return width, height, bits, colour type and the number of frames."""
    with path.open("rb") as file:
        content = file.read(33)
        width, height, bits, colour = struct.unpack(">IIBB", content[16:26])
        if content[12:16] != b"IHDR" or colour not in _SAMPLES or not width or not height:
            raise ValueError("its header is damaged")
        frames = 1
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            length = struct.unpack(">I", head[:4])[0]
            if head[4:] == b"acTL":
                frames = struct.unpack(">I", file.read(4))[0]
                length -= 4
            file.seek(length + 4, 1)
    return width, height, bits, colour, frames


def decode(path: Path) -> np.ndarray[Any, Any]:
    """Return the picture as it is stored; Pillow would make 8 bits of colours of 16, imagecodecs colours of indices."""
    bits = _header(path)[2]
    if bits == 16:
        import imagecodecs

        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    from PIL.PngImagePlugin import PngImageFile

    with PngImageFile(path) as picture:  # not Image.open, which limits the number of pixels for the whole process
        return np.asarray(picture)
