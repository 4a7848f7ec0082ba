"""What is said of a path where something else lies than was expected, or nothing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr

from eseg_zoo.errors import InputError
from eseg_zoo.images.opening import open_image
from eseg_zoo.paths import described, missing


def test_a_missing_file_names_its_folder_and_the_nearest_name(tmp_path: Path) -> None:
    for name in ("raw.tif", "labels_points.tif", "run.yaml"):
        (tmp_path / name).touch()
    assert missing(tmp_path / "Raw.tiff") == (
        f"{tmp_path / 'Raw.tiff'} does not exist in {tmp_path}; did you mean raw.tif?"
    )
    assert missing(tmp_path / "label_point.tif").endswith("; did you mean labels_points.tif?")
    assert missing(tmp_path / "something.png") == f"{tmp_path / 'something.png'} does not exist in {tmp_path}"


def test_a_relative_path_names_the_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert missing(Path("raw.tif")) == f"raw.tif does not exist in {tmp_path}"


def test_of_a_missing_folder_the_nearest_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    lost = tmp_path / "experimant" / "day" / "raw.tif"
    assert missing(lost) == (
        f"{lost} does not exist, as there is no experimant in {tmp_path}; did you mean experiment?"
    )


def test_a_broken_link_is_told_with_its_goal(tmp_path: Path) -> None:
    (tmp_path / "raw.tif").symlink_to("gone.tif")
    assert missing(tmp_path / "raw.tif").endswith("raw.tif is a link to gone.tif, which is not there")


def test_files_are_called_what_they_are_whatever_their_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    assert described(path) == "a TIFF file"
    path.write_bytes(b"\x93NUMPY" + bytes(20))
    assert described(path) == "an NPY file"
    torch.save({"a": 1}, path)
    assert described(path) == "a model"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("rdf.yaml", "name: a")
    assert described(path) == "a package of the BioImage Model Zoo"
    path.write_text("images: raw.tif\nclasses: {1: größe}\n", encoding="utf-8")
    assert described(path) == "a text file"
    path.rename(tmp_path / "file.yml")
    assert described(tmp_path / "file.yml") == "a YAML file"
    assert described(tmp_path) == "a folder"
    path.write_bytes(bytes(range(256)))
    assert described(path) == ""


def test_a_zarr_is_no_mere_folder(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "raw.zarr")
    assert described(tmp_path / "raw.zarr") == "a Zarr"


def test_text_that_is_cut_within_a_letter_is_text(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_text("ö" * 255 + "aö" * 200, encoding="utf-8")
    assert path.read_bytes()[:512].decode(errors="ignore").encode() != path.read_bytes()[:512]
    assert described(path) == "a text file"


@pytest.mark.parametrize("name", ["run.yaml", "model.pt", "notes"])
def test_what_is_given_in_place_of_an_image_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("images: raw.tif\n")
    if name == "model.pt":
        torch.save({"a": 1}, path)
    kind = {"run.yaml": "a YAML file", "model.pt": "a model", "notes": "a text file"}[name]
    with pytest.raises(InputError) as caught:
        open_image(path)
    assert str(caught.value) == f"{path} is {kind}, not an image"
