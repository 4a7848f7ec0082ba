"""`eseg check` finds what a training finds, and tells what will hurt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from training.runs import CLASSES, TRAINING, run_in, write_inputs, write_run
from typer.testing import CliRunner

from eseg_zoo.cli import app
from eseg_zoo.config import load_run
from eseg_zoo.errors import ConfigError, InputError, OutputError
from eseg_zoo.look import check as check_module
from eseg_zoo.look.check import check_run
from eseg_zoo.training.data import read_training_data


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    write_inputs(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "multiply_adds_per_second", lambda: 1e9)
    monkeypatch.setattr(check_module, "has_gpu", lambda: False)


def called(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["check", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_what_is_held_out_is_what_training_holds_out(inputs: Path) -> None:
    for changes in ({}, {"seed": 3}, {"training": TRAINING | {"validation_fraction": 0.4}}, {"network": {"dims": 3}}):
        run = run_in(inputs, **changes)
        data = read_training_data(run)
        found = check_run(run)
        np.testing.assert_array_equal(found.data.validation.places, data.validation.places)
        held_out = np.bincount(data.validation.labels, minlength=2).tolist()
        assert list(found.summary.held_out_pixels.values()) == held_out
        assert list(found.summary.pixels.values()) == [84, 84]


def test_the_figures_are_those_of_the_files(inputs: Path) -> None:
    file = inputs / "found.json"
    printed = called(write_run(inputs), "--json", file)
    found = json.loads(file.read_text(encoding="utf-8"))
    pixels = tifffile.imread(inputs / "image.tif")
    (image,) = found["images"]
    assert image["name"] == str(inputs / "image.tif")
    assert (image["shape"], image["axes"], image["channels"]) == ([3, 64, 64], "zyx", ["intensity"])
    assert (image["dtype"], image["voxel_size"], image["sampled"]) == ("uint8", {}, False)
    assert image["intensity"]["intensity"]["median"] == np.sort(pixels.ravel())[(pixels.size - 1) // 2]
    assert found["axes"] == ["zyx"]
    assert found["labelled_pixels"] == {"dark": 84, "bright": 84}
    assert found["strokes"] == {"dark": 21, "bright": 21}
    assert found["slices"]["by_class"] == {"dark": 3, "bright": 3}
    assert [place["slice"] for place in found["slices"]["labelled"]] == [0, 1, 2]
    assert found["held_out"]["strokes"] == {"dark": 2, "bright": 2}
    assert found["held_out"]["fraction"] == 0.1
    assert found["memory_bytes"] > 0
    assert found["seconds"] > 0
    assert found["warnings"] == []
    assert "3 of 3 slices have labels." in printed
    assert "Held out for validation: 10% of the strokes of each class, by seed 0." in printed
    assert "No problem was found." in printed


def test_warnings_are_those_of_training_and_of_the_data(inputs: Path) -> None:
    labels = tifffile.imread(inputs / "labels.tif")
    labels[labels == 4] = 0
    labels[0, 5, 50:60] = 4
    tifffile.imwrite(inputs / "labels.tif", labels, photometric="minisblack")
    file = inputs / "found.json"
    printed = called(write_run(inputs, network={"dims": 3, "filters": [4, 4], "latents": 2}), "--json", file)
    warnings = json.loads(file.read_text(encoding="utf-8"))["warnings"]
    assert [line.split(":")[0].split(",")[0] for line in warnings] == [
        "No label is held out for validation",
        f"{inputs / 'image.tif'} does not say how large a voxel is along z",
        "Few places are labelled",
        f"{inputs / 'image.tif'} is small (z=3) beside the patches of 52 x 52 x 52 pixels that the network sees",
    ]
    assert all(f"warning: {line}" in printed for line in warnings)
    assert "Held out for validation: nothing, as too few strokes are labelled." in printed


def test_errors_are_those_of_training(inputs: Path) -> None:
    labels = tifffile.imread(inputs / "labels.tif")
    labels[1, 2, 3] = 9
    tifffile.imwrite(inputs / "labels.tif", labels, photometric="minisblack")
    run = run_in(inputs)
    with pytest.raises(InputError) as expected:
        read_training_data(run)
    with pytest.raises(InputError) as found:
        check_run(run)
    assert str(found.value) == str(expected.value)
    with pytest.raises(ConfigError, match="trainng is not a setting"):
        CliRunner().invoke(app, ["check", str(write_run(inputs, trainng=1))], catch_exceptions=False)


def test_of_large_images_samples_are_read_and_that_is_told(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_in(inputs)
    whole = check_run(run).figures()
    monkeypatch.setattr(check_module, "READ_WHOLE", 1000)
    monkeypatch.setattr("eseg_zoo.training.cautions.MOST_VALUES", 1000)
    sampled = check_run(run).figures()
    assert sampled["images"][0]["sampled"]
    for key in ("labelled_pixels", "strokes", "slices", "held_out", "warnings"):
        assert sampled[key] == whole[key], key
    assert "of samples" in called(write_run(inputs))


def test_a_huge_zarr_of_which_little_was_written_is_checked_at_once(tmp_path: Path) -> None:
    """20 GB, of which two chunks have labels: whatever was read whole would not end in the time of a test."""
    shape, chunks = (20, 32000, 32000), (1, 1000, 1000)
    image, labels = (
        zarr.create_array(
            tmp_path / name, shape=shape, chunks=chunks, dtype="uint8", fill_value=0, zarr_format=2,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        for name in ("image.zarr", "labels.zarr")
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for z in (2, 9):
        image[z, :1000, :1000] = rng.integers(0, 255, (1000, 1000))
        strokes = np.zeros((1000, 1000), np.uint8)
        strokes[100::200, 50:80], strokes[100::200, 500:530] = 1, 4
        labels[z, :1000, :1000] = strokes
    settings: dict[str, Any] = {"images": "image.zarr", "labels": "labels.zarr", "missing_chunks": True}
    found = check_run(run_in(tmp_path, **settings))
    assert found.summary.strokes == {"dark": 10, "bright": 10}
    assert found.summary.labelled_slices == [(0, 2), (0, 9)]
    known = found.intensities[0]
    assert known is not None
    assert known.sampled


def test_classes_may_come_from_the_preset_of_the_machine(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_in(inputs, preset=None)
    assert check_run(run).run.preset == "small"
    monkeypatch.setattr(check_module, "has_gpu", lambda: True)
    found = check_run(run_in(inputs, preset=None, training=TRAINING | {"accelerator": "auto"}))
    assert (found.run.preset, found.seconds) == ("default", None)
    assert any(note.startswith("No preset is given: it is default") for note in found.notes)


def test_more_memory_than_is_free_and_days_of_training_are_told(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "free_memory", lambda: 100_000_000)
    monkeypatch.setattr(check_module, "multiply_adds_per_second", lambda: 10.0)
    memory, time = check_run(run_in(inputs)).warnings[-2:]
    assert memory.startswith("The training takes about 0.8 GB of memory, and 0.1 GB are free")
    assert time.startswith("The training takes about ")
    assert time.endswith("days on this CPU; preset: small is for CPUs, others want a GPU")


def test_nothing_is_overwritten_unasked(inputs: Path) -> None:
    file = inputs / "found.json"
    file.write_text("precious", encoding="utf-8")
    with pytest.raises(OutputError, match=r"found\.json exists already; give --force"):
        called(inputs / "run.yaml", "--json", file)
    with pytest.raises(OutputError, match="is an input of this command"):
        called(inputs / "run.yaml", "--json", inputs / "run.yaml", "--force")
    assert file.read_text(encoding="utf-8") == "precious"
    called(inputs / "run.yaml", "--json", file, "--force")
    assert list(json.loads(file.read_text(encoding="utf-8"))["strokes"]) == list(CLASSES.values())


def test_the_log_of_the_package_is_as_it_was(inputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_run(load_run(inputs / "run.yaml"))
    assert caplog.messages == []


def test_it_tells_what_training_changes_where_images_differ_in_intensity(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(100, 20, (64, 64))
    write_inputs(tmp_path)
    tifffile.imwrite(
        tmp_path / "image.tif", np.stack([gain * noise for gain in (1, 2, 3)]).astype(np.float32),
        imagej=True, metadata={"axes": "ZYX"},
    )  # fmt: skip
    found = check_run(run_in(tmp_path))
    assert found.run.augmentation.contrast > 0.2
    assert "augmentation.contrast is" in " ".join(found.notes)


def test_it_tells_how_many_steps_few_labels_are_good_for(inputs: Path) -> None:
    settings: dict[str, Any] = {"preset": "small", "training": {"accelerator": "cpu"}}
    found = check_run(run_in(inputs, **settings))
    assert found.run.training.steps + found.run.semi_supervised.steps < 2000
    assert "training.steps is" in " ".join(found.notes)
    longer = check_run(run_in(inputs, **settings, semi_supervised={"steps": 5000}))
    assert longer.seconds
    assert found.seconds
    assert longer.seconds > 2 * found.seconds
