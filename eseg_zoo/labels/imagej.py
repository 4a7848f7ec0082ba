"""ROIs of ImageJ and Fiji: `.roi` files, `.zip` sets of the ROI Manager, and overlays in TIFFs that ImageJ saved.

*Pixels.* Areas have the corner of the first pixel at (0, 0). They take the pixels whose centre is inside, of those on
the outline the lower and right ones, as `PolygonFiller` does, so pixels that became a selection (traced, composite)
come back as they were. Rectangles and ovals have whole numbers as bounds. Points and lines have the centre of the first
pixel at (0, 0): a point takes the pixel that it lies in, a line of width 1 those that `ImageProcessor.lineTo` draws,
a broader one the pixels within half its stroke width. Of two pixels that are equally near to a line ImageJ takes
either; here it is the lower or right one.

*Classes.* A name that a person gave is the class, without a number at its end: `membrane`, `membrane-1` and
`membrane_2` are all `membrane`. Names that programs give (`0001-0123-0456`, a number alone) name none; then the group
does, `group 3`, or else the file's name. Points of several counters are classes `counter 1`, `counter 2`. The colour
is that of the stroke, or of the filling.

*Slices.* A ROI has c, z and t in a hyperstack, or else the number of a plane in the stack. One without is shown by
ImageJ on every slice, and painted on every slice. Channels do not count.

Read in ImageJ's sources (1.54u7): `RoiDecoder`, `RoiManager`, `PolygonFiller`, `OvalRoi`, `PointRoi`, `ImageProcessor`.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from eseg_zoo.errors import shown
from eseg_zoo.images.image import first_line, tell
from eseg_zoo.labels import rasterise
from eseg_zoo.labels.canvas import Canvas
from eseg_zoo.labels.imagej_files import RoiBytes, holds_rois, rois_in
from eseg_zoo.labels.imagej_path import rings_of_path, rounded_rectangle
from eseg_zoo.labels.painted import Painted, PaintOptions
from eseg_zoo.labels.rasterise import Coordinates, Edge, Spans

# What roifile raises for damaged bytes.
_DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, AssertionError, struct.error, MemoryError)
# What the ROI Manager puts first: slice, y and x of the middle, or y and x; and what stands after it.
_MANAGER = re.compile(r"((?P<slice>\d{4,6})-)?\d{4,6}-\d{4,6}(?!\d)[-_ ]?(?P<rest>.*)")
# Names that say nothing: numbers (Analyze Particles), UUIDs (roifile).
_NO_CLASS = re.compile(r"[\d\s_-]*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NUMBERS_AT_END = re.compile(r"([-_]\d+)+$")
_NO_COLOUR = bytes(4)
# What a ROI is; anything but points, lines and areas is no label.
_SUBTYPES = {ROI_SUBTYPE.TEXT: "text", ROI_SUBTYPE.ARROW: "arrow", ROI_SUBTYPE.IMAGE: "picture"}
_TYPES = {
    ROI_TYPE.POINT: "point", ROI_TYPE.LINE: "line", ROI_TYPE.FREELINE: "line", ROI_TYPE.POLYLINE: "line",
    ROI_TYPE.POLYGON: "area", ROI_TYPE.RECT: "area", ROI_TYPE.OVAL: "area", ROI_TYPE.FREEHAND: "area",
    ROI_TYPE.TRACED: "area", ROI_TYPE.ANGLE: "angle",
}  # fmt: skip


@dataclass(frozen=True)
class _Where:
    """Slice and frame; None for all of them."""

    z: int | None
    t: int | None


def knows(path: Path) -> bool:
    """Say whether a file holds ROIs of ImageJ: `.roi`, a ZIP with one, or a TIFF with an overlay."""
    return holds_rois(path)


def read(path: Path, options: PaintOptions) -> Painted:
    """Return what the ROIs in a file paint; angles, arrows, texts and pictures paint nothing, and are told.

    Raises `InputError` for a file or a ROI that cannot be read.
    """
    canvas = Canvas(path, options)
    skipped: Counter[str] = Counter()
    for number, one in enumerate(rois_in(path), 1):
        with canvas.object(f"ROI {number}" + (f" ({shown(one.name)})" if one.name else "")):
            roi = _decoded(one)
            kind = _kind(roi)
            if kind == "point":
                _paint_points(canvas, roi, one)
            elif kind in ("line", "area"):
                value = canvas.named(_class_of(roi, one, canvas), _colour_of(roi))
                where = _where(roi, one, options)
                spans, outline = _line(roi, canvas) if kind == "line" else _area(roi, canvas)
                canvas.paint(spans, value, t=where.t, z=where.z, is_cut=rasterise.is_cut(outline, canvas.plane))
                skipped["spline"] += bool(roi.options & ROI_OPTIONS.SPLINE_FIT)
            else:
                skipped[kind] += 1
    if splines := skipped.pop("spline", 0):
        canvas.notes.append(f"{tell(splines, 'ROI')} with a spline: painted with straight lines between its points")
    canvas.notes.extend(f"{tell(count, kind)}: not painted" for kind, count in skipped.items())
    return canvas.finish(objects="ROI")


def _decoded(one: RoiBytes) -> ImagejRoi:
    try:
        return ImagejRoi.frombytes(one.content)
    except _DAMAGE as error:
        raise ValueError(f"it is damaged: {first_line(error)}") from error


def _kind(roi: ImagejRoi) -> str:
    """Return what a ROI is: `point`, `line`, `area`, or something that is no label."""
    if roi.subtype in _SUBTYPES:
        return _SUBTYPES[roi.subtype]
    return _TYPES.get(roi.roitype, "unknown ROI")


def _class_of(roi: ImagejRoi, one: RoiBytes, canvas: Canvas) -> str:
    """Return the class that the name of a ROI gives, or else its group, or else the file."""
    if not roi.name and canvas.options.class_name and one.name == canvas.path.stem:
        return canvas.options.class_name  # a file of one ROI without a name
    name = (roi.name or one.name).strip()
    if match := _MANAGER.fullmatch(name):
        name = match["rest"]
    name = _NUMBERS_AT_END.sub("", name)
    if _NO_CLASS.fullmatch(name):
        return f"group {roi.group}" if roi.group else canvas.usual_name
    return name


def _colour_of(roi: ImagejRoi) -> str | None:
    """Return the colour of the stroke or the filling, which are stored as alpha, red, green, blue."""
    colour = next((one for one in (roi.stroke_color, roi.fill_color) if one != _NO_COLOUR), None)
    return f"#{colour[1:].hex()}" if colour else None


def _where(roi: ImagejRoi, one: RoiBytes, options: PaintOptions) -> _Where:
    """Return where in a stack a ROI is: by c, z and t, by its plane, by the slice in its name, or everywhere."""
    if max(roi.c_position, roi.z_position, roi.t_position) > 0:
        return _Where(
            roi.z_position - 1 if roi.z_position > 0 else None, roi.t_position - 1 if roi.t_position > 0 else None
        )
    position = roi.position
    if position <= 0 and (match := _MANAGER.fullmatch(roi.name or one.name)):
        position = int(match["slice"] or 0)
    return _plane(position, one, options)


def _plane(position: int, one: RoiBytes, options: PaintOptions) -> _Where:
    """Return slice and frame of a plane of a stack, which counts from 1, channels first, then slices."""
    if position <= 0:
        return _Where(None, None)
    t, z = divmod((position - 1) // one.channels, options.space[1])
    return _Where(z, t)


def _paint_points(canvas: Canvas, roi: ImagejRoi, one: RoiBytes) -> None:
    """Paint points, each in the plane and of the class that it has: with several counters, `counter 1` and so on."""
    pixels, colour = rasterise.pixels(_vertices(roi)), _colour_of(roi)
    counters = np.zeros(len(pixels), int) if roi.counters is None else roi.counters.astype(int)
    planes = np.zeros(len(pixels), int) if roi.counter_positions is None else roi.counter_positions.astype(int)
    several = len(np.unique(counters)) > 1
    for counter, plane in np.unique(np.stack([counters, planes], axis=1), axis=0).tolist():
        name = f"counter {counter}" if several else _class_of(roi, one, canvas)
        value = canvas.named(name, None if several else colour)
        where = _plane(plane, one, canvas.options) if plane > 0 else _where(roi, one, canvas.options)
        found = pixels[(counters == counter) & (planes == plane)]
        found = np.pad(found, ((0, 0), (2, 0)))
        found[:, :2] = where.t or 0, where.z or 0
        everywhere = "".join(axis for axis, one in (("t", where.t), ("z", where.z)) if one is None)
        canvas.paint_pixels(found, np.full(len(found), value), everywhere=everywhere)


def _vertices(roi: ImagejRoi) -> Coordinates:
    """Return the points (n, 2), y and x, of a ROI."""
    if roi.subpixel_coordinates is not None:
        return roi.subpixel_coordinates[:, ::-1].astype(np.float64)
    if roi.integer_coordinates is None:
        raise ValueError("it has no coordinates")
    corner = np.array([roi.top, roi.left], np.float64)
    return corner + roi.integer_coordinates[:, ::-1]


def _line(roi: ImagejRoi, canvas: Canvas) -> tuple[Spans, Coordinates]:
    """Return the pixels of a line, and its vertices."""
    ends = np.array([[roi.y1, roi.x1], [roi.y2, roi.x2]])
    vertices = ends if roi.roitype == ROI_TYPE.LINE else _vertices(roi)
    width = roi.float_stroke_width if roi.float_stroke_width > 0 else roi.stroke_width
    return rasterise.line(vertices, width if width > 0 else canvas.options.width, canvas.plane), vertices


def _area(roi: ImagejRoi, canvas: Canvas) -> tuple[Spans, Coordinates]:
    """Return the pixels of an area, and places on its outline."""
    if roi.composite:
        rings = [] if roi.multi_coordinates is None else rings_of_path(roi.multi_coordinates)
    elif roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        left, top, width, height = _bounds(roi)
        if roi.roitype == ROI_TYPE.OVAL:
            half = np.array([height, width]) / 2
            centre = np.array([top, left]) + half - 0.5
            return rasterise.ellipse(centre, np.diag(half), canvas.plane), centre + np.array([-half, half])
        rings = [rounded_rectangle(left, top, width, height, max(0, roi.rounded_rect_arc_size))]
    else:
        rings = [_vertices(roi)]
    rings = [ring - 0.5 for ring in rings if len(ring)]
    return rasterise.polygon(rings, canvas.plane, edge=Edge.LOWER_RIGHT), np.concatenate([np.zeros((0, 2)), *rings])


def _bounds(roi: ImagejRoi) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a rectangle or oval, in whole pixels as ImageJ fills it."""
    if roi.subpixelrect:
        left, top, width, height = int(roi.xd), int(roi.yd), int(np.ceil(roi.widthd)), int(np.ceil(roi.heightd))
    else:
        left, top, width, height = roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top
    return left, top, max(1, width), max(1, height)
