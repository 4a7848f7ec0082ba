"""Labelings in the layout of Labkit's own serialiser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from painting import options, pixels_of, written

from eseg_zoo.errors import InputError
from eseg_zoo.labels import geojson, labkit


def labeling(sizes: tuple[int, ...], labels: Any, **more: Any) -> str:
    """A labeling as `LabelingSerializer` writes it, x first."""
    content = {
        "interval": {"min": [0] * len(sizes), "max": [n - 1 for n in sizes], "n": len(sizes)},
        "pixelSizes": [{"size": 1.0, "unit": "pixel"} for _ in sizes],
        "labels": labels,
        "colors": dict.fromkeys(labels if isinstance(labels, dict) else (), "#FF8000"),
    }
    return json.dumps(content | more, separators=(",", ":"))


@pytest.mark.parametrize("name", ["strokes.labeling", "strokes.json"])
def test_pixels_come_back_with_names_and_colours(tmp_path: Path, name: str) -> None:
    mask = np.random.default_rng(0).random((3, 7, 9)) < 0.2
    places = np.argwhere(mask).tolist()
    labels = {
        "membrane": [[x, y, z] for z, y, x in places if x < 5],
        "glia": [[x, y, z] for z, y, x in places if x > 4],
    }
    path = written(tmp_path / name, labeling((9, 7, 3), labels))
    assert labkit.knows(path)
    assert not geojson.knows(path)
    painted = labkit.read(path, options(3, 7, 9))
    assert pixels_of(painted, (1, 3, 7, 9)) == {
        "membrane": {(0, z, y, x) for z, y, x in places if x < 5},
        "glia": {(0, z, y, x) for z, y, x in places if x > 4},
    }
    assert [(one.name, one.value, one.colour) for one in painted.classes] == [
        ("membrane", 1, "#ff8000"), ("glia", 2, "#ff8000"),
    ]  # fmt: skip
    assert painted.notes == ()


def test_the_third_axis_is_time_where_the_image_is_a_movie(tmp_path: Path) -> None:
    path = written(tmp_path / "a.labeling", labeling((9, 7, 3), {"a": [[1, 2, 0], [3, 4, 2]]}))
    found = pixels_of(labkit.read(path, options(3, 1, 7, 9)), (3, 1, 7, 9))
    assert found == {"a": {(0, 0, 2, 1), (2, 0, 4, 3)}}


def test_an_interval_that_begins_elsewhere_is_taken_off(tmp_path: Path) -> None:
    interval = {"min": [10, 20], "max": [18, 26], "n": 2}
    path = written(tmp_path / "a.labeling", labeling((9, 7), {"a": [[10, 20], [18, 26]]}, interval=interval))
    assert pixels_of(labkit.read(path, options(7, 9)), (1, 1, 7, 9)) == {"a": {(0, 0, 0, 0), (0, 0, 6, 8)}}


def test_a_pixel_with_several_labels_is_told_and_has_the_later_one(tmp_path: Path) -> None:
    path = written(tmp_path / "a.labeling", labeling((9, 7), {"a": [[1, 1], [2, 2]], "b": [[2, 2]]}))
    painted = labkit.read(path, options(7, 9))
    assert pixels_of(painted, (1, 1, 7, 9)) == {"a": {(0, 0, 1, 1)}, "b": {(0, 0, 2, 2)}}
    assert painted.notes == ("1 pixel in pixels of several classes; the later one counts",)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4"])
def test_a_tiff_with_names_beside_it_gives_the_sets_of_labels(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 4, (2, 10, 300)).astype(dtype)
    path = tmp_path / "strokes.tif"
    tifffile.imwrite(path, values, photometric="minisblack")
    sets = {"labelSets": [[], ["membrane"], ["glia"], ["membrane", "glia"]]}
    beside = written(tmp_path / "strokes.tif.labels", json.dumps(sets))
    assert labkit.knows(path)
    assert labkit.knows(beside)
    for given in (path, beside):
        painted = labkit.read(given, options(2, 10, 300))
        places = {n: {(0, *place) for place in map(tuple, np.argwhere(values == n).tolist())} for n in (1, 2, 3)}
        assert pixels_of(painted, (1, 2, 10, 300)) == {"glia": places[2], "membrane": places[1] | places[3]}
        assert painted.notes == (f"{len(places[3])} pixels with several labels; the last one by name counts",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (labeling((9, 8), {"a": []}), "its interval: it is 8 x 9 pixels, but the image 1 x 1 x 7 x 9 (t, z, y, x)"),
        (labeling((9, 7), {"a": [[1, 2, 3]]}), "label 'a': its coordinates are [[1, 2, 3]], not lists of 2"),
        (labeling((9, 7), {"a": [[1, float("nan")]]}), "label 'a': a coordinate is no place of a pixel"),
        (labeling((9, 7), {"a\n": [[1, 1]]}), "the class name"),
        (labeling((9, 7), 3), "its labels are 3"),
        (labeling((9, 7), {}, interval={"min": 3}), "its interval: it is {'min': 3}"),
        (labeling((9,), {}), "its interval: its coordinates have 1 number"),
        ("[1]", "its labels are None"),
        ("{", "is not a readable JSON file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = written(tmp_path / "a.labeling", content)
    with pytest.raises(InputError) as caught:
        labkit.read(path, options(7, 9))
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("sets", "shape", "words"),
    [
        (
            {"labelSets": [[], ["a"]]},
            (7, 9),
            "has the value 2 at t=0, z=0, y=1, x=3; its labels are the numbers 0 to 1",
        ),
        (
            {"labelSets": [[], ["a"], ["b"]]},
            (8, 9),
            "has 1 x 1 x 8 x 9 pixels, but the image 1 x 1 x 7 x 9 (t, z, y, x)",
        ),
        ({"labelSets": [[], ["a"], 3]}, (7, 9), "labelSets is [[], ['a'], 3], not a list of lists of names"),
    ],
)
def test_a_tiff_that_does_not_fit_is_one_line(tmp_path: Path, sets: Any, shape: tuple[int, int], words: str) -> None:
    values = np.zeros(shape, np.uint8)
    values[1, 3] = 2
    tifffile.imwrite(tmp_path / "a.tif", values)
    written(tmp_path / "a.tif.labels", json.dumps(sets))
    with pytest.raises(InputError) as caught:
        labkit.read(tmp_path / "a.tif", options(7, 9))
    assert words in str(caught.value)


def test_other_files_are_not_known(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    for path in (tmp_path, tmp_path / "missing", tmp_path / "a.tif", written(tmp_path / "b.json", '{"labels": 1}')):
        assert not labkit.knows(path)
