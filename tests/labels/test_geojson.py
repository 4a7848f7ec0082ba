"""GeoJSON in the layout of QuPath's own serialiser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.measure
from painting import drawn, options, pixels_of, values_of, written

from eseg_zoo.errors import InputError
from eseg_zoo.labels import geojson, labkit

RED = {"name": "Tumor", "color": [200, 0, 0]}


def feature(kind: str, coordinates: Any, classification: Any = RED, **more: Any) -> dict[str, Any]:
    """An annotation as `PathObjectTypeAdapter` writes it."""
    properties = {"objectType": "annotation", "isLocked": True}
    if classification is not None:
        properties["classification"] = classification
    return {
        "type": "Feature", "id": "6f2c-…", "geometry": {"type": kind, "coordinates": coordinates, **more},
        "properties": properties,
    }  # fmt: skip


def square(x: float, y: float, size: float) -> list[list[float]]:
    return [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]


def saved(path: Path, *features: Any) -> Path:
    return written(path, json.dumps({"type": "FeatureCollection", "features": list(features)}))


def test_pixels_that_became_polygons_with_holes_come_back(tmp_path: Path) -> None:
    """Polygons along the edges of pixels, in both forms in which QuPath traces a mask."""
    rng = np.random.default_rng(0)
    mask = rng.random((20, 30)) < 0.6
    boxes = [[square(int(x), int(y), 1)] for y, x in np.argwhere(mask)]
    path = saved(tmp_path / "a.geojson", feature("MultiPolygon", boxes))
    assert geojson.knows(path)
    assert not labkit.knows(path)
    assert pixels_of(geojson.read(path, options(20, 30)), (1, 1, 20, 30)) == {
        "Tumor": {(0, 0, y, x) for y, x in np.argwhere(mask).tolist()}
    }
    polygons = [polygon for label in range(1, 60) if (polygon := outlines(mask, label))]
    path = saved(tmp_path / "b.geojson", feature("MultiPolygon", polygons))
    found = values_of(geojson.read(path, options(20, 30)), (1, 1, 20, 30))[0, 0]
    np.testing.assert_array_equal(found > 0, mask)


def outlines(mask: np.ndarray, label: int) -> list[list[list[int]]]:
    """The rings along the edges of pixels of a connected part of a mask; every other edge belongs to both sides."""
    part = np.pad(skimage.measure.label(mask, connectivity=1) == label, 1)
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.argwhere(part):
        for dy, dx, start, end in (
            (-1, 0, (0, 0), (0, 1)),
            (0, 1, (0, 1), (1, 1)),
            (1, 0, (1, 1), (1, 0)),
            (0, -1, (1, 0), (0, 0)),
        ):
            if not part[y + dy, x + dx]:
                edges.setdefault((x - 1 + start[1], y - 1 + start[0]), []).append((x - 1 + end[1], y - 1 + end[0]))
    rings = []
    while edges:
        ring = [next(iter(edges))]
        while ring[-1] in edges:
            ends = edges[ring[-1]]
            ring.append(ends.pop())
            if not ends:
                del edges[ring[-2]]
        rings.append([[int(x), int(y)] for x, y in ring])
    return rings


@pytest.mark.parametrize(
    ("kind", "coordinates", "expected"),
    [
        ("Polygon", [square(1, 1, 3), square(2, 2, 1)], "..... .###. .#.#. .###. ....."),
        ("Polygon", [square(0.5, 0.5, 2)], "##... ##... ..... ..... ....."),  # centres on its upper and left sides
        ("MultiPolygon", [[square(0, 0, 2)], [square(1, 1, 2)]], "##... ###.. .##.. ..... ....."),
        ("Point", [1.99, 3.0], "..... ..... ..... .#... ....."),
        ("MultiPoint", [[0, 0, 0], [4.5, 1.2, 7]], "#.... ....# ..... ..... ....."),
        ("LineString", [[0.5, 0.5], [4.5, 0.5], [4.5, 2.5]], "##### ....# ....# ..... ....."),
        ("MultiLineString", [[[0, 0], [0.9, 2.9]], [[3.5, 4.5], [4.5, 4.5]]], "#.... #.... #.... ..... ...##"),
    ],
)  # fmt: skip
def test_each_kind_of_geometry(tmp_path: Path, kind: str, coordinates: Any, expected: str) -> None:
    painted = geojson.read(saved(tmp_path / "a.json", feature(kind, coordinates)), options(5, 5))
    np.testing.assert_array_equal(values_of(painted, (1, 1, 5, 5))[0, 0] > 0, drawn(expected))
    assert [(one.name, one.colour) for one in painted.classes] == [("Tumor", "#c80000")]
    assert painted.notes == ()


def test_an_ellipse_is_the_one_in_its_box(tmp_path: Path) -> None:
    box = feature("Polygon", [[[5, 2], [8, 4], [5, 6], [2, 4], [5, 2]]], isEllipse=True)
    found = values_of(geojson.read(saved(tmp_path / "a.json", box), options(9, 9)), (1, 1, 9, 9))[0, 0]
    y, x = np.mgrid[:9, :9]
    np.testing.assert_array_equal(found > 0, ((x + 0.5 - 5) / 3) ** 2 + ((y + 0.5 - 4) / 2) ** 2 <= 1)


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        ({"name": "Tumor: Positive", "color": [1, 2, 3]}, "Tumor: Positive", "#010203"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3, 128]}, "Tumor: Positive", "#010203"),
        ({"name": "Stroma", "colorRGB": -6895466}, "Stroma", "#96c896"),
        ({"name": "Stroma"}, "Stroma", None),
        ("Stroma", "Stroma", None),
    ],
)
def test_classes_of_all_versions_have_name_and_colour(
    tmp_path: Path, classification: Any, name: str, colour: str | None
) -> None:
    path = saved(tmp_path / "a.json", feature("Point", [1, 1], classification))
    assert [(one.name, one.colour) for one in geojson.read(path, options(5, 5)).classes] == [(name, colour)]


def test_objects_without_a_class_are_told_unless_none_has_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", feature("Point", [1, 1], None), feature("Point", [2, 2]))
    painted = geojson.read(path, options(5, 5))
    assert pixels_of(painted, (1, 1, 5, 5)) == {"Tumor": {(0, 0, 2, 2)}}
    assert painted.notes == ("1 object without a class: not painted",)
    path = saved(tmp_path / "glia.geojson", feature("Point", [1, 1], None))
    assert pixels_of(geojson.read(path, options(5, 5)), (1, 1, 5, 5)) == {"glia": {(0, 0, 1, 1)}}


@pytest.mark.parametrize("form", ["collection", "list", "feature", "geometry", "geometries"])
def test_all_forms_of_geojson_are_read(tmp_path: Path, form: str) -> None:
    one = feature("Point", [1, 1], None)
    content = {
        "collection": {"type": "FeatureCollection", "features": [one]}, "list": [one], "feature": one,
        "geometry": one["geometry"], "geometries": {"type": "GeometryCollection", "geometries": [one["geometry"]]},
    }[form]  # fmt: skip
    path = written(tmp_path / "a.json", json.dumps(content, indent=2))
    assert geojson.knows(path)
    assert pixels_of(geojson.read(path, options(5, 5)), (1, 1, 5, 5)) == {"a": {(0, 0, 1, 1)}}


def test_the_plane_of_an_object_counts_and_is_the_first_where_none_is_stated(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.json",
        feature("Point", [1, 1], plane={"c": -1, "z": 2, "t": 1}), feature("Point", [2, 2]),
        feature("Point", [3, 3], plane={"c": -1, "z": 3, "t": 0}),
    )  # fmt: skip
    painted = geojson.read(path, options(2, 3, 5, 5))
    assert pixels_of(painted, (2, 3, 5, 5)) == {"Tumor": {(1, 2, 1, 1), (0, 0, 2, 2)}}
    assert painted.notes == ("1 of 3 objects outside the image: not painted there",)


def test_objects_within_others_come_after_them(tmp_path: Path) -> None:
    parent = feature("Polygon", [square(0, 0, 3)])
    parent["properties"]["childObjects"] = [feature("Point", [1, 1], {"name": "Nucleus"})]
    painted = geojson.read(saved(tmp_path / "a.json", parent, feature("Point", [4, 4])), options(5, 5))
    found = pixels_of(painted, (1, 1, 5, 5))
    assert found["Nucleus"] == {(0, 0, 1, 1)}
    assert len(found["Tumor"]) == 9
    assert painted.notes == ("1 pixel in objects of several classes; the later one counts",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (feature("Point", ["a", 1]), "object 1: its coordinates are"),
        (feature("Polygon", [1, 2]), "object 1: its coordinates are"),
        (feature("Polygon", [[[1, 2], [3, float("nan")], [5, 6]]]), "object 1: it has the coordinate nan"),
        (feature("Circle", [1, 2]), "object 1: its geometry is 'Circle'"),
        (feature("Point", [1, 2], {"name": 3}), "object 1: its classification is {'name': 3}"),
        (feature("Point", [1, 2], {"name": "a\nb"}), "object 1: the class name"),
        (feature("Point", [1, 2], plane={"z": 0.5}), "object 1: its plane is {'z': 0.5}"),
        (feature("Point", [1, 2], plane={"z": float("inf")}), "object 1: its plane is {'z': inf}"),
        ([feature("Point", [1, 2]), 3], "holds 3 where an object"),
        (feature("Point", [10**400, 2]), "object 1: its coordinates are"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_its_object(tmp_path: Path, content: Any, words: str) -> None:
    path = written(tmp_path / "a.json", json.dumps(content))
    with pytest.raises(InputError) as caught:
        geojson.read(path, options(5, 5))
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"type": "Feature"', "[" * 100_000, '{"a": 1' + "2" * 5000])
def test_broken_json_is_one_line(tmp_path: Path, content: str) -> None:
    path = written(tmp_path / "a.json", content)
    geojson.knows(path)
    if content not in ("{}", "[]"):
        with pytest.raises(InputError, match=r"^\S+a\.json is not a readable JSON file: [^\n]+$"):
            geojson.read(path, options(5, 5))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"type": "Topology"}', b"x,y\n", b"\x89PNG", b'"type": "Feature"'])
def test_other_files_are_not_known(tmp_path: Path, content: bytes) -> None:
    assert not geojson.knows(written(tmp_path / "a.json", content))
    assert not geojson.knows(tmp_path)
