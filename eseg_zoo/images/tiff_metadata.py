"""What a TIFF file says of itself: axes, pixel size, channels. What cannot be read of it leaves them open."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any
from unicodedata import normalize

import tifffile

from eseg_zoo.images.image import Spacing

# Micrometres of the length units that OME-TIFF and ImageJ write, in lower case and normalised as `_micrometres` does.
_MICROMETRES = {
    "nm": 1e-3, "nanometer": 1e-3, "\u03bcm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "\\u00b5m": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "å": 1e-4, "pm": 1e-6, "m": 1e6,
}  # fmt: skip

# Kinds of series whose axes are only tifffile's names for the axes of any picture.
_SILENT = {"generic", "uniform", "nih", "mdgel", "sis", "fei"}

# Whole-slide scanners add a label, an overview and a thumbnail to the one image.
WHOLE_SLIDE = {"svs", "ndpi", "scn", "bif", "philips", "qpi", "indica", "ventana", "avs"}


def axes_in(series: tifffile.TiffPageSeries) -> str:
    """Return the axes in small letters of tifffile; s are the colours at each pixel.

    Colours that are planes of their own are called channels: some programs write any three or four slices so.
    """
    said = series.axes.lower()
    return said if said.endswith("s") else said.replace("s", "c")


def states_axes(series: tifffile.TiffPageSeries) -> bool:
    """Say whether the file states the axes of a series; tifffile has names for those of any other too."""
    if series.kind == "shaped":
        described = series.keyframe.shaped_description or ""
        return '"axes"' in described
    return series.kind not in _SILENT


def voxel_sizes(tiff: tifffile.TiffFile, image: int = 0) -> dict[str, Spacing]:
    """Return micrometres per voxel for the axes that an OME-TIFF or ImageJ file gives a size; none where it has none.

    `image` is the number of the image in an OME-TIFF. A size that is not a number is left out.
    """
    if tiff.ome_metadata:
        pixels = ome_pixels(tiff.ome_metadata, image)
        names = {a: f"PhysicalSize{a.upper()}" for a in "zyx"}
        found = {a: _micrometres(pixels.get(n), pixels.get(f"{n}Unit", "µm")) for a, n in names.items()}
    elif isinstance(tiff.imagej_metadata, Mapping):
        unit = tiff.imagej_metadata.get("unit")
        tags = tiff.pages.first.tags
        resolutions = {a: tags.valueof(f"{a.upper()}Resolution") for a in "yx"}
        found = {a: _micrometres(_inverse(r), unit) for a, r in resolutions.items()}
        found["z"] = _micrometres(tiff.imagej_metadata.get("spacing"), unit)
    else:
        found = {}
    return {a: Spacing(found[a], 0.0, "micrometer") for a in "zyx" if found.get(a) and isfinite(found[a])}


def channel_names(tiff: tifffile.TiffFile, image: int = 0) -> tuple[str, ...]:
    """Return the names of the channels of an OME-TIFF, if each has one."""
    channels = ome_pixels(tiff.ome_metadata, image).get("Channel", []) if tiff.ome_metadata else []
    named = [channel.get("Name") for channel in (channels if isinstance(channels, list) else [channels])]
    return tuple(map(str, named)) if all(named) else ()


def ome_pixels(xml: str, image: int = 0) -> dict[str, Any]:
    """Return the attributes of an image; none where the XML is broken or stands in another file."""
    try:
        images = tifffile.xml2dict(xml)["OME"]["Image"]
        return dict((images[image] if isinstance(images, list) else images)["Pixels"])
    except (SyntaxError, LookupError, TypeError, ValueError):
        return {}


def _inverse(resolution: Any) -> float:
    """Return pixel size from a resolution, a fraction; 0 where it is not one."""
    try:
        return float(resolution[1] / resolution[0])
    except (TypeError, LookupError, ArithmeticError):
        return 0.0


def _micrometres(size: Any, unit: object) -> float:
    """Return a length in micrometres, without its sign (ImageJ's spacing may have one); 0 where none is stated."""
    name = normalize("NFKC", str(unit))
    factor = None if name in ("Mm", "M") else _MICROMETRES.get(name.lower())  # not megametres
    try:
        return abs(float(size)) * factor if size and factor else 0.0
    except (TypeError, ValueError):
        return 0.0
