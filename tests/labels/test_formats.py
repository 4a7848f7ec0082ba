"""The same strokes, saved by any program, give the same anchors, pixel for pixel."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from roifile import ROI_TYPE, ImagejRoi

from eseg_zoo.errors import InputError
from labels.ilastik_project import PaintedImage, write_project
from labels.phantom import NAMES, Open, values_of
from labels.test_ome_zarr import NAMED, write_levels

COLOURS = {1: "#e69f00", 2: "#56b4e9", 3: "#009e73"}


def places(strokes: NDArray[Any], value: int) -> list[list[int]]:
    """The pixels (z, y, x) of a class."""
    found: list[list[int]] = np.argwhere(strokes == value).tolist()
    return found


def ilastik(folder: Path, strokes: NDArray[Any]) -> Any:
    return write_project(folder / "p.ilp", [PaintedImage(strokes, "zyx", "raw.tif")], names=list(NAMES.values()))


def old_ilastik(folder: Path, strokes: NDArray[Any]) -> Any:
    image = PaintedImage(strokes, "zyx", "raw.tif", channels_at=1)
    return write_project(
        folder / "p.ilp", [image], names=list(NAMES.values()), version="1.2.2", block_axes="zyxc", says_axes=False
    )


def ome_zarr(folder: Path, strokes: NDArray[Any]) -> Any:
    write_levels(folder / "strokes.ome.zarr", [strokes], "0.5", NAMED)
    return folder / "strokes.ome.zarr"


def tiff(folder: Path, strokes: NDArray[Any]) -> Any:
    tifffile.imwrite(folder / "strokes.tif", strokes, photometric="minisblack")
    return folder / "strokes.tif"


def signed(folder: Path, strokes: NDArray[Any]) -> Any:
    tifffile.imwrite(folder / "strokes.tif", strokes.astype(np.int16), imagej=True, metadata={"axes": "ZYX"})
    return folder / "strokes.tif"


def indexed_pngs(folder: Path, strokes: NDArray[Any]) -> Any:
    for z, plane in enumerate(strokes):
        picture = Pillow.fromarray(plane, mode="P")
        picture.putpalette([255, 255, 255, 0, 0, 255, 0, 255, 0, 255, 0, 0])
        picture.save(folder / f"plane{z}.png")
    return folder / "plane*.png"


def slices(folder: Path, strokes: NDArray[Any]) -> Any:
    """A label image of each slice, with its place."""
    for z, plane in enumerate(strokes):
        tifffile.imwrite(folder / f"slice{z}.tif", plane, photometric="minisblack")
    return [{"file": str(folder / f"slice{z}.tif"), "offset": {"z": z}} for z in range(len(strokes))]


def napari(folder: Path, strokes: NDArray[Any]) -> Any:
    """A layer of points for each class, which the file's name says."""
    for value, name in NAMES.items():
        rows = [[number, *place] for number, place in enumerate(places(strokes, value))]
        write_rows(folder / f"{name}.csv", [["index", "axis-0", "axis-1", "axis-2"], *rows])
    return [folder / f"{name}.csv" for name in NAMES.values()]


def table(folder: Path, strokes: NDArray[Any]) -> Any:
    rows = [[name, x, z, y] for value, name in NAMES.items() for z, y, x in places(strokes, value)]
    return write_rows(folder / "points.csv", [["class", "x", "z", "y"], *rows])


def write_rows(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def geojson(folder: Path, strokes: NDArray[Any]) -> Any:
    """Of each pixel its square, as QuPath counts: the first pixel goes from 0 to 1."""
    features = []
    for value, name in NAMES.items():
        for z, y, x in places(strokes, value):
            ring = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1], [x, y]]
            geometry = {"type": "Polygon", "coordinates": [ring], "plane": {"c": -1, "z": z, "t": 0}}
            properties = {"classification": {"name": name, "color": list(bytes.fromhex(COLOURS[value][1:]))}}
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    path = folder / "strokes.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def labkit(folder: Path, strokes: NDArray[Any]) -> Any:
    interval = {"min": [0, 0, 0], "max": [n - 1 for n in reversed(strokes.shape)], "n": 3}
    labels = {name: [place[::-1] for place in places(strokes, value)] for value, name in NAMES.items()}
    colours = {name: COLOURS[value] for value, name in NAMES.items()}
    path = folder / "strokes.labeling"
    path.write_text(json.dumps({"interval": interval, "labels": labels, "colors": colours}), encoding="utf-8")
    return path


def rois(folder: Path, strokes: NDArray[Any]) -> Any:
    """A ZIP of rectangles, one for each run of pixels along x."""
    path = folder / "RoiSet.zip"
    with zipfile.ZipFile(path, "w") as file:
        for value, name in NAMES.items():
            for number, (z, y, x) in enumerate(places(strokes, value)):
                roi = ImagejRoi(
                    roitype=ROI_TYPE.RECT, left=x, top=y, right=x + 1, bottom=y + 1, position=z + 1, name=name,
                )  # fmt: skip
                file.writestr(f"{number}-{value}-{name}.roi", roi.tobytes())
    return path


NAMELESS = (tiff, signed, indexed_pngs, slices)
NAMING = (ilastik, old_ilastik, ome_zarr, napari, table, geojson, labkit, rois)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("save", [*NAMELESS, *NAMING], ids=lambda save: save.__name__)
def test_every_format_gives_the_same_anchors(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open, save: Callable[[Path, NDArray[Any]], Any], dims: int
) -> None:
    (expected,) = open_all(strokes, dims=dims)
    (found,) = open_all(save(tmp_path, strokes), dims=dims)
    for one, other in zip(found.anchors(first=4), expected.anchors(first=4), strict=True):
        np.testing.assert_array_equal(one.places, other.places)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.strokes, other.strokes)
    for number, section in enumerate(expected.sections):
        np.testing.assert_array_equal(found.read(number, section.whole), expected.read(number, section.whole))


@pytest.mark.parametrize("save", NAMING, ids=lambda save: save.__name__)
def test_files_that_name_their_classes_need_none_in_the_run(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open, save: Callable[[Path, NDArray[Any]], Any]
) -> None:
    (found,) = open_all(save(tmp_path, strokes), classes={})
    assert [(one.value, one.name) for one in found.classes] == list(NAMES.items())
    np.testing.assert_array_equal(values_of(found), strokes)
    if save in (geojson, labkit):
        assert {one.value: one.colour for one in found.classes} == COLOURS


def test_files_of_all_kinds_are_mixed(tmp_path: Path, strokes: NDArray[Any], open_all: Open) -> None:
    parts = []
    for z, save in enumerate((tiff, geojson, ilastik)):
        part = np.zeros_like(strokes)
        part[z] = strokes[z]
        parts.append(save(tmp_path, part))
    (found,) = open_all(parts)
    np.testing.assert_array_equal(values_of(found), strokes)


def test_what_is_no_label_file_says_what_is_read(tmp_path: Path, open_all: Open) -> None:
    (tmp_path / "notes.txt").write_text("some notes on the strokes", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.txt is a text file of a kind that is not read; labels are label im"):
        open_all(tmp_path / "notes.txt")
