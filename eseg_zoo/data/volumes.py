"""Opening image files as arrays with named axes, in the one order that the package uses."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import tifffile
import xarray as xr
from numpy.typing import NDArray

from eseg_zoo.errors import InputError

log = logging.getLogger(__name__)

AXES = ("t", "c", "z", "y", "x")

_LIKELY = {2: "yx", 3: "zyx", 4: "zcyx"}  # examples in messages, never a guess

# Micrometres of the length units that OME-TIFF and ImageJ write, in lower case and normalised as `_micrometres` does.
_MICROMETRES = {
    "nm": 1e-3, "nanometer": 1e-3, "\u03bcm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "\\u00b5m": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "å": 1e-4,
}  # fmt: skip

# What tifffile stumbles over in damaged files.
DAMAGE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError, RuntimeError, struct.error)


def read_image(path: Path, axes: str) -> xr.DataArray:
    """Return the image in `path` with the axes (t, c, z, y, x); those that the file lacks have length 1.

    `axes` names the axes of the file in their order; an OME-TIFF of several positions has them along a leading t, if
    `axes` has one that the positions lack. The attribute `voxel_size` maps z, y, x to micrometres where the
    file says so.

    Raises `InputError` for a missing or unreadable file, for axes that do not fit, for colours that `axes` does not
    take for channels, and for non-numbers.
    """
    check_axes(axes)
    array, voxel_size = _read_tiff(path, axes)
    check_array(path, array.shape, array.dtype, axes)
    image = xr.DataArray(array, dims=tuple(axes), attrs={"voxel_size": voxel_size})
    missing = [axis for axis in AXES if axis not in axes]
    return image.expand_dims(missing).transpose(*AXES)


def check_axes(axes: str) -> None:
    """Raise `InputError` unless `axes` is made of the letters of `AXES`, each at most once."""
    if not set(axes) <= set(AXES) or len(set(axes)) < len(axes):
        raise InputError(f"axes is {axes!r}; it must be made of the letters {', '.join(AXES)}, each once")


def check_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], axes: str) -> None:
    """Raise `InputError` unless `axes` names each axis of the array in `path`, which holds pixels that are numbers."""
    if len(shape) != len(axes):
        raise InputError(
            f"{path} has shape {shape}, {len(shape)} axes, but axes {axes!r} names {len(axes)}; "
            f"give axes with one letter for each, such as {_LIKELY.get(len(shape), 'tzcyx')}"
        )
    if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)):
        raise InputError(f"{path} holds {dtype} values; it must hold integers or floating-point numbers")
    if 0 in shape:
        raise InputError(f"{path} has shape {shape}: it holds no pixel")


def check_stated(path: Path, axes: str, said: str) -> None:
    """Compare `axes` with those that the file states, `said`, as far as both have them.

    Raises `InputError` for colours (an s) that `axes` has no c for. Channels that it has no c for are only told in a
    warning: some programs state them for slices too.
    """
    place = said.find("s")
    if place >= 0 and axes[place : place + 1] != "c":
        raise InputError(
            f"{path} has several values at each pixel, as colour images do (axes {said.upper()}, S), but axes {axes!r} "
            "has no c in their place; save it as grey values, or put c there if they are channels"
        )
    if "c" in said and "c" not in axes:
        log.warning("%s says that it has channels (axes %s); it is read as %s", path, said, axes)


def require_finite(image: xr.DataArray, path: Path) -> None:
    """Raise `InputError` with the place of the first NaN or infinite pixel, if there is one."""
    if not np.issubdtype(image.dtype, np.floating):
        return
    for index, plane in enumerate(image.values.reshape(-1, *image.shape[-2:])):
        wrong = ~np.isfinite(plane)
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            raise InputError(
                f"{path} has {wrong.sum()} NaN or infinite pixels in plane {index}, the first at y={y}, x={x}"
            )


def sections(image: xr.DataArray, dims: int) -> list[NDArray[np.generic]]:
    """Return views (c, y, x) of every slice for `dims` 2, or (c, z, y, x) of every volume for `dims` 3."""
    if dims == 3:
        return list(image.transpose("t", "c", "z", "y", "x").values)
    planes = image.transpose("t", "z", "c", "y", "x").values
    return list(planes.reshape(-1, *planes.shape[2:]))


def chosen_slices(text: str | None, count: int, path: Path, *, setting: str) -> range:
    """Return the slices that `text` names by the first and the last, such as '12-13', of the `count` in `path`.

    None are all. Raises `InputError` that names the setting where they are not there.
    """
    if text is None:
        return range(count)
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or int(match[1]) > int(match[2]) or int(match[2]) >= count:
        raise InputError(f"{setting} is {text}, but {path} has the slices 0-{count - 1}, given as first-last")
    return range(int(match[1]), int(match[2]) + 1)


def axes_of(path: Path, axes: str) -> str:
    """Return the axes of the file: `axes`, those of the training images, if their number fits.

    For a file of one plane or one stack less the leading axes are dropped; a file of more is believed what it says
    itself (OME-TIFF and ImageJ do), so that a stack is slices to a model of planes. Raises `InputError` otherwise.
    """
    with reading_tiff(path) as tiff:
        shape, said = _stated(_positions(tiff, axes))
    return fitting_axes(path, shape, axes, said)


def fitting_axes(path: Path, shape: tuple[int, ...], axes: str, said: str = "") -> str:
    """Return the axes of an array of this shape, by the rules of `axes_of`; `said` is what the file says itself."""
    ndim = len(shape)
    surplus = len(axes) - ndim
    if surplus >= 0 and {"y", "x"} <= set(axes[surplus:]) and set(axes[:surplus]) <= {"t", "z"}:
        return axes[surplus:]
    if ndim > len(axes) and set(axes) <= set(said) <= set(AXES):
        return said
    raise InputError(
        f"{path} has shape {shape}, but the model was trained on axes {axes!r}; "
        f"give --axes with one letter for each of the {ndim} axes"
    )


def _read_tiff(path: Path, axes: str) -> tuple[NDArray[np.generic], dict[str, float]]:
    """Return the pixels and the micrometres per voxel."""
    with reading_tiff(path) as tiff:
        positions = _positions(tiff, axes)
        _, said = _stated(positions)
        check_stated(path, axes, said)
        array = np.stack([one.asarray() for one in positions]) if len(positions) > 1 else positions[0].asarray()
        native = array.dtype.newbyteorder("=")  # torch takes no other order
        return array.astype(native, copy=False), tiff_voxel_size(tiff)


def _positions(tiff: tifffile.TiffFile, axes: str) -> list[tifffile.TiffPageSeries]:
    """Return the images of a multi-position file if `axes` has a leading t for them, else the first image alone."""
    series = list(tiff.series)
    alike = all(one.shape == series[0].shape for one in series)
    return series if alike and axes.startswith("t") and len(axes) == series[0].ndim + 1 else series[:1]


def _stated(positions: list[tifffile.TiffPageSeries]) -> tuple[tuple[int, ...], str]:
    """Return shape and axes, as the file states them, of an image, or of several along a leading t."""
    shape, said = tuple(positions[0].shape), axes_in(positions[0])
    return ((len(positions), *shape), f"t{said}") if len(positions) > 1 else (shape, said)


def axes_in(image: tifffile.TiffPageSeries) -> str:
    """Return the axes as the file states them, in small letters of tifffile; s are the colours at each pixel.

    Colours that are planes of their own are called channels: some programs write any three or four slices so.
    """
    said = image.axes.lower()
    return said if said.endswith("s") else said.replace("s", "c")


@contextmanager
def reading_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Yield the open file; whatever tifffile stumbles over, or only logs, becomes an `InputError`."""
    complaints: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except tifffile.TiffFileError as error:
        raise InputError(f"{path} is no readable TIFF file: {error}") from error
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {error}") from error
    finally:
        logger.removeHandler(handler)
    if complaints:  # a truncated stack would otherwise pass for its first plane
        raise InputError(f"{path} is damaged: {complaints[0]}")


