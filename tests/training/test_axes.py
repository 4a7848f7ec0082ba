"""Channels and time series: what is trained on, what it is measured by, and which axes come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run, load_run
from eseg_zoo.training.data import read_training_data
from eseg_zoo.training.run import train_run
from training.runs import run_in, write_inputs

SIZES = {"t": 3, "z": 2, "c": 2, "y": 48, "x": 40}
# Brightness of the left and of the right half in each channel.
HALVES = ((60.0, 160.0), (1080.0, 1000.0))


def write_series(folder: Path, axes: str) -> Run:
    """Write a series whose left half is class 1 and right half class 4; frame t is brighter by t."""
    rng = np.random.default_rng(0)
    right = np.arange(SIZES["x"]) >= SIZES["x"] // 2
    full = np.stack([np.where(right, *halves[::-1]) + np.zeros((3, 2, 48, 1)) for halves in HALVES], axis=2)
    full += rng.normal(0, 8, full.shape) + np.arange(3).reshape(3, 1, 1, 1, 1)  # t z c y x
    labels = np.zeros((3, 2, 48, 40), np.uint8)
    for row in range(4, 46, 6):
        labels[..., row, 4:9], labels[..., row, 31:36] = 1, 4
    image = full[tuple(slice(None) if axis in axes else 0 for axis in "tzcyx")]
    labels = labels[tuple(slice(None) if axis in axes else 0 for axis in "tzyx")]
    tifffile.imwrite(folder / "series.tif", image.astype(np.uint16), photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack")
    settings = {
        "images": "series.tif",
        "labels": "labels.tif",
        "axes": axes,
        "classes": {1: "left", 4: "right"},
        "preset": "small",
        "out": "out",
        "network": {"filters": [8, 8, 8], "latents": 4},
        "training": {"steps": 150, "epoch_steps": 50, "batch_size": 12, "accelerator": "cpu"},
        "semi_supervised": {"steps": 0},
    } | ({"channels": ["nuclei", "cytoplasm"]} if "c" in axes else {})
    (folder / "run.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_run(folder / "run.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("axes", ["tyx", "tcyx", "tzcyx"])
def test_a_time_series_trains_predicts_and_keeps_its_axes(tmp_path: Path, axes: str) -> None:
    checkpoint = Checkpoint.load(train_run(write_series(tmp_path, axes)))
    names = ("nuclei", "cytoplasm") if "c" in axes else ("intensity",)
    assert checkpoint.channel_names == names
    assert checkpoint.architecture.channels == len(names)
    written = Model(checkpoint).predict_to(tmp_path / "series.tif", tmp_path / "maps", probabilities=True)
    depth = SIZES["z"] if "z" in axes else 1
    for kind, channels in (("classes", 1), ("probabilities", 2)):
        assert written[kind] == tmp_path / "maps" / f"series_{kind}.ome.tif"
        with tifffile.TiffFile(written[kind]) as tiff:
            pixels = tifffile.xml2dict(str(tiff.ome_metadata))["OME"]["Image"]["Pixels"]
            found = tiff.series[0].asarray()
        assert {axis: pixels[f"Size{axis}"] for axis in "TZCYX"} == {
            "T": 3,
            "Z": depth,
            "C": channels,
            "Y": 48,
            "X": 40,
        }
        if kind == "classes":
            away_from_the_edge = np.r_[0:16, 24:40]
            truth = np.where(np.arange(40) < 20, 1, 4)
            assert (found == truth)[..., away_from_the_edge].mean() > 0.95


@pytest.mark.parametrize("axes", ["tyx", "tcyx", "tzcyx"])
def test_statistics_are_those_of_each_channel_over_all_frames(tmp_path: Path, axes: str) -> None:
    data = read_training_data(write_series(tmp_path, axes))
    stored = tifffile.imread(tmp_path / "series.tif").astype(np.float64)
    channels = np.moveaxis(stored, axes.index("c"), 0) if "c" in axes else stored[None]
    pixels = channels.reshape(len(channels), -1)
    np.testing.assert_allclose(data.statistics.mean, pixels.mean(1))
    np.testing.assert_allclose(data.statistics.std, pixels.std(1))
    assert len(data.sections) == 3 * (2 if "z" in axes else 1)
    assert len(data.channel_names) == len(pixels)


@pytest.mark.slow
def test_every_frame_is_normalised_by_the_statistics_in_the_model(tmp_path: Path) -> None:
    run = write_series(tmp_path, "tcyx")
    checkpoint = Checkpoint.load(train_run(run))
    stored = tifffile.imread(tmp_path / "series.tif").astype(np.float64)
    np.testing.assert_allclose(checkpoint.segmenter_state["mean"].flatten(), stored.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(checkpoint.segmenter_state["std"].flatten(), stored.std((0, 2, 3)), rtol=1e-6)


def test_images_of_unequal_types_are_told_and_the_sample_fits_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_inputs(tmp_path)
    deep = tifffile.imread(tmp_path / "image.tif").astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="minisblack")
    model = train_run(run_in(tmp_path, images=["image.tif", "deep.tif"], labels=["labels.tif", "labels.tif"]))
    (line,) = [line for line in caplog.messages if "pixels, but" in line]
    for fact in ("deep.tif", "uint16", str(tmp_path / "image.tif"), "uint8"):
        assert fact in line
    assert Checkpoint.load(model).image_dtype == "uint16"
