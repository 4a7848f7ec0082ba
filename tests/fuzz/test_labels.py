"""Files of labels that are damaged or made to do harm: what they paint, or one line; soon, and in little memory."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
from painting import values_of
from roifile import ROI_TYPE, ImagejRoi

from eseg_zoo.labels import geojson, imagej, labkit, napari, points
from eseg_zoo.labels.painted import PaintOptions
from fuzz.outcomes import CASES, altered, damaged, deep, near_the_start, outcome, written

READERS = (napari, points, geojson, labkit, imagej)
SPACE = (2, 3, 40, 36)
OPTIONS = PaintOptions(SPACE, {"y": 0.5, "x": 0.1})
_MEMORY = 300 << 20  # bytes that a case may take

POINTS = "z,t,y_um,x (µm),class\n1,0,3.5,2,membrane\n2,1,1,0.3,glia\n0,0,50,3,\n"
NAPARI_POINTS = "index,axis-0,axis-1,axis-2,label\n0,1.0,2.0,3.4,1.0\n1,0.0,5.5,6.0,2.0\n"
NAPARI_SHAPES = "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n" + "".join(
    f"{n},{kind},{vertex},{n % 3},{y},{x}\n"
    for n, kind in enumerate(("path", "rectangle", "ellipse", "polygon", "line"))
    for vertex, (y, x) in enumerate([(1, 2), (1, 30), (20.5, 30), (20.5, 2)][: 2 if kind == "line" else 4])
)
RING = [[1, 1], [9.5, 1], [9, 12], [1, 9], [1, 1]]
GEOJSON: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": kind, "coordinates": coordinates, "plane": {"c": -1, "z": 1, "t": 0}},
            "properties": {"classification": {"name": "Tumor", "color": [1, 2, 3]}, "childObjects": []},
        }
        for kind, coordinates in (
            ("Polygon", [RING]), ("MultiPolygon", [[RING], [RING]]), ("Point", [3, 4]), ("LineString", RING),
            ("MultiLineString", [RING]), ("MultiPoint", RING),
        )
    ],
}  # fmt: skip
LABKIT: dict[str, Any] = {
    "interval": {"min": [0, 0, 0, 0], "max": [35, 39, 2, 1], "n": 4},
    "labels": {"membrane": [[1, 2, 0, 1], [3, 4, 1, 0]], "glia": [[3, 4, 1, 0]]},
    "colors": {"membrane": "#FF0000"},
}


def rois() -> list[ImagejRoi]:
    """A ROI of each kind."""
    made = []
    for kind in (ROI_TYPE.POLYGON, ROI_TYPE.FREELINE, ROI_TYPE.POINT, ROI_TYPE.TRACED):
        one = ImagejRoi.frompoints(np.array([[1, 2], [20, 5], [9, 30]]) * (1.0 if kind == ROI_TYPE.TRACED else 1))
        one.roitype, one.name, one.position, one.group = kind, "membrane-1", 2, 3
        made.append(one)
    for kind in (ROI_TYPE.RECT, ROI_TYPE.OVAL, ROI_TYPE.LINE):
        made.append(ImagejRoi(roitype=kind, left=2, top=3, right=20, bottom=30, x2=20.0, y2=9.0, name="glia"))
    path = np.array([0, 1, 1, 1, 9, 1, 2, 9, 9, 5, 12, 3, 4, 9, 2, 8, 1, 5, 4], np.float32)
    made.append(ImagejRoi(roitype=ROI_TYPE.RECT, multi_coordinates=path, shape_roi_size=len(path)))
    return made


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Sound files of each reader."""
    single = [one.tobytes() for one in rois()]
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for number, content in enumerate(single):
            file.writestr(f"{number:04}-0010.roi", content)
    image = np.zeros((6, 40, 36), np.uint8)
    tifffile.imwrite(folder / "a.tif", image, imagej=True, metadata={"axes": "ZYX", "Overlays": single})
    return {
        "napari": [NAPARI_POINTS.encode(), NAPARI_SHAPES.encode()],
        "points": [POINTS.encode(), POINTS.replace(",", ";").encode("cp1252")],
        "geojson": [json.dumps(GEOJSON).encode()],
        "labkit": [json.dumps(LABKIT).encode()],
        "imagej": [*single, (folder / "a.zip").read_bytes(), (folder / "a.tif").read_bytes()],
    }


def use(reader: ModuleType, path: Path) -> None:
    for one in READERS:
        assert one.knows(path) in (True, False)
    values = values_of(reader.read(path, OPTIONS), SPACE)
    assert values.shape == SPACE


def run(reader: ModuleType, cases: int, change: Callable[[int, np.random.Generator], Path]) -> list[str]:
    """Read what `change` makes for each case; returns the errors."""
    said = []
    for case in range(cases):
        path = change(case, np.random.default_rng([case, len(reader.__name__)]))
        tracemalloc.start()
        try:
            said.append(outcome(lambda path=path: use(reader, path)))  # type: ignore[misc]
            assert tracemalloc.get_traced_memory()[1] < _MEMORY
        except BaseException as error:
            error.add_note(f"{reader.__name__}, case {case}, {path.name}")
            raise
        finally:
            tracemalloc.stop()
    return said


@pytest.mark.parametrize("reader", READERS, ids=lambda one: one.__name__.rpartition(".")[2])
def test_a_damaged_file_of_labels_is_read_or_is_one_line(tmp_path: Path, reader: ModuleType) -> None:
    files = seeds(tmp_path)[reader.__name__.rpartition(".")[2]]

    def change(case: int, rng: np.random.Generator) -> Path:
        damage = near_the_start if case % 3 else damaged
        return written(tmp_path / "case", damage(files[case % len(files)], rng))

    said = run(reader, CASES, change)
    assert any(said)  # the damage is felt


