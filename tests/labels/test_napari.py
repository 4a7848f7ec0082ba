"""CSV files as napari 0.9.2 writes them, and the pixels that its own masks have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from painting import drawn, options, pixels_of, values_of, written

from eseg_zoo.errors import InputError
from eseg_zoo.labels import napari, points

# Written by `napari_write_shapes` and `napari_write_points` of napari 0.9.2, line ends included.
SHAPES = """index,shape-type,vertex-index,axis-0,axis-1,axis-2\r
0,path,0,2.0,3.5,4.0\r
0,path,1,2.0,8.0,4.0\r
0,path,2,2.0,8.0,9.0\r
1,rectangle,0,3.0,1.0,1.0\r
1,rectangle,1,3.0,1.0,6.25\r
1,rectangle,2,3.0,5.0,6.25\r
1,rectangle,3,3.0,5.0,1.0\r
2,ellipse,0,0.0,2.0,2.0\r
2,ellipse,1,0.0,2.0,8.0\r
2,ellipse,2,0.0,7.0,8.0\r
2,ellipse,3,0.0,7.0,2.0\r
"""
POINTS = "index,axis-0,axis-1,axis-2\r\n0.0,1.0,2.0,3.4\r\n1.0,0.0,5.5,6.0\r\n"
NAMED = "index,axis-0,axis-1,axis-2,class,n\r\n0,1.0,2.0,3.4,membrane,1\r\n1,0.0,5.5,6.0,glia,2\r\n"
NUMBERED = "index,axis-0,axis-1,axis-2,label\r\n0.0,1.0,2.0,3.4,1.0\r\n1.0,0.0,5.5,6.0,2.0\r\n"


def test_shapes_of_a_stack_take_the_pixels_of_naparis_masks(tmp_path: Path) -> None:
    path = written(tmp_path / "membrane.csv", SHAPES)
    assert napari.knows(path)
    assert not points.knows(path)
    painted = napari.read(path, options(4, 10, 12))
    assert [(one.name, one.value) for one in painted.classes] == [("membrane", 1)]
    assert painted.notes == ()
    found = values_of(painted, (1, 4, 10, 12))[0]
    # As `Shapes(...).to_labels` of the same vertices gives them.
    path_mask = np.zeros((10, 12), bool)
    path_mask[4:9, 4], path_mask[8, 4:10] = True, True
    np.testing.assert_array_equal(found[2] > 0, path_mask)
    box = np.zeros((10, 12), bool)
    box[1:6, 1:7] = True
    np.testing.assert_array_equal(found[3] > 0, box)
    y, x = np.mgrid[:10, :12]
    np.testing.assert_array_equal(found[0] > 0, ((y - 4.5) / 2.5) ** 2 + ((x - 5) / 3) ** 2 <= 1)
    assert not found[1].any()


@pytest.mark.parametrize(
    ("kind", "vertices", "expected"),
    [
        ("line", [[0, 0], [4, 2]], "#.... .#... .#... ..#.. ..#.."),
        ("path", [[1, 1], [1, 3], [3, 3]], "..... .###. ...#. ...#. ....."),
        ("polygon", [[0, 0], [0, 4], [4, 0]], "##### ####. ###.. ##... #...."),
        ("rectangle", [[0.6, 0.6], [0.6, 3.4], [2.4, 3.4], [2.4, 0.6]], "..... .###. .###. ..... ....."),
        ("ellipse", [[0, 0], [0, 4], [4, 4], [4, 0]], "..#.. .###. ##### .###. ..#.."),
    ],
)
def test_each_kind_of_shape_in_a_plane(tmp_path: Path, kind: str, vertices: list[list[float]], expected: str) -> None:
    rows = "".join(f"0,{kind},{n},{y},{x}\n" for n, (y, x) in enumerate(vertices))
    path = written(tmp_path / "a.csv", f"index,shape-type,vertex-index,axis-0,axis-1\n{rows}")
    found = values_of(napari.read(path, options(5, 5)), (1, 1, 5, 5))[0, 0]
    np.testing.assert_array_equal(found > 0, drawn(expected))


def test_points_are_painted_at_the_pixel_that_they_lie_in(tmp_path: Path) -> None:
    painted = napari.read(written(tmp_path / "strokes.csv", POINTS), options(2, 8, 8, class_name="glia"))
    assert pixels_of(painted, (1, 2, 8, 8)) == {"glia": {(0, 1, 2, 3), (0, 0, 6, 6)}}


@pytest.mark.parametrize(
    ("content", "names"), [(NAMED, {"membrane": 1, "glia": 2}), (NUMBERED, {"1": 1, "2": 2})], ids=["names", "values"]
)
def test_a_feature_called_class_or_label_names_the_class_of_each_point(
    tmp_path: Path, content: str, names: dict[str, int]
) -> None:
    painted = napari.read(written(tmp_path / "a.csv", content), options(2, 8, 8))
    assert {one.name: one.value for one in painted.classes} == names
    first, second = names
    assert pixels_of(painted, (1, 2, 8, 8)) == {first: {(0, 1, 2, 3)}, second: {(0, 0, 6, 6)}}


def test_a_third_axis_is_time_where_the_image_is_a_movie(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", POINTS)
    assert pixels_of(napari.read(path, options(2, 1, 8, 8)), (2, 1, 8, 8)) == {"a": {(1, 0, 2, 3), (0, 0, 6, 6)}}


def test_points_of_a_plane_are_in_all_slices_as_napari_shows_them(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "index,axis-0,axis-1\n0,2,3\n")
    painted = napari.read(path, options(3, 8, 8))
    assert pixels_of(painted, (1, 3, 8, 8)) == {"a": {(0, z, 2, 3) for z in range(3)}}
    assert painted.notes == ("1 point without a slice: painted in all 3 slices",)


def test_a_shape_across_several_slices_is_told(tmp_path: Path) -> None:
    header = "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n"
    path = written(tmp_path / "a.csv", f"{header}0,path,0,0,1,1\n0,path,1,1,5,5\n1,line,0,1,0,0\n1,line,1,1,0,2\n")
    painted = napari.read(path, options(2, 8, 8))
    assert pixels_of(painted, (1, 2, 8, 8)) == {"a": {(0, 1, 0, x) for x in range(3)}}
    assert painted.notes == ("1 shape across several slices or frames: not painted",)


def test_the_width_of_lines_is_that_of_the_options(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "index,shape-type,vertex-index,axis-0,axis-1\n0,line,0,2,1\n0,line,1,2,4\n")
    found = values_of(napari.read(path, options(5, 6, width=3)), (1, 1, 5, 6))[0, 0]
    np.testing.assert_array_equal(found > 0, drawn("...... ###### ###### ###### ......"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("index,axis-0,axis-1\n0,1\n", "row 2: it has 2 columns, but the header 3"),
        ("index,axis-0,axis-1\n0,1,2\n\n1,x,2\n", "row 4: axis-0 is 'x', not a number"),
        ("index,axis-0,axis-1\n0,nan,2\n", "row 2: axis-0 is 'nan', not a number"),
        ("index,axis-0,axis-1\n0,1e300,2\n", "its points: it has the coordinate 1e+300"),
        ("axis-0,axis-1,axis-2,axis-3,axis-4\n0,1,2,3,4\n", "its header: its coordinates have 5 numbers"),
        ("index,shape-type,vertex-index,axis-0,axis-1\n0,star,0,1,2\n", "row 2: its shape-type is 'star'"),
        ("index,shape-type,vertex-index,axis-0,axis-1\n0,ellipse,0,1,2\n", "row 2: it has 1 corner, but ellipse is a"),
        ("index,axis-0,axis-1,class\n0,1,2,70000\n", "row 2: the class is '70000'"),
        ("index,axis-0,axis-1,class\n0,1,2,1\n1,1,2,0\n", "row 3: the class is '0'"),
        ("x,y\n0,1\n", "is no CSV of napari"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_its_row(tmp_path: Path, content: str, words: str) -> None:
    path = written(tmp_path / "a.csv", content)
    with pytest.raises(InputError) as caught:
        napari.read(path, options(8, 8))
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"axis-0", b"\x89PNG\r\n\x1a\n", b"a,b\n1,2\n", b"\xff\xfe\x00", b"axis-0\0axis-1"]
)
def test_other_files_are_not_known(tmp_path: Path, content: bytes) -> None:
    assert not napari.knows(written(tmp_path / "a.csv", content))
    assert not napari.knows(tmp_path / "missing.csv")
    assert not napari.knows(tmp_path)
