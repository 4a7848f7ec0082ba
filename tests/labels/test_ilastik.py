"""Projects of ilastik give what was painted in them, or one line that says why not."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels import ilastik
from eseg_zoo.labels.ilastik import Lane, Project, read_lane, read_project
from eseg_zoo.labels.opening import images_of
from labels.ilastik_project import PaintedImage, tags, write_project
from labels.phantom import NAMES, SHAPE, Open, read_of, values_of

THREE: dict[str, Any] = {"names": list(NAMES.values()), "colours": [(255, 0, 0), (0, 255, 0), (0, 0, 255)]}


def of(strokes: NDArray[Any], **changes: Any) -> PaintedImage:
    return PaintedImage(**{"labels": strokes, "axes": "zyx", "file": "raw.tif", **changes})


def painted(project: Project, number: int = 0) -> NDArray[np.int64]:
    """The values (t, z, y, x) of a lane on an image of the phantom's size."""
    found = np.zeros((2, *SHAPE), np.int64)
    for block in read_lane(project, project.lanes[number]).blocks:
        box = tuple(slice(first, first + n) for first, n in zip(block.origin, block.values.shape, strict=True))
        found[box] = np.where(block.values, block.values, found[box])
    return found


# One row for each way in which a version of ilastik orders the axes of a block.
ORDERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("says its axes", {"block_axes": "xcyz", "version": "1.4.1"}, {}),
    ("channel last", {"block_axes": "zyxc", "says_axes": False, "version": "1.2.2rc4"}, {"channels_at": 1}),
    ("own order", {"block_axes": "zcyx", "says_axes": False, "version": "1.3.3post2"}, {"channels_at": 1}),
    ("own order, no channel", {"block_axes": "zyxc", "says_axes": False, "version": "1.4.0b7"}, {}),
    ("of the workflow", {"block_axes": "txyzc", "says_axes": False, "version": "1.3.3"}, {"channels_at": 0}),
    ("of the workflow again", {"block_axes": "txyzc", "says_axes": False, "version": "1.4.0b8"}, {"channels_at": 3}),
    (
        "own order of five", {"block_axes": "tzcyx", "says_axes": False, "version": "1.4.0b1"},
        {"axes": "tzyx", "channels_at": 2},
    ),
    ("masked", {"masked": True}, {}),
    ("small blocks", {"side": 5}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("project", "lane"), [row[1:] for row in ORDERS], ids=[row[0] for row in ORDERS])
def test_labels_are_where_they_were_painted_whatever_the_order_of_the_axes(
    tmp_path: Path, strokes: NDArray[Any], project: dict[str, Any], lane: dict[str, Any]
) -> None:
    labels = strokes[None] if lane.get("axes") == "tzyx" else strokes
    path = write_project(tmp_path / "p.ilp", [of(labels, **lane)], **THREE, **project)
    found = painted(read_project(path))
    np.testing.assert_array_equal(found[0], strokes)
    assert not found[1].any()


def test_frames_keep_their_place(tmp_path: Path, strokes: NDArray[Any]) -> None:
    movie = np.stack([np.zeros_like(strokes), strokes])
    path = write_project(tmp_path / "p.ilp", [of(movie, axes="tzyx")], **THREE, block_axes="txyzc", says_axes=False)
    np.testing.assert_array_equal(painted(read_project(path)), movie)


def test_names_and_colours_are_those_of_the_project(tmp_path: Path, strokes: NDArray[Any]) -> None:
    path = write_project(
        tmp_path / "p.ilp", [of(strokes)], names=["µtubule", "b", "c"], colours=[(1, 2, 255), (0, 0, 0), (9, 9, 9)]
    )
    found = read_project(path).classes
    assert [(one.name, one.value, one.colour) for one in found] == [
        ("µtubule", 1, "#0102ff"),
        ("b", 2, "#000000"),
        ("c", 3, "#090909"),
    ]


@pytest.mark.parametrize("empty", [True, "True", np.bytes_("True"), 1], ids=repr)
def test_a_list_that_is_called_empty_is_empty_whatever_it_holds(tmp_path: Path, empty: Any) -> None:
    path = write_project(tmp_path / "p.ilp", [of(np.zeros(SHAPE))], names=["garbage"], colours=[(1, 2, 3)])
    with h5py.File(path, "a") as file:
        del file["PixelClassification/LabelNames"].attrs["isEmpty"]
        file["PixelClassification/LabelNames"].attrs["isEmpty"] = empty
    assert read_project(path).classes == ()


def test_every_applet_counts_and_a_later_one_paints_over(tmp_path: Path, strokes: NDArray[Any]) -> None:
    second = np.zeros_like(strokes)
    second[0, 3, 2:5], second[2, 0, 0] = 1, 2
    path = write_project(tmp_path / "p.ilp", [of(strokes)], **THREE)
    write_project(path, [of(second)], names=["cytoplasm", "nucleus"], group="PixelClassification01")
    project = read_project(path)
    assert [one.name for one in project.classes] == [*NAMES.values(), "nucleus"]
    expected = strokes.astype(int)
    expected[0, 3, 2:5], expected[2, 0, 0] = 2, 4
    np.testing.assert_array_equal(painted(project)[0], expected)