@pytest.mark.parametrize(("reader", "content"), [(geojson, GEOJSON), (labkit, LABKIT)], ids=["geojson", "labkit"])
def test_altered_values_of_json_are_read_or_are_one_line(tmp_path: Path, reader: ModuleType, content: Any) -> None:
    def change(case: int, rng: np.random.Generator) -> Path:
        changed = altered(content, rng)[0]
        return written(tmp_path / "case", json.dumps(changed).encode("utf-8", "surrogatepass"))

    said = run(reader, max(CASES, 200), change)
    assert sum(map(bool, said)) > len(said) / 10


@pytest.mark.parametrize("reader", [napari, points], ids=["napari", "points"])
def test_altered_cells_of_tables_are_read_or_are_one_line(tmp_path: Path, reader: ModuleType) -> None:
    odd = ["", "nan", "inf", "-1", "1e12", "1e300", "x", "9" * 400, "1_0", "\x1b[31m", '"', "é", "0x1", "-0", "1e-320"]
    texts = [NAPARI_POINTS, NAPARI_SHAPES] if reader is napari else [POINTS]

    def change(case: int, rng: np.random.Generator) -> Path:
        rows = [line.split(",") for line in texts[case % len(texts)].splitlines()]
        row = rows[int(rng.integers(len(rows)))]
        row[int(rng.integers(len(row)))] = odd[int(rng.integers(len(odd)))]
        return written(tmp_path / "case", "\n".join(map(",".join, rows)).encode())

    said = run(reader, max(CASES, 200), change)
    assert len(said) / 10 < sum(map(bool, said)) < len(said)


def test_altered_fields_of_rois_are_read_or_are_one_line(tmp_path: Path) -> None:
    odd = [0, 1, -1, 2, 100, 2**15 - 1, -(2**15), 2**31 - 1, -(2**31), 1e12, -1e30, float("nan"), float("inf"), 0.5]
    whole = {"h": (8, 10, 12, 14, 16, 34, 48, 50, 54), "i": (36, 56, 60), "f": (18, 22, 26, 30, 64, 68, 72, 84, 100)}

    def change(case: int, rng: np.random.Generator) -> Path:
        content = bytearray(rois()[case % 8].tobytes())
        kind = "hif"[int(rng.integers(3))]
        at, value = int(rng.choice(whole[kind])), odd[int(rng.integers(len(odd)))]
        with np.errstate(all="ignore"):
            stored = np.array(value, np.float64).astype({"h": ">i2", "i": ">i4", "f": ">f4"}[kind]).tobytes()
        content[at : at + len(stored)] = stored
        return written(tmp_path / "case.roi", bytes(content))

    assert any(run(imagej, max(CASES, 200), change))


def test_the_sidecar_of_a_tiff_is_read_or_is_one_line(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 3, SPACE).astype(np.uint8)
    tifffile.imwrite(tmp_path / "case", values, photometric="minisblack")
    content = {"labelSets": [[], ["a"], ["a", "b"]]}

    def change(case: int, rng: np.random.Generator) -> Path:
        changed = altered(content, rng)[0]
        written(tmp_path / "case.labels", json.dumps(changed).encode("utf-8", "surrogatepass"))
        return tmp_path / "case"

    assert any(run(labkit, CASES, change))


@pytest.mark.parametrize(
    "content",
    [
        "[" * 10**5, '{"type": "Feature", "geometry": ' + "[" * 10**5, json.dumps(deep(400)), "{" * 1000,
        json.dumps({"type": "GeometryCollection", "geometries": deep(400)}),
        json.dumps({"type": "Polygon", "coordinates": deep(400)}),
        json.dumps({"type": "Polygon", "coordinates": [[["x" * 10**6, 1]] * 50]}),
        json.dumps({"type": "Polygon", "coordinates": [[[0, 0], [1e12, 1e12], [1e12, -1e12]] * 1000]}),
        json.dumps({"interval": LABKIT["interval"], "labels": {"a": deep(400)}}),
        json.dumps({"interval": {"min": [0] * 10**5, "max": [0] * 10**5}, "labels": {}}),
        "1e999", '{"interval": 1, "labels": {"\\ud800": []}}',
    ],
    ids=lambda one: one[:40],
)  # fmt: skip
def test_an_attack_is_one_line_or_nothing_soon(tmp_path: Path, content: str) -> None:
    path = written(tmp_path / "case", content.encode("utf-8", "surrogatepass"))
    for reader in READERS:
        run(reader, 1, lambda *_: path)


@pytest.mark.parametrize("lies", [False, True])
def test_a_zip_that_would_fill_the_memory_is_one_line(tmp_path: Path, lies: bool) -> None:
    path, size = tmp_path / "bomb.zip", 1 << 28
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.roi", b"Iout" + bytes(size - 4))
    if lies:
        path.write_bytes(path.read_bytes().replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little")))
    assert all(run(imagej, 1, lambda *_: path))


def test_sound_seeds_are_known_to_their_reader_alone_and_paint(tmp_path: Path) -> None:
    for name, files in seeds(tmp_path).items():
        for content in files:
            path = written(tmp_path / "case", content)
            assert [one.__name__.rpartition(".")[2] for one in READERS if one.knows(path)] == [name]
            reader = next(one for one in READERS if one.__name__.endswith(name))
            assert values_of(reader.read(path, OPTIONS), SPACE).any()
