"""What a script or a notebook uses: train, load, predict, evaluate, save."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
import yaml

import eseg_zoo
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ConfigError, EsegError, InputError, OutputError, StoppedError
from eseg_zoo.progress import Progress

SMALL: dict[str, Any] = {
    "classes": {1: "dark", 4: "bright"},
    "preset": "small",
    "network": {"filters": [8, 8, 8], "latents": 4},
    "training": {"steps": 6, "epoch_steps": 3, "batch_size": 8, "accelerator": "cpu"},
    "semi_supervised": {"steps": 0},
}


def stack() -> np.ndarray:
    """Three slices, dark on the left and bright on the right."""
    image = np.random.default_rng(0).normal(90, 10, (3, 64, 64))
    image[:, :, 32:] += 60
    return image.astype(np.uint8)


def strokes() -> np.ndarray:
    labels = np.zeros((3, 64, 64), np.uint8)
    for row in range(6, 60, 8):
        labels[:, row, 8:12], labels[:, row, 50:54] = 1, 4
    return labels


@pytest.fixture(scope="module")
def model() -> eseg_zoo.Model:
    return eseg_zoo.train(stack(), strokes(), axes="zyx", **SMALL)


def same_weights(one: eseg_zoo.Model, other: eseg_zoo.Model) -> bool:
    states = one.checkpoint.segmenter_state, other.checkpoint.segmenter_state
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


# --------------------------------------------------------------------------------------------------------- training


def test_nothing_is_left_on_disk_without_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    found = eseg_zoo.train(stack(), strokes(), axes="zyx", **SMALL)
    assert found.checkpoint.training.steps == 6
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_yaml_file_arrays_and_paths_train_the_same_model(tmp_path: Path, model: eseg_zoo.Model) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", stack(), metadata={"axes": "ZYX"}, photometric="minisblack")
    np.save(tmp_path / "strokes.npy", strokes())
    settings = {"images": "raw.tif", "labels": "strokes.npy", "out": "out", **SMALL}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    by_file = eseg_zoo.train(tmp_path / "run.yaml")
    assert same_weights(model, by_file)
    assert same_weights(model, eseg_zoo.load(tmp_path / "out" / "model.pt"))
    assert same_weights(model, eseg_zoo.train(str(tmp_path / "raw.tif"), [tmp_path / "strokes.npy"], **SMALL))


def test_keyword_arguments_replace_what_a_yaml_file_says(tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", stack())
    np.save(tmp_path / "strokes.npy", strokes())
    settings = {"images": "raw.npy", "labels": "strokes.npy", "axes": "zyx", "out": "out", **SMALL}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    found = eseg_zoo.train(tmp_path / "run.yaml", training={"steps": 3}, out=tmp_path / "other")
    assert found.checkpoint.training.steps == 3
    assert found.checkpoint.settings["training"]["batch_size"] == 8
    assert (tmp_path / "other" / "model.pt").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["dask", "xarray", "a list"])
def test_any_array_trains_the_same_model(model: eseg_zoo.Model, kind: str) -> None:
    image: Any = stack()
    if kind == "dask":
        image = da.from_array(image, chunks=(1, 40, 40))
    elif kind == "xarray":
        image = xr.DataArray(image, dims=("z", "y", "x"))
    given = [image] if kind == "a list" else image
    axes: dict[str, Any] = {} if kind == "xarray" else {"axes": "zyx"}
    assert same_weights(model, eseg_zoo.train(given, strokes(), **axes, **SMALL))


def test_progress_is_told_and_stopping_keeps_the_model() -> None:
    seen: list[Progress] = []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.is_validated:
            progress.stop()

    settings = SMALL | {"training": {**SMALL["training"], "steps": 3000}}
    found = eseg_zoo.train(stack(), strokes(), axes="zyx", progress=watch, **settings)
    assert found.checkpoint.training.steps < 10
    assert {progress.what for progress in seen} == {"supervised"}
    assert seen[-1].total == 3000
    assert {"loss", "dice", "best"} <= seen[-1].figures.keys()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((stack(),), "labels is missing"),
        ((stack(), strokes()[:2]), "labels[0] has t=1 x z=2"),
        (([stack()] * 3, [strokes(), strokes()]), "3 images but 2 entries in labels"),
        ((stack(), strokes()[:, :, 0]), "labels[0]"),
        ((stack()[0, 0], strokes()), "images[0]"),
        ((stack().astype(complex), strokes()), "images[0] holds complex values"),
        ((np.zeros_like(stack()), strokes()), "every pixel of the images is constant"),
        ((stack(), np.zeros_like(strokes())), "no pixel is labelled"),
        ((stack(), strokes() * 2), "label value 2"),
        ((object(), strokes()), "images[0] is of type object"),
        (("nowhere.tif", strokes()), "nowhere.tif"),
        (("nowhere.yaml",), "nowhere.yaml does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_one_of_our_errors(arguments: tuple[Any, ...], expected: str) -> None:
    with pytest.raises(EsegError) as caught:
        eseg_zoo.train(*arguments, axes="zyx", **SMALL)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistyped_setting_is_told_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"^train: trainin is not a setting; did you mean training\?$"):
        eseg_zoo.train(stack(), strokes(), axes="zyx", trainin={"steps": 3}, **SMALL)


def test_several_processes_are_left_to_the_command() -> None:
    settings = SMALL | {"training": {**SMALL["training"], "devices": 2}}
    with pytest.raises(ConfigError, match=r"training\.devices is 2; .* eseg train"):
        eseg_zoo.train(stack(), strokes(), axes="zyx", **settings)


# ------------------------------------------------------------------------------------------------------- prediction


def test_the_maps_have_the_axes_classes_and_voxel_size_of_the_image(model: eseg_zoo.Model) -> None:
    image = xr.DataArray(stack(), dims=("z", "y", "x"), attrs={"voxel_size": {"z": 0.05, "y": 0.004, "x": 0.004}})
    maps = model.predict(image)
    assert maps["classes"].dims == maps["uncertainty"].dims == ("z", "y", "x")
    assert maps["probabilities"].dims == ("class", "z", "y", "x")
    assert maps["class"].values.tolist() == ["dark", "bright"]
    assert maps.attrs == {"voxel_size": {"z": 0.05, "y": 0.004, "x": 0.004}, "classes": {1: "dark", 4: "bright"}}
    np.testing.assert_allclose(maps["z"], [0, 0.05, 0.1])
    assert maps["x"].attrs["units"] == "micrometer"
    values = np.array([1, 4])[maps["probabilities"].values.argmax(0)]
    np.testing.assert_array_equal(maps["classes"], values)
    np.testing.assert_allclose(maps["probabilities"].sum("class"), 1, atol=1e-5)
    again = model.predict(maps["classes"].copy(data=stack()))  # coordinates in micrometres are understood
    assert again.attrs["voxel_size"] == pytest.approx(maps.attrs["voxel_size"])


def test_paths_and_arrays_are_predicted_alike(model: eseg_zoo.Model, tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", stack())
    expected = model.predict(stack())
    for image in (tmp_path / "i.npy", str(tmp_path / "i.npy"), da.from_array(stack(), chunks=(1, 20, 64))):
        xr.testing.assert_equal(model.predict(image), expected)


def test_files_hold_the_same_maps(model: eseg_zoo.Model, tmp_path: Path) -> None:
    expected = model.predict(stack(), slices="1-2")
    files = model.predict_to(stack(), tmp_path / "maps", slices="1-2", probabilities=True, uncertainty=True)
    found = {kind: tifffile.imread(path).squeeze() for kind, path in files.items()}
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    np.testing.assert_array_equal(found["probabilities"], expected["probabilities"].transpose("z", "class", "y", "x"))
    np.testing.assert_array_equal(found["uncertainty"], expected["uncertainty"])
    with pytest.raises(OutputError, match="exists already"):
        model.predict_to(stack(), tmp_path / "maps")


def test_a_prediction_can_be_watched_and_stopped(model: eseg_zoo.Model) -> None:
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.done, progress.total))
        if progress.done == 1:
            progress.stop()

    with pytest.raises(StoppedError):
        model.predict(stack(), progress=watch)
    assert seen[-1] == (1, 3)
    assert model.predict(stack())["classes"].shape == stack().shape


@pytest.mark.parametrize(
    ("image", "arguments", "expected"),
    [
        (stack()[0], {"axes": "zyx"}, "image has shape (64, 64)"),
        (np.stack([stack()] * 2), {"axes": "czyx"}, "has 2 channels, but the model was trained with 1: intensity"),
        (stack().astype(np.float32) * np.nan, {}, "NaN or infinite pixels"),
        (stack(), {"slices": "2-5"}, "the slices 0-2"),
        (stack(), {"device": "cuda:77"}, "device is 'cuda:77'"),
        (stack()[:, :0], {}, "no pixel"),
        ("nowhere.ome.zarr", {}, "nowhere.ome.zarr"),
        (None, {}, "NoneType"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_image_that_does_not_fit_is_one_of_our_errors(
    model: eseg_zoo.Model, image: Any, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(EsegError) as caught:
        model.predict(image, **arguments)
    assert expected in str(caught.value)


# ------------------------------------------------------------------------------------------- evaluation, file, import


def test_evaluation_takes_one_image_or_several(model: eseg_zoo.Model) -> None:
    once = model.evaluate(stack(), strokes())
    twice = model.evaluate([stack(), stack()], [strokes(), strokes()])
    np.testing.assert_array_equal(twice.confusion.counts, 2 * once.confusion.counts)
    assert repr(once).startswith("<Evaluation: mean Dice ")
    with pytest.raises(InputError, match=r"there are 2 images, but labels\[0\] is of one"):
        model.evaluate([stack(), stack()], strokes())


def test_a_saved_model_is_the_same_and_is_not_overwritten(model: eseg_zoo.Model, tmp_path: Path) -> None:
    path = model.save(str(tmp_path / "model.pt"))
    again = eseg_zoo.load(str(path))
    xr.testing.assert_equal(again.predict(stack()), model.predict(stack()))
    with pytest.raises(OutputError, match="exists already"):
        model.save(path)


def test_a_model_tells_what_it_is_in_one_line(make_checkpoint: Callable[..., Checkpoint]) -> None:
    text = repr(eseg_zoo.Model(make_checkpoint(3, channels=2)))
    assert text == "<Model: 3D, 2 channels, classes membrane, cytoplasm, mito|chondrion, Dice 0.810 on held-out labels>"


def test_the_package_is_light_and_has_a_version() -> None:
    code = (
        "import sys, eseg_zoo; assert 'torch' not in sys.modules and 'numpy' not in sys.modules; "
        "assert {'train', 'load', 'Model'} <= set(dir(eseg_zoo)); print(eseg_zoo.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == eseg_zoo.__version__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        eseg_zoo.nothing  # noqa: B018


def test_calls_leave_the_settings_of_the_process_alone(model: eseg_zoo.Model, tmp_path: Path) -> None:
    def state() -> tuple[Any, ...]:
        from numcodecs import blosc

        names = ("", "eseg_zoo", "lightning.pytorch", "tifffile")
        levels = [(logging.getLogger(name).level, tuple(logging.getLogger(name).handlers)) for name in names]
        return torch.get_num_threads(), blosc.use_threads, levels, list(warnings.filters), torch.initial_seed()

    torch.set_num_threads(2)
    torch.manual_seed(7)
    before, drawn = state(), np.random.default_rng(0).integers(9)
    eseg_zoo.train(stack(), strokes(), axes="zyx", **SMALL)
    model.predict(stack())
    model.predict_to(stack(), tmp_path / "out.ome.zarr")
    model.evaluate(stack(), strokes())
    assert state() == before
    assert np.random.default_rng(0).integers(9) == drawn
    torch.set_num_threads(1)
