"""GeoJSON as QuPath writes it: annotations with a class, in pixels of the full resolution.

The corner of the first pixel is at (0, 0), and x comes first. A polygon takes the pixels whose centre is inside, of
those on its outline the upper and left ones, as Java2D fills it. So pixels that became a polygon with edges between
pixels come back as they were. (The label images that QuPath exports have other pixels at the border of other outlines,
as Java2D there moves their corners by up to half a pixel.) A point takes the pixel that it lies in. Read in QuPath's
sources (August 2026): `ROITypeAdapters`, `QuPathTypeAdapters`, `GsonTools`, `LabeledImageServer`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.image import tell
from eseg_zoo.labels import rasterise
from eseg_zoo.labels.canvas import Canvas
from eseg_zoo.labels.json_file import coordinates, ends_of, hex_colour, read_json
from eseg_zoo.labels.painted import Painted, PaintOptions
from eseg_zoo.labels.rasterise import Coordinates, Spans

_GEOMETRIES = (
    "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection",
)  # fmt: skip
_TYPE = re.compile(rf'"type"\s*:\s*"(Feature|FeatureCollection|{"|".join(_GEOMETRIES)})"')


def knows(path: Path) -> bool:
    """Say whether a file is GeoJSON, by how it begins and ends."""
    text = ends_of(path)
    return bool(_TYPE.search(text)) and ('"geometry"' in text or '"coordinates"' in text or '"features"' in text)


def read(path: Path, options: PaintOptions) -> Painted:
    """Return what the objects of a GeoJSON file paint, those with children before these.

    Objects without a class are left out with a note where others have one; where none has, all are of the class that
    the options or the file's name give. Raises `InputError` for a file or an object that cannot be read.
    """
    canvas = Canvas(path, options)
    features = list(_features(path, read_json(path)))
    classes = [_class_of(path, number, one) for number, one in enumerate(features, 1)]
    unnamed = 0
    for number, (feature, (name, colour)) in enumerate(zip(features, classes, strict=True), 1):
        geometry = feature.get("geometry")
        if geometry is None or geometry == {}:
            continue
        if not name and any(name for name, _ in classes):
            unnamed += 1
            continue
        with canvas.object(f"object {number}"):
            value = canvas.named(name or canvas.usual_name, colour)
            plane = _plane_of(geometry)
            for one in _geometries(geometry):
                spans, vertices = _spans(one, canvas)
                canvas.paint(spans, value, **plane, is_cut=rasterise.is_cut(vertices, canvas.plane))
    if unnamed:
        canvas.notes.append(f"{tell(unnamed, 'object')} without a class: not painted")
    return canvas.finish()


def _features(path: Path, content: Any) -> Iterator[dict[str, Any]]:
    """Yield the features in a file, those within others after them."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(reversed(one))
            continue
        if not isinstance(one, dict):
            raise InputError(f"{path} holds {shown(one)} where an object of GeoJSON is expected")
        if isinstance(features := one.get("features"), list):
            waiting.extend(reversed(features))
            continue
        if one.get("type") in _GEOMETRIES:
            one = {"geometry": one}
        yield one
        properties = one.get("properties")
        if isinstance(properties, dict):
            for key in ("childObjects", "children"):
                if isinstance(children := properties.get(key), list):
                    waiting.extend(reversed(children))


def _class_of(path: Path, number: int, feature: dict[str, Any]) -> tuple[str, str | None]:
    """Return name and colour of an object's class; '' where it has none."""
    properties = feature.get("properties") or {}
    found = properties.get("classification") if isinstance(properties, dict) else None
    if found is None:
        return "", None
    if isinstance(found, str):
        return found, None
    name = found.get("name", found.get("names")) if isinstance(found, dict) else found
    if isinstance(name, list) and name and all(isinstance(one, str) for one in name):
        name = ": ".join(name)  # of a class within classes, such as `Tumor: Positive`
    if not isinstance(found, dict) or not isinstance(name, str):
        raise InputError(f"{path}, object {number}: its classification is {shown(found)}, not a name")
    return name, hex_colour(found.get("color", found.get("colorRGB")))


def _plane_of(geometry: Any) -> dict[str, int]:
    """Return slice and frame of a geometry, the first ones where it states none."""
    plane = geometry.get("plane") if isinstance(geometry, dict) else None
    if plane is None:
        return {"t": 0, "z": 0}
    found = {}
    for axis in "tz":
        number = plane.get(axis, 0) if isinstance(plane, dict) else None
        if not isinstance(number, (int, float)) or number != number // 1:
            raise ValueError(f"its plane is {shown(plane)}, where {axis} is no number of a plane")
        found[axis] = int(number)
    return found


def _geometries(geometry: Any) -> Iterator[dict[str, Any]]:
    """Yield the geometries in a geometry."""
    waiting = [geometry]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict) or one.get("type") not in _GEOMETRIES:
            kind = one.get("type") if isinstance(one, dict) else one
            raise ValueError(f"its geometry is {shown(kind)}; {', '.join(_GEOMETRIES)} are read")
        if one["type"] != "GeometryCollection":
            yield one
            continue
        inner = one.get("geometries")
        if not isinstance(inner, list):
            raise ValueError(f"its geometries are {shown(inner)}, not a list")
        waiting.extend(reversed(inner))


def _spans(geometry: dict[str, Any], canvas: Canvas) -> tuple[Spans, Coordinates]:
    """Return the pixels of a geometry, and its vertices."""
    kind, value = geometry["type"], geometry.get("coordinates")
    plane, width = canvas.plane, canvas.options.width
    if kind in ("Point", "MultiPoint"):
        points = _places([value] if kind == "Point" else value)
        return rasterise.points(points, plane), points
    if kind in ("LineString", "MultiLineString"):
        lines = [_places(one) for one in ([value] if kind == "LineString" else _lists(value))]
        return _joined([rasterise.line(one, width, plane) for one in lines if len(one)]), _all(lines)
    polygons = [[_places(ring) for ring in _lists(one)] for one in ([value] if kind == "Polygon" else _lists(value))]
    vertices = _all([ring for rings in polygons for ring in rings])
    if geometry.get("isEllipse") is True and len(vertices):
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        return rasterise.ellipse((low + high) / 2, np.diag((high - low) / 2), plane), vertices
    return _joined([rasterise.polygon(rings, plane) for rings in polygons]), vertices


def _places(value: Any) -> Coordinates:
    """Return places (n, 2), y and x, with centres of pixels at whole numbers."""
    return coordinates(value)[:, 1::-1] - 0.5


def _lists(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"its coordinates are {shown(value)}, not lists")
    return value


def _joined(spans: list[Spans]) -> Spans:
    return np.concatenate([rasterise.no_spans(), *spans])


def _all(places: list[Coordinates]) -> Coordinates:
    return np.concatenate([np.zeros((0, 2)), *places])