def tiff_voxel_size(tiff: tifffile.TiffFile) -> dict[str, float]:
    """Return micrometres per voxel for the axes that an OME-TIFF or ImageJ file gives a size."""
    if tiff.ome_metadata:
        pixels = _ome_pixels(tiff.ome_metadata)
        names = {a: f"PhysicalSize{a.upper()}" for a in "zyx"}
        found = {a: _micrometres(pixels.get(n), pixels.get(f"{n}Unit", "µm")) for a, n in names.items()}
    elif tiff.imagej_metadata:
        unit = tiff.imagej_metadata.get("unit")
        tags = tiff.pages[0].tags  # type: ignore[union-attr]
        resolutions = {a: tags.valueof(f"{a.upper()}Resolution") for a in "yx"}
        found = {a: _micrometres(r[1] / r[0], unit) for a, r in resolutions.items() if r and r[0]}
        found["z"] = _micrometres(tiff.imagej_metadata.get("spacing"), unit)
    else:
        found = {}
    return {a: found[a] for a in "zyx" if found.get(a) and isfinite(found[a])}


def _micrometres(size: Any, unit: object) -> float:
    """Return a length in micrometres, without its sign (ImageJ's spacing may have one); 0 where none is stated."""
    name = normalize("NFKC", str(unit))
    factor = None if name == "Mm" else _MICROMETRES.get(name.lower())  # megametres are none
    return abs(float(size)) * factor if size and factor else 0.0


def _ome_pixels(xml: str) -> dict[str, Any]:
    """Return the attributes of the first image; none where the XML is broken or stands in another file."""
    try:
        image = tifffile.xml2dict(xml)["OME"]["Image"]
        return dict((image[0] if isinstance(image, list) else image)["Pixels"])
    except (SyntaxError, LookupError, TypeError):
        return {}
