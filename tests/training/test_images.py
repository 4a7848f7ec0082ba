"""Training, prediction and evaluation give the same whatever keeps the images: files of any format, or arrays."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
import zarr
from numpy.typing import NDArray

from eseg_zoo.api import Model, train
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.errors import InputError
from eseg_zoo.training.data import TrainingData, open_pairs, read_training_data

Array = NDArray[Any]

CLASSES = {1: "dark", 4: "bright"}
SETTINGS: dict[str, Any] = {
    "classes": CLASSES,
    "preset": "small",
    "network": {"filters": [6, 8], "latents": 3},
    "training": {"steps": 4, "epoch_steps": 2, "batch_size": 4, "accelerator": "cpu"},
    "semi_supervised": {"steps": 2, "labelled": 4, "unlabelled": 2, "cells": 2},
}


def pixels(seed: int = 0) -> Array:
    """A stack (z, y, x) whose right half is brighter."""
    image = np.random.default_rng(seed).normal(90, 10, (3, 44, 48))
    image[:, :, 24:] += 60
    return image.astype(np.uint8)


def strokes() -> Array:
    labels = np.zeros((3, 44, 48), np.uint8)
    for row in range(4, 42, 8):
        labels[:, row, 6:10], labels[:, row, 36:40] = 1, 4
    return labels


# ---------------------------------------------------------------------------------------------------- formats


def write_tiff(path: Path, array: Array) -> None:
    tifffile.imwrite(path, array, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")


def write_tiles(path: Path, array: Array) -> None:
    tifffile.imwrite(path, array, compression="zlib", tile=(16, 16), photometric="minisblack")


def write_planes(path: Path, array: Array) -> None:
    path.mkdir()
    for number, plane in enumerate(array):
        tifffile.imwrite(path / f"plane_{number:03}.tif", plane, photometric="minisblack")


def write_npy(path: Path, array: Array) -> None:
    np.save(path, array)


def write_hdf5(path: Path, array: Array) -> None:
    with h5py.File(path.parent, "w") as file:
        file.create_dataset(path.name, data=array, chunks=(1, 16, 16), compression="gzip")


def write_ome_zarr(path: Path, array: Array) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=array, chunks=(1, 16, 16))
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    scale = [{"type": "scale", "scale": [40.0, 8.0, 8.0]}]
    multiscales: Any = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}


FORMATS: dict[str, tuple[str, Callable[[Path, Array], None]]] = {
    "TIFF": ("{}.ome.tif", write_tiff),
    "tiled TIFF": ("{}_tiles.tif", write_tiles),
    "folder of TIFFs": ("{}_planes", write_planes),
    "OME-Zarr": ("{}.ome.zarr", write_ome_zarr),
    "HDF5": ("{}.h5/volume", write_hdf5),
    "NPY": ("{}.npy", write_npy),
}


def write(folder: Path, kind: str, name: str, array: Array) -> Path:
    pattern, writer = FORMATS[kind]
    path = folder / pattern.format(name)
    writer(path, array)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Image and labels in each format."""
    folder = tmp_path_factory.mktemp("formats")
    return {
        kind: (write(folder, kind, "image", pixels()), write(folder, kind, "labels", strokes())) for kind in FORMATS
    }


@pytest.fixture(scope="module")
def model(files: dict[str, tuple[Path, Path]]) -> Model:
    """What all trainings must give: trained on the plainest files."""
    return train(*files["TIFF"], axes="zyx", **SETTINGS)


