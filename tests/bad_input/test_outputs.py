"""Nothing is overwritten or left half-written, on a full disk neither, and no two maps get one name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from eseg_zoo.output import replacing

from .commands import Outcome, assert_one_line, run_file, stack


def test_an_existing_model_is_kept_without_force(eseg: Callable[..., Outcome], folder: Path) -> None:
    target = folder / "out" / "model.pt"
    target.parent.mkdir()
    target.write_bytes(b"precious")
    assert_one_line(eseg("train", run_file(folder)), "model.pt exists already", "--force")
    assert target.read_bytes() == b"precious"
    assert eseg("train", run_file(folder), "--force").code == 0
    assert target.read_bytes() != b"precious"


def test_an_existing_map_is_kept_without_force(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    maps = folder / "maps"
    assert eseg("predict", trained, folder / "image.tif", "--out", maps).code == 0
    before = (maps / "image_classes.ome.tif").read_bytes()
    assert_one_line(eseg("predict", trained, folder / "image.tif", "--out", maps), "exists already")
    assert (maps / "image_classes.ome.tif").read_bytes() == before


def test_an_output_volume_that_exists_is_refused(eseg: Callable[..., Outcome], folder: Path, model: Path) -> None:
    (folder / "out.ome.zarr").mkdir()
    outcome = eseg("predict", model, folder / "image.tif", "--out", folder / "out.ome.zarr")
    assert_one_line(outcome, "out.ome.zarr exists already")
    assert list((folder / "out.ome.zarr").iterdir()) == []


def test_an_unwritable_folder_is_named(eseg: Callable[..., Outcome], folder: Path) -> None:
    (folder / "file").write_text("a file where a folder should be")
    assert_one_line(eseg("train", run_file(folder, out="file/out")), "Not a directory")


def refuse_as_full(*_: object, **__: object) -> None:
    raise OSError(28, os.strerror(28))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every rename reports a full disk, as a file system does that allocates late."""
    with monkeypatch.context() as patch:
        patch.setattr("eseg_zoo.output.os.replace", refuse_as_full)
        yield


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_ends_training_with_one_line_and_leaves_no_half_model(
    eseg: Callable[..., Outcome], folder: Path
) -> None:
    outcome = eseg("train", run_file(folder))
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].endswith("out cannot be written to: No space left on device")
    assert not [path for path in (folder / "out").iterdir() if "model.pt" in path.name]


def test_a_full_disk_ends_a_prediction_with_one_line_and_it_goes_on_when_there_is_room(
    eseg: Callable[..., Outcome], folder: Path, trained: Path
) -> None:
    whole, maps = folder / "whole", folder / "maps"
    predict = ("predict", trained, folder / "image.tif", "--out")
    assert eseg(*predict, whole).code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eseg_zoo.images.ome_tiff_writer.tifffile.imwrite", refuse_as_full)
        outcome = eseg(*predict, maps)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].endswith("image_classes.ome.tif cannot be written: No space left on device")
    assert [path.name for path in maps.iterdir()] == ["image_classes.ome.tif.partial"]
    assert eseg(*predict, maps).code == 0
    assert [path.name for path in maps.iterdir()] == ["image_classes.ome.tif"]
    found, expected = (tifffile.imread(out / "image_classes.ome.tif") for out in (maps, whole))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which only Linux has")
def test_a_disk_that_fills_while_writing_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def to_full_device(path: Path, *, force: bool) -> Iterator[Path]:
        link = path.with_name(f".link.{path.name}")
        link.symlink_to("/dev/full")
        with replacing(path, force=force) as temporary:
            temporary.symlink_to("/dev/full")
            link.unlink()
            yield temporary

    monkeypatch.setattr("eseg_zoo.images.ome_tiff_writer.replacing", to_full_device)
    maps = folder / "maps"
    outcome = eseg("predict", trained, folder / "image.tif", "--out", maps)
    assert outcome.code == 1
    assert "image_classes.ome.tif cannot be written" in outcome.err.splitlines()[-1]
    assert [path.name for path in maps.iterdir()] == ["image_classes.ome.tif.partial"]


def test_several_images_do_not_go_into_one_zarr(eseg: Callable[..., Outcome], folder: Path, model: Path) -> None:
    image = folder / "image.tif"
    assert_one_line(eseg("predict", model, image, image, "--out", folder / "o.zarr"), "o.zarr takes one image, not 2")


@pytest.mark.parametrize("name", ["image.tiff", "image.ome.tif", "other/image.tif", "image.npy"])
def test_two_images_whose_maps_would_have_one_name_are_refused_before_anything_is_predicted(
    eseg: Callable[..., Outcome], folder: Path, model: Path, name: str
) -> None:
    image, other = folder / "image.tif", folder / name
    other.parent.mkdir(exist_ok=True)
    shutil.copy(image, other)
    outcome = eseg("predict", model, image, other, "--out", folder / "maps", "--force")
    assert_one_line(outcome, str(image), str(other), str(folder / "maps" / "image_classes.ome."), "two folders")
    assert not (folder / "maps").exists()


@pytest.mark.parametrize(("name", "expected"), [("v.npy", "v_classes.ome.tif"), ("v.zarr", "v_classes.ome.zarr")])
def test_the_map_of_a_small_volume_is_a_tiff_and_that_of_a_zarr_an_ome_zarr(
    eseg: Callable[..., Outcome], folder: Path, model: Path, name: str, expected: str
) -> None:
    if name.endswith(".npy"):
        np.save(folder / name, stack())
    else:
        zarr.create_array(folder / name, data=stack())
    outcome = eseg("predict", model, folder / name, "--out", folder / "maps")
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip() == str(folder / "maps" / expected)
    assert [path.name for path in (folder / "maps").iterdir()] == [expected]
