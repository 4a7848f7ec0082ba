"""Tables of points as people and spreadsheets write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from painting import options, pixels_of, written

from eseg_zoo.errors import InputError
from eseg_zoo.labels import napari, points

EXPECTED = {"membrane": {(0, 1, 2, 3)}, "glia": {(0, 0, 6, 5)}}


@pytest.mark.parametrize(
    "content",
    [
        "z,y,x,class\n1,2,3,membrane\n0,6,5,glia\n",
        "class;X;Y;Z\r\nmembrane;3,0;2;1\r\n\r\nglia;5;6;0\r\n",
        "x\ty\tz\tLabel\tremark\n3\t2\t1\tmembrane\tsure?\n5\t6\t0\tglia\t\n",
        'z,y,x,"class"\n1,2,3,"membrane"\n0,6,5," glia"\n',
        "t,z,y,x,class\n0,1,2,3,membrane\n0,0,6,5,glia\n",
        "\ufeffz,y,x,class\n1,2,3,membrane\n0,6,5,glia\n",
        "z (pixel),y [px],x_pixels,class\n1,2,3,membrane\n0,6,5,glia\n",
    ],
    ids=["plain", "semicolons", "tabs", "quotes", "time", "mark", "units"],
)
def test_columns_may_have_any_order_case_and_separator(tmp_path: Path, content: str) -> None:
    path = written(tmp_path / "points.csv", content)
    assert points.knows(path)
    assert not napari.knows(path)
    painted = points.read(path, options(2, 8, 8))
    assert pixels_of(painted, (1, 2, 8, 8)) == EXPECTED
    assert painted.notes == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("unit", ["um", "µm", "micrometer", "nm"])
def test_lengths_become_pixels_by_the_size_of_the_images(tmp_path: Path, unit: str, encoding: str) -> None:
    factor = 1000 if unit == "nm" else 1
    content = f"z,y ({unit}),x [{unit}],class\n1,{1.04 * factor},{0.3 * factor},membrane\n0,3,0.5,glia\n"
    path = written(tmp_path / "a.csv", content.encode(encoding))
    assert points.knows(path)
    painted = points.read(path, options(2, 8, 8, voxel_size={"y": 0.5, "x": 0.1}))
    y, x = (0, 0) if unit == "nm" else (6, 5)
    assert pixels_of(painted, (1, 2, 8, 8)) == {"membrane": {(0, 1, 2, 3)}, "glia": {(0, 0, y, x)}}
    assert painted.notes == ()


def test_the_unit_of_the_options_counts_where_the_header_states_none(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "t,y,x\n1,1.04,0.3\n")
    painted = points.read(path, options(2, 1, 8, 8, voxel_size={"y": 0.5, "x": 0.1}, unit="micrometer"))
    assert pixels_of(painted, (2, 1, 8, 8)) == {"a": {(1, 0, 2, 3)}}


def test_points_between_pixels_are_told_where_no_unit_is_stated(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "y,x\n1.4,2.5\n3,3\n-0.2,7.49\n")
    painted = points.read(path, options(8, 8))
    assert pixels_of(painted, (1, 1, 8, 8)) == {"a": {(0, 0, 1, 3), (0, 0, 3, 3), (0, 0, 0, 7)}}
    assert painted.notes[0].startswith("2 points between pixels, painted at the pixel each lies in")
    assert points.read(path, options(8, 8, unit="pixel")).notes == ()


def test_whole_numbers_are_values_and_text_is_names(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "y,x,class\n1,1,7\n2,2,3\n3,3,7\n")
    assert {one.name: one.value for one in points.read(path, options(8, 8)).classes} == {"7": 7, "3": 3}
    path = written(tmp_path / "b.csv", "y,x,class\n1,1,7\n2,2,3a\n3,3,7\n")
    assert {one.name: one.value for one in points.read(path, options(8, 8)).classes} == {"7": 1, "3a": 2}


def test_rows_without_a_class_are_told_unless_all_are(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "y,x,class\n1,1,\n2,2,glia\n3,3,NaN\n")
    painted = points.read(path, options(8, 8))
    assert pixels_of(painted, (1, 1, 8, 8)) == {"glia": {(0, 0, 2, 2)}}
    assert painted.notes == ("2 rows without a class: not painted",)
    path = written(tmp_path / "b.csv", "y,x,class\n1,1,\n")
    assert pixels_of(points.read(path, options(8, 8)), (1, 1, 8, 8)) == {"b": {(0, 0, 1, 1)}}


def test_points_outside_are_counted_and_of_two_classes_the_later_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "y,x,class\n1,1,a\n8,1,a\n1,-1,b\n1,1,b\n1e12,0,a\n")
    painted = points.read(path, options(8, 8))
    assert pixels_of(painted, (1, 1, 8, 8)) == {"a": set(), "b": {(0, 0, 1, 1)}}
    assert painted.notes == (
        "3 of 5 points outside the image: not painted there",
        "1 pixel in points of several classes; the later one counts",
    )


def test_a_table_without_rows_paints_nothing(tmp_path: Path) -> None:
    painted = points.read(written(tmp_path / "a.csv", "z,y,x,class\n"), options(2, 8, 8))
    assert (painted.classes, painted.blocks, painted.notes) == ((), (), ())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("y,x\n1,2\n", "has no column z, but the image has 2 slices; add one that counts from 0"),
        ("z,y,x\n1,2,\n", "row 2: x is '', not a number"),
        ("z,y,x\n1,2,inf\n", "row 2: x is 'inf', not a number"),
        ("z,y,x\n1,2,1e13\n", "its points: it has the coordinate 1e+13"),
        ("z,y,x_um\n1,2,3\n", "gives x_um in micrometers, but the size of the image's pixels along x is not known"),
        ("z,y,x,class\n1,2,3,-1\n", "row 2: the class is '-1'; it must be a name, or a number from 1 to 65535"),
        ("z,y,x,x_um\n1,2,3,4\n", "is no table of points"),
        ("z,y,x,class\n1,2,3,a\x07\n", "row 2: the class name"),
        ('z,y,x,class\n1,2,3,"' + "a" * 200_000 + "\n", "field larger than field limit"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = written(tmp_path / "a.csv", content)
    with pytest.raises(InputError) as caught:
        points.read(path, options(2, 8, 8))
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    with pytest.raises(InputError, match=r"missing\.csv does not exist"):
        points.read(tmp_path / "missing.csv", options(8, 8))


@pytest.mark.parametrize("content", [b"", b"x", b"x,z,class\n", b"PK\3\4x,y", b"x,y,x\n", b"\0x,y\n", b"lon,lat\n"])
def test_other_files_are_not_known(tmp_path: Path, content: bytes) -> None:
    assert not points.knows(written(tmp_path / "a.csv", content))
    assert not points.knows(tmp_path)