@pytest.fixture
def read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the memory were too small for the images."""
    monkeypatch.setattr("eseg_zoo.training.data.free_memory", lambda: 1000)


def assert_same(found: Model, expected: Model) -> None:
    for name in ("segmenter_state", "generative_state"):
        states = [getattr(one.checkpoint, name) for one in (found, expected)]
        assert states[0].keys() == states[1].keys()
        assert [key for key, value in states[1].items() if not torch.equal(states[0][key], value)] == []
    assert torch.equal(found.checkpoint.sample, expected.checkpoint.sample)
    assert found.classes == expected.classes
    assert found.axes == expected.axes
    assert found.checkpoint.training.validation == expected.checkpoint.training.validation


@pytest.mark.parametrize("kind", list(FORMATS)[1:])
def test_every_format_trains_to_the_same_bits(files: dict[str, tuple[Path, Path]], model: Model, kind: str) -> None:
    assert_same(train(*files[kind], axes="zyx", **SETTINGS), model)


@pytest.mark.usefixtures("read_in_parts")
@pytest.mark.parametrize("kept", [1, 1 << 20], ids=["a chunk is kept", "all chunks are kept"])
@pytest.mark.parametrize("kind", FORMATS)
def test_images_that_do_not_fit_the_memory_train_to_the_same_bits(
    files: dict[str, tuple[Path, Path]], model: Model, monkeypatch: pytest.MonkeyPatch, kind: str, kept: int
) -> None:
    monkeypatch.setattr("eseg_zoo.training.data.KEPT_BYTES", kept)
    assert_same(train(*files[kind], axes="zyx", **SETTINGS), model)


@pytest.mark.usefixtures("read_in_parts")
@pytest.mark.parametrize("kind", ["tiled TIFF", "OME-Zarr", "HDF5", "NPY"])
def test_worker_processes_open_the_images_by_themselves(
    files: dict[str, tuple[Path, Path]], model: Model, kind: str
) -> None:
    changes = {"training": SETTINGS["training"] | {"workers": 2}}
    assert_same(train(*files[kind], axes="zyx", **SETTINGS | changes), model)


@pytest.mark.usefixtures("read_in_parts")
def test_worker_processes_compute_the_blocks_of_a_dask_array(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a process forgets, when it has no thread of the process that began."""
    monkeypatch.setattr("eseg_zoo.training.data.KEPT_BYTES", 1)
    changes = {"training": SETTINGS["training"] | {"workers": 2}}
    blocks = da.from_array(pixels(), chunks=(1, 20, 48))
    assert_same(train(blocks, strokes(), axes="zyx", **SETTINGS | changes), model)


@pytest.mark.parametrize("kind", list(FORMATS)[1:])
def test_every_format_is_predicted_and_evaluated_to_the_same_bits(
    files: dict[str, tuple[Path, Path]], model: Model, kind: str
) -> None:
    found, expected = (model.predict(files[one][0]) for one in (kind, "TIFF"))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name].values, values.values)
    assert len(np.unique(expected["probabilities"])) > 1000
    judged, as_expected = (model.evaluate(*files[one]).figures() for one in (kind, "TIFF"))
    assert judged == as_expected
    assert as_expected["pixels"] == {"dark": 3 * 5 * 4, "bright": 3 * 5 * 4}


@pytest.mark.parametrize(("image", "labels"), [("OME-Zarr", "TIFF"), ("TIFF", "HDF5"), ("HDF5", "NPY")])
def test_labels_may_be_of_another_format_than_their_image(
    files: dict[str, tuple[Path, Path]], model: Model, image: str, labels: str
) -> None:
    assert_same(train(files[image][0], files[labels][1], axes="zyx", **SETTINGS), model)
    pair = files[image][0], files[labels][1]
    assert model.evaluate(*pair).figures() == model.evaluate(*files["TIFF"]).figures()


# ----------------------------------------------------------------------------------------------------- arrays


def as_xarray(array: Array) -> xr.DataArray:
    return xr.DataArray(array, dims=("z", "y", "x"))


ARRAYS: dict[str, Callable[[Array], Any]] = {
    "NumPy": lambda array: array,
    "a view": lambda array: np.asfortranarray(array),
    "Dask": lambda array: da.from_array(array, chunks=(1, 20, 48)),
    "xarray": as_xarray,
    "xarray of Dask": lambda array: as_xarray(da.from_array(array, chunks=(2, 44, 20))),
}