def test_lanes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    images = []
    for number in range(11):
        labels = np.zeros(SHAPE)
        labels[0, number, number] = 1
        images.append(of(labels, file=f"raw{number}.tif"))
    path = write_project(tmp_path / "p.ilp", images, names=["a"])
    with h5py.File(path, "a") as file:
        sets = file["PixelClassification/LabelSets"]
        for number in range(11):  # as some versions wrote them
            sets.move(f"labels{number:03d}", f"labels{number}")
    project = read_project(path)
    for number in range(11):
        assert np.argwhere(painted(project, number)).tolist() == [[0, 0, number, number]]


# ------------------------------------------------------------------------------------------------ lanes and images


def test_a_lane_is_of_the_image_at_its_path_with_its_name_or_nickname(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open
) -> None:
    other = np.zeros_like(strokes)
    other[0, 0, 0] = 1
    (tmp_path / "sub").mkdir()
    images = [
        of(other, file="../raw.tif"),
        of(strokes, file="raw.tif"),
        of(other, file="C:\\data\\nick.h5", nickname="far"),
    ]
    path = write_project(tmp_path / "sub/p.ilp", images, **THREE)
    for name in (str(tmp_path / "sub/raw.tif"), "far.tif"):
        (found,) = open_all([[path]], names=(name,))
        expected = strokes if "sub" in name else other
        np.testing.assert_array_equal(values_of(found), expected)
    (found,) = open_all([[path]], names=("elsewhere/nick.h5",))
    np.testing.assert_array_equal(values_of(found), other)


def test_one_project_serves_all_images_and_each_lane_without_one_is_told(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open, caplog: pytest.LogCaptureFixture
) -> None:
    reverse = strokes[::-1]
    images = [of(strokes, file="a.tif"), of(reverse, file="b.tif"), of(strokes, file="c.tif")]
    path = write_project(tmp_path / "p.ilp", images, **THREE)
    found = open_all([path], names=("b.tif", "a.tif", "d.tif"))
    np.testing.assert_array_equal(values_of(found[0]), reverse)
    np.testing.assert_array_equal(values_of(found[1]), strokes)
    assert not values_of(found[2]).any()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{path}: lane 2 (c) has labels, but its image is not in the run",
        f"{path} does not know d.tif, and gives it no labels",
    ]


def test_the_only_lane_is_of_the_only_image(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes, file="other.h5/volume")], **THREE)
    (found,) = open_all(path, names=("images[0]",))
    np.testing.assert_array_equal(read_of(found), strokes)
    assert "is taken for images[0]" in caplog.text


def test_slices_that_ilastik_took_for_time_are_slices(tmp_path: Path, strokes: NDArray[Any], open_all: Open) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes, axes="tyx")], **THREE)
    (found,) = open_all(path)
    np.testing.assert_array_equal(values_of(found), strokes)


def test_a_project_on_a_part_of_an_image_has_an_offset(tmp_path: Path, strokes: NDArray[Any], open_all: Open) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes[1:, 10:, 20:])], **THREE)
    (found,) = open_all({"file": path, "offset": {"z": 1, "y": 10, "x": 20}})
    expected = np.zeros_like(strokes)
    expected[1:, 10:, 20:] = strokes[1:, 10:, 20:]
    np.testing.assert_array_equal(values_of(found), expected)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("x.tif", "y.tif"), "does not know x.tif or y.tif: its images are {folder}/a.tif, {folder}/b.tif"),
        (("x.tif",), "does not know x.tif: its images are {folder}/a.tif, {folder}/b.tif"),
        (
            ("other/a.tif",),
            ": lane 0 (a) was painted on an image of z=2 x y=40 x x=52, but other/a.tif has z=3 x y=40 x x=52",
        ),
    ],
    ids=["none of two", "none of one", "size"],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open, names: tuple[str, ...], line: str
) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes[:2], file="a.tif"), of(strokes, file="b.tif")], **THREE)
    with pytest.raises(InputError) as caught:
        open_all([path], names=names)
    assert str(caught.value).removeprefix(str(path)).lstrip() == line.format(folder=tmp_path)


def test_two_lanes_of_one_name_are_not_guessed(tmp_path: Path, strokes: NDArray[Any], open_all: Open) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes, file="a/raw.tif"), of(strokes, file="b/raw.tif")], **THREE)
    with pytest.raises(InputError, match=r"lane 0 \(raw\) and lane 1 \(raw\) for raw\.tif; which one is meant cannot"):
        open_all(path)


