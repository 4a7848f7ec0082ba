"""Suggested places in the files of labelling programs, read by libraries that are not ours."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import roifile

from eseg_zoo.errors import OutputError
from eseg_zoo.images.opening import open_image
from eseg_zoo.suggest.places import Place
from eseg_zoo.suggest.writing import write_points, write_rois


def places_in(shape: tuple[int, ...], axes: str) -> list[Place]:
    image = open_image(np.zeros(shape, np.uint8), axes=axes, name="raw.tif")
    t = 2 if "t" in axes else 0
    z = 3 if "z" in axes else 0
    return [
        Place(image, 0, 1, t, z, 40, 50, 0.75, 1.25, "membrane"),
        Place(image, 0, 2, 0, 0, 7, 300, 0.5, 1.0, "glia, or extracellular"),
    ]


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((64, 64), "yx", [[40, 50], [7, 300]]),
        ((5, 64, 64), "zyx", [[3, 40, 50], [0, 7, 300]]),
        ((5, 2, 64, 64), "zcyx", [[3, 40, 50], [0, 7, 300]]),
        ((4, 5, 64, 64), "tzyx", [[2, 3, 40, 50], [0, 0, 7, 300]]),
    ],
)
def test_points_have_the_axes_of_the_image_but_its_channels(
    tmp_path: Path, shape: tuple[int, ...], axes: str, expected: list[list[int]]
) -> None:
    write_points(tmp_path / "next.csv", places_in(shape, axes), force=False)
    with (tmp_path / "next.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [f"axis-{number}" for number in range(len(expected[0]))]
    assert list(rows[0])[: 1 + len(names)] == ["index", *names], "how napari knows a layer of points"
    assert [[float(row[name]) for name in names] for row in rows] == expected
    assert [row["index"] for row in rows] == ["0", "1"]
    assert rows[1]["looks-like"] == "glia, or extracellular"
    assert "class" not in rows[0], "what it is, a person says"


@pytest.mark.parametrize(
    ("shape", "axes", "position", "czt"),
    [
        ((64, 64), "yx", [0, 0], [(0, 0, 0)] * 2),
        ((5, 64, 64), "zyx", [4, 1], [(0, 0, 0)] * 2),
        ((5, 64, 64), "tyx", [3, 1], [(0, 0, 0)] * 2),
        ((1, 5, 64, 64), "czyx", [4, 1], [(0, 0, 0)] * 2),
        ((5, 2, 64, 64), "zcyx", [0, 0], [(0, 4, 1), (0, 1, 1)]),
        ((4, 5, 64, 64), "tzyx", [0, 0], [(0, 4, 3), (0, 1, 1)]),
    ],
)
def test_rois_are_points_on_the_slice_that_imagej_shows(
    tmp_path: Path, shape: tuple[int, ...], axes: str, position: list[int], czt: list[tuple[int, int, int]]
) -> None:
    write_rois(tmp_path / "next.zip", places_in(shape, axes), force=False)
    rois = roifile.roiread(tmp_path / "next.zip")
    assert isinstance(rois, list)
    assert [roi.roitype for roi in rois] == [roifile.ROI_TYPE.POINT] * 2
    assert [np.asarray(roi.coordinates()).tolist() for roi in rois] == [[[50, 40]], [[300, 7]]]
    assert [roi.position for roi in rois] == position
    assert [(roi.c_position, roi.z_position, roi.t_position) for roi in rois] == czt
    assert [roi.name for roi in rois] == ["01 membrane", "02 glia, or extracellular"]


def test_a_file_that_exists_is_kept_unless_forced(tmp_path: Path) -> None:
    places = places_in((64, 64), "yx")
    for write, name in ((write_points, "next.csv"), (write_rois, "next.zip")):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match="exists already"):
            write(tmp_path / name, places, force=False)
        assert (tmp_path / name).read_text() == "mine"
        write(tmp_path / name, places, force=True)
        assert (tmp_path / name).read_bytes() != b"mine"
    assert len(roifile.roiread(tmp_path / "next.zip")) == 2  # type: ignore[arg-type]
