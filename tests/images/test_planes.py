"""A folder or a glob of planes is one image, if they are alike; the one that differs is named."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from eseg_zoo.images import open_image

from .conftest import STACK, refusal
from .test_tiff_faults import write_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "planes").mkdir()
    return tmp_path / "planes"


def write(folder: Path, planes: Any = STACK, *, suffix: str = ".tif", **options: Any) -> Path:
    for number, plane in enumerate(planes):
        path = folder / f"plane{number + 8}{suffix}"  # 8, 9, 10, 11
        if suffix == ".png":
            Pillow.fromarray(plane).save(path)
        else:
            tifffile.imwrite(path, plane, **{"photometric": "minisblack"} | options)
    return folder


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".png"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"metadata": None}], ids=repr)
def test_planes_are_slices_in_the_order_of_their_numbers(folder: Path, suffix: str, options: dict[str, Any]) -> None:
    write(folder, suffix=suffix, **options)
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.tif").write_text("nor this")
    image = open_image(folder, usual_axes="zyx")
    assert (image.axes, image.where) == ("zyx", "4 files")
    found = image.read({"z": slice(1, 3), "y": slice(2, 6)})[0, 0]
    np.testing.assert_array_equal(found, STACK[1:3, 2:6])
    assert len(pickle.dumps(image)) < 2000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).read()[0, 0], STACK)


def test_the_first_axis_of_a_folder_is_asked_for(folder: Path) -> None:
    write(folder)
    assert "does not say what its 3 axes are" in refusal(folder)
    assert open_image(folder, axes="tyx").sizes["t"] == 4


def test_a_glob_takes_the_files_that_it_matches(folder: Path) -> None:
    write(folder)
    tifffile.imwrite(folder / "mask.tif", np.zeros((9, 9), np.uint8))
    image = open_image(f"{folder}/plane*.tif", axes="zyx")
    np.testing.assert_array_equal(image.read()[0, 0], STACK)
    assert "mask.tif is 9 x 9 uint8, but most of its 5 files are 6 x 5 uint8" in refusal(folder, axes="zyx")
    np.testing.assert_array_equal(open_image(f"{folder.parent}/pl*s/plane?*.tif", axes="zyx").read()[0, 0], STACK)
    assert "matches no file" in refusal(f"{folder}/*.png", axes="zyx")
    assert "does not exist" in refusal(f"{folder}/nothing/*.png", axes="zyx")


@pytest.mark.parametrize("odd", [0, 2])
@pytest.mark.parametrize(
    ("other", "told"),
    [
        (STACK[0].astype(np.float32), "is 6 x 5 float32, but most of its 4 files are 6 x 5 uint8"),
        (STACK[0].astype(np.int8), "is 6 x 5 int8, but"),
        (STACK[0, :5], "is 5 x 5 uint8, but"),
        (STACK, "is 4 x 6 x 5 uint8, but"),
    ],
)
def test_the_file_that_differs_is_named_at_opening(folder: Path, odd: int, other: Any, told: str) -> None:
    write(folder, [other if number == odd else plane for number, plane in enumerate(STACK)])
    assert f"plane{odd + 8}.tif {told}" in refusal(folder, axes="zyx")


def test_a_damaged_file_is_named_at_opening(folder: Path) -> None:
    write(folder)
    content = (folder / "plane10.tif").read_bytes()
    (folder / "plane10.tif").write_bytes(content[:-20])
    assert refusal(folder, axes="zyx").startswith(f"{folder / 'plane10.tif'} is damaged: ")
    (folder / "plane10.tif").write_bytes(b"")
    assert refusal(folder, axes="zyx") == f"{folder / 'plane10.tif'} is empty, 0 bytes"


def test_a_file_of_several_images_is_named(folder: Path) -> None:
    write(folder)
    with tifffile.TiffWriter(folder / "plane9.tif") as writer:
        for page in (STACK[0], STACK[0, :3]):
            writer.write(page, photometric="minisblack", metadata=None)
    assert refusal(folder, axes="zyx").startswith(f"{folder / 'plane9.tif'} holds 2 images of shapes")


def test_stacks_that_say_so_are_time_points(folder: Path) -> None:
    stacks = [STACK, STACK + 1]
    write(folder, stacks, metadata={"axes": "ZYX"})
    image = open_image(folder, usual_axes="zyx")
    assert image.axes == "tzyx"
    np.testing.assert_array_equal(image.read({"t": slice(1, 2)})[0, 0], STACK + 1)


def test_stacks_that_say_nothing_need_axes(folder: Path) -> None:
    write(folder, [STACK, STACK + 1], metadata=None)
    assert "has shape (2, 4, 6, 5), but the model was trained on axes 'zyx'" in refusal(folder, usual_axes="zyx")
    np.testing.assert_array_equal(open_image(folder, axes="zcyx").read({"z": slice(1, 2)})[0, :, 0], STACK + 1)


def test_colours_of_a_folder_are_not_slices(folder: Path) -> None:
    write(folder, np.zeros((4, 20, 30, 3), np.uint8), photometric="rgb")
    assert "has several values at each pixel" in refusal(folder, axes="tzyx")
    assert open_image(folder, axes="zyxc").sizes["c"] == 3


def test_files_of_two_kinds_are_refused(folder: Path) -> None:
    write(folder)
    write(folder, suffix=".png")
    assert "holds 4 PNG files and 4 TIFF files; give a pattern of one kind" in refusal(folder, axes="zyx")


def test_a_multi_file_ome_tiff_is_not_a_folder_of_planes(folder: Path) -> None:
    path = write_set(folder, set())
    assert f"is a multi-file OME-TIFF; name one of its files, such as {path}" in refusal(folder, axes="tzyx")


def test_a_folder_without_images_says_what_it_holds(folder: Path) -> None:
    assert refusal(folder) == f"{folder} is a folder without TIFF or PNG files, and no OME-Zarr; it is empty"
    (folder / "notes.txt").write_text("x")
    assert "it holds notes.txt" in refusal(folder)


def test_a_folder_that_changes_is_another_input(folder: Path) -> None:
    image = open_image(write(folder), axes="zyx")
    assert open_image(folder, axes="zyx").fingerprint == image.fingerprint
    tifffile.imwrite(folder / "plane12.tif", STACK[0], photometric="minisblack")
    assert open_image(folder, axes="zyx").fingerprint != image.fingerprint
    assert "it has changed since it was opened" in refusal(image)