@pytest.mark.parametrize("parts", [False, True], ids=["loaded", "read in parts"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_train_as_files_do(model: Model, kind: str, parts: bool, request: pytest.FixtureRequest) -> None:
    if parts:
        request.getfixturevalue("read_in_parts")
    axes: dict[str, Any] = {} if kind.startswith("xarray") else {"axes": "zyx"}  # an xarray says them
    image, labels = pixels(), strokes()
    image.setflags(write=False)
    labels.setflags(write=False)
    assert_same(train(ARRAYS[kind](image), ARRAYS[kind](labels), **axes, **SETTINGS), model)


def test_several_images_train_as_one_of_their_slices(model: Model) -> None:
    """But for the axis of slices: what a 2D network learns from is the slices."""
    images, labels = list(pixels()), list(strokes())
    found = train(images, labels, axes="yx", **SETTINGS)
    assert found.axes == "yx"
    for key, value in model.checkpoint.segmenter_state.items():
        assert torch.equal(found.checkpoint.segmenter_state[key], value), key


def test_images_in_memory_and_on_disk_train_together(
    files: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pixels(1)
    images, labels = [other, files["OME-Zarr"][0], files["NPY"][0]], [strokes(), files["HDF5"][1], files["TIFF"][1]]
    loaded = train(images, labels, axes="zyx", **SETTINGS)
    monkeypatch.setattr("eseg_zoo.training.data.free_memory", lambda: 1000)
    assert_same(train(images, labels, axes="zyx", **SETTINGS), loaded)
    both = np.concatenate([other, pixels(), pixels()]).astype(np.float64)
    assert loaded.checkpoint.segmenter_state["mean"].item() == pytest.approx(both.mean(), rel=1e-6)
    assert loaded.checkpoint.segmenter_state["std"].item() == pytest.approx(both.std(), rel=1e-6)


# ----------------------------------------------------------------------------------------------------- memory


def run_of(**changes: Any) -> Run:
    """A run of one image, which is handed over in memory."""
    names = {"images": ["images[0]"], "labels": ["labels[0]"], "out": "out", "axes": "zyx"}
    return Run.model_validate(names | SETTINGS | changes)


def read(image: Any, labels: Any, **changes: Any) -> TrainingData:
    run = run_of(**changes)
    return read_training_data(run, open_pairs(run, [image], [labels]))


def peak_bytes(image: Any, labels: Any) -> int:
    """The most memory that reading the data and cutting patches from it takes beside what there was."""
    tracemalloc.start()
    try:
        data = read(image, labels)
        for section in data.sections:
            section.read((slice(100, 200), slice(300, 420)))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def large() -> tuple[Array, Array]:
    """An image of 12 MB with strokes."""
    image = np.random.default_rng(0).integers(1, 255, (48, 500, 500)).astype(np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    labels[:, 10, 5:9], labels[:, 50, 5:9] = 1, 4
    return image, labels


@pytest.mark.parametrize(
    ("kind", "loaded", "most"),
    [
        ("array", True, 0.4),
        ("array", False, 0.4),
        ("mapped", True, 0.4),
        ("Zarr", True, 1.5),  # it is loaded once
        ("Zarr", False, 0.4),
    ],
)
def test_the_images_are_never_twice_in_memory(
    tmp_path: Path, large: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch, kind: str, loaded: bool, most: float
) -> None:
    monkeypatch.setattr("eseg_zoo.images.blocks.BLOCK_BYTES", 1 << 18)  # else a block is all of it
    monkeypatch.setattr("eseg_zoo.training.data.KEPT_BYTES", 1 << 20)
    if not loaded:
        monkeypatch.setattr("eseg_zoo.training.data.free_memory", lambda: 1000)
    image, labels = large
    given: dict[str, Any] = {"array": (image, labels)}
    if kind == "mapped":
        np.save(tmp_path / "image.npy", image)
        given[kind] = tmp_path / "image.npy", labels
    elif kind == "Zarr":
        zarr.create_array(tmp_path / "image.zarr", data=image, chunks=(1, 250, 250))
        given[kind] = tmp_path / "image.zarr", labels
    peak = peak_bytes(*given[kind]) / image.nbytes
    assert peak < most
    assert peak > 1 or kind != "Zarr" or not loaded


@pytest.mark.parametrize("parts", [False, True], ids=["loaded", "read in parts"])
def test_every_block_of_a_dask_array_is_computed_once(request: pytest.FixtureRequest, parts: bool) -> None:
    if parts:
        request.getfixturevalue("read_in_parts")
    computed: list[Any] = []
    lock = Lock()

    def compute(block: Array, block_info: Any = None) -> Array:
        with lock:
            computed.append(tuple(block_info[0]["chunk-location"]))
        return block

    blocks = da.from_array(pixels(), chunks=(1, 22, 24)).map_blocks(compute, dtype=np.uint8, meta=pixels()[:0])
    train(blocks, strokes(), axes="zyx", **SETTINGS)
    assert sorted(computed) == sorted(np.ndindex(3, 2, 2))


# ------------------------------------------------------------------------------------------------------- axes


@pytest.mark.parametrize("kind", ["TIFF", "OME-Zarr"])
def test_axes_are_left_out_where_the_files_say_them(
    files: dict[str, tuple[Path, Path]], model: Model, kind: str
) -> None:
    assert_same(train(*files[kind], **SETTINGS), model)


@pytest.mark.parametrize("kind", ["HDF5", "NPY", "array"])
def test_axes_that_nothing_says_are_asked_for(files: dict[str, tuple[Path, Path]], kind: str) -> None:
    image, labels = (pixels(), strokes()) if kind == "array" else files[kind]
    with pytest.raises(InputError) as caught:
        train(image, labels, **SETTINGS)
    name = "images[0]" if kind == "array" else str(image)
    for fact in (name, "(3, 44, 48)", "give axes"):
        assert fact in str(caught.value)


def test_the_axes_of_a_file_are_mapped_by_their_names(tmp_path: Path) -> None:
    """An OME-TIFF of CZYX trains as the same pixels in ZCYX."""
    image, labels = np.stack([pixels(1), pixels(2)]), strokes()
    metadata = {"axes": "CZYX", "Channel": {"Name": ["red", "green"]}}
    tifffile.imwrite(tmp_path / "image.ome.tif", image, metadata=metadata, photometric="minisblack")
    found = train(tmp_path / "image.ome.tif", as_xarray(labels), **SETTINGS)
    expected = train(image.swapaxes(0, 1), as_xarray(labels), axes="zcyx", **SETTINGS)
    assert (found.axes, expected.axes) == ("czyx", "zcyx")
    assert found.channels == ("red", "green")
    for key, value in expected.checkpoint.segmenter_state.items():
        assert torch.equal(found.checkpoint.segmenter_state[key], value), key


def imagej_movie(folder: Path) -> Path:
    path = folder / "movie.tif"
    tifffile.imwrite(path, pixels(), imagej=True, metadata={"axes": "TYX"})
    return path


def test_a_movie_is_no_z_stack_for_a_3d_training(tmp_path: Path) -> None:
    movie = imagej_movie(tmp_path)
    with pytest.raises(InputError) as caught:
        train(movie, strokes(), **SETTINGS | {"network": {"dims": 3, "filters": [4, 4], "latents": 2}})
    for fact in ("movie.tif has one slice along z", "network.dims is 3", "3 frames are time", "axes: zyx"):
        assert fact in str(caught.value)


def test_a_movie_is_no_z_stack_for_a_3d_model(tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]) -> None:
    movie, volumes = imagej_movie(tmp_path), Model(make_checkpoint(3))
    labels = tmp_path / "labels.npy"
    np.save(labels, strokes())
    for use in (lambda: volumes.predict(movie), lambda: volumes.evaluate(movie, labels)):
        with pytest.raises(InputError, match=r"movie\.tif has one slice along z.*volumes.*3 frames are time"):
            use()


def test_a_person_may_say_that_the_frames_of_a_file_are_slices(
    tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    assert_same(train(imagej_movie(tmp_path), strokes(), axes="zyx", **SETTINGS), model)
    (line,) = [line for line in caplog.messages if "time points" in line]
    assert "movie.tif" in line


def test_axes_that_contradict_the_file_are_refused_with_both(files: dict[str, tuple[Path, Path]], model: Model) -> None:
    image, labels = files["TIFF"]
    for use in (
        lambda: train(image, labels, axes="xyz", **SETTINGS),
        lambda: model.predict(image, axes="xyz"),
        lambda: model.evaluate(image, labels, axes="xyz"),
    ):
        with pytest.raises(InputError) as caught:
            use()
        for fact in (str(image), "xyz", "ZYX"):
            assert fact in str(caught.value)


# --------------------------------------------------------------------------------------- what is wrong with pixels


@pytest.mark.parametrize("parts", [False, True], ids=["loaded", "read in parts"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_no_number_is_named_with_its_place(
    tmp_path: Path, request: pytest.FixtureRequest, parts: bool, value: float
) -> None:
    if parts:
        request.getfixturevalue("read_in_parts")
    image = pixels().astype(np.float32)
    image[1, 30, 17] = value
    path = write(tmp_path, "HDF5", "image", image)
    with pytest.raises(InputError) as caught:
        read(path, strokes())
    assert f"{path} has NaN or infinite pixels" in str(caught.value)
    assert "z=1, y=30, x=17" in str(caught.value)


def test_labels_of_another_size_are_refused_with_both_sizes(files: dict[str, tuple[Path, Path]]) -> None:
    with pytest.raises(InputError) as caught:
        read(files["NPY"][0], strokes()[:, :-1])
    for fact in ("labels[0]", "y=43", str(files["NPY"][0]), "y=44"):
        assert fact in str(caught.value)


def test_what_was_understood_is_told_once_for_each_image(
    files: dict[str, tuple[Path, Path]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        read(files["OME-Zarr"][0], strokes())
    (line,) = [line for line in caplog.messages if "slices of" in line]
    assert line == f"{files['OME-Zarr'][0]}: 3 slices of 44 x 48, 1 channel, uint8, 40 x 8 x 8 nm"


# ----------------------------------------------------------------------------------------- labels that lack parts


@pytest.mark.parametrize("kind", ["zarr", "h5"])
def test_chunks_of_labels_that_were_never_written_hold_no_label_and_are_told(
    tmp_path: Path, model: Model, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"strokes.{kind}"
    if kind == "zarr":
        array: Any = zarr.create_array(path, shape=strokes().shape, dtype="u1", chunks=(1, 8, 8), fill_value=0)
    else:
        array = h5py.File(path, "w").create_dataset("strokes", strokes().shape, "u1", chunks=(1, 8, 8), fillvalue=0)
    for z, y, x in np.ndindex(strokes().shape[0], *(n // 8 for n in strokes().shape[1:])):
        block = np.s_[z : z + 1, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        if strokes()[block].any():
            array[block] = strokes()[block]
    if kind == "h5":
        array.file.close()
    assert_same(train(pixels(), path, axes="zyx", **SETTINGS), model)
    told = [record.getMessage() for record in caplog.records if "nothing is labelled there" in record.getMessage()]
    assert len(told) == (kind == "h5") or "lacks" in told[0]
    with pytest.raises(InputError):
        train(pixels(), path, axes="zyx", unlabelled=255, **SETTINGS)