def test_the_images_of_a_project_are_told_with_their_place(tmp_path: Path, strokes: NDArray[Any]) -> None:
    np.save(tmp_path / "there.npy", strokes)
    files = ["there.npy", "planes/1.png:planes/2.png", "gone.h5/volume/data", "/Input Data/local_data/x7"]
    images = [of(strokes, file=file, nickname=f"n{number}", channels_at=1) for number, file in enumerate(files)]
    path = write_project(tmp_path / "p.ilp", images, **THREE)
    with h5py.File(path, "a") as file:
        stored = file.create_dataset("Input Data/local_data/x7", data=strokes)
        stored.attrs["axistags"] = tags("zyx")
    lanes = images_of(path)
    assert [lane.sources for lane in lanes] == [
        (f"{tmp_path}/there.npy",),
        (f"{tmp_path}/planes/1.png", f"{tmp_path}/planes/2.png"),
        (f"{tmp_path}/gone.h5/volume/data",),
        (f"{path}/Input Data/local_data/x7",),
    ]
    assert [lane.exists for lane in lanes] == [True, False, False, True]
    assert {(lane.axes, lane.shape, lane.usual_axes) for lane in lanes} == {("zcyx", (3, 3, 40, 52), "zcyx")}
    inside = open_image(lanes[3].sources[0])
    np.testing.assert_array_equal(inside.read()[0, 0], strokes)
    assert images_of(tmp_path / "there.npy") == ()


# ------------------------------------------------------------------------------------------------------- damage


def refusal(path: Path) -> str:
    project = read_project(path)
    with pytest.raises(InputError) as caught:
        read_lane(project, project.lanes[0])
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


BLOCK = "PixelClassification/LabelSets/labels000/block0000"


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ("[0:9,0:9,0:9,0:1]", "has the slices '[0:9,0:9,0:9,0:1]', but labels of shape"),
        ("nothing", "has the slices 'nothing'"),
        ("[0:1]", "the project is damaged"),
        (7, "has the slices ''"),
    ],
    ids=str,
)
def test_slices_that_are_not_those_of_the_block_are_refused(
    tmp_path: Path, strokes: NDArray[Any], slices: object, words: str
) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes)], **THREE)
    with h5py.File(path, "a") as file:
        del file[BLOCK].attrs["blockSlice"]
        file[BLOCK].attrs["blockSlice"] = slices
    assert words in refusal(path)


def test_a_block_larger_than_ilastik_writes_is_not_read(tmp_path: Path, strokes: NDArray[Any]) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes)], **THREE)
    with h5py.File(path, "a") as file:
        del file[BLOCK]
        huge = file.create_dataset(BLOCK, (10**6, 10**6, 10**6, 1), np.uint8, chunks=(64, 64, 64, 1))
        huge.attrs["blockSlice"] = "[0:1000000,0:1000000,0:1000000,0:1]"
        huge.attrs["axistags"] = tags("zyxc")
    assert "has 1000000 x 1000000 x 1000000 x 1 pixels; ilastik writes smaller blocks" in refusal(path)


def test_a_label_without_a_name_is_refused(tmp_path: Path, strokes: NDArray[Any]) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes)], names=["a", "b"])
    assert refusal(path).endswith("has the label 3, but the project names 2")


def test_nothing_in_a_project_is_unpickled(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_project(tmp_path / "p.ilp", [of(strokes)], **THREE)
    with h5py.File(path, "a") as file:
        file["PixelClassification/ClassifierFactory"] = np.void(pickle.dumps(print))
        file["PixelClassification/Bookmarks/0000"] = pickle.dumps(print, 0)

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "loads", never)
    monkeypatch.setattr(pickle, "load", never)
    (found,) = open_all(path)
    np.testing.assert_array_equal(values_of(found), strokes)


def test_a_project_without_labels_says_so(tmp_path: Path, open_all: Open) -> None:
    path = write_project(tmp_path / "p.ilp", [of(np.zeros(SHAPE))])
    with pytest.raises(InputError, match=r"p\.ilp has no labels: paint some in ilastik and save the project"):
        open_all(path)


def test_other_files_are_no_projects(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["data"] = np.zeros((4, 4))
    (tmp_path / "text.ilp").write_text("nothing")
    assert not any(ilastik.knows(tmp_path / name) for name in ("image.h5", "text.ilp", "gone.ilp", "."))


@pytest.mark.parametrize(
    ("axes", "shape", "usual"),
    [("zyxc", (3, 40, 52, 1), "zyx"), ("tzyxc", (1, 3, 40, 1, 2), "zyxc"), ("yx", (1, 1), "yx"), ("zyx", (), "zyx")],
)
def test_axes_of_length_1_that_ilastik_adds_are_not_those_of_the_file(
    axes: str, shape: tuple[int, ...], usual: str
) -> None:
    assert Lane(0, (), "", axes, shape, is_labelled=True).usual_axes == usual
