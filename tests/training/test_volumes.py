"""A run with `dims: 3` trains, predicts and stays 3D, and its network is shaped by the voxel size."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import load_run
from eseg_zoo.errors import InputError
from eseg_zoo.model.architecture import Geometry
from eseg_zoo.training.data import read_training_data
from eseg_zoo.training.finish import sample_size
from eseg_zoo.training.run import train_run

SERIAL_SECTIONS = {"z": 0.05, "y": 0.005, "x": 0.005}


def write_volume(folder: Path, shape: tuple[int, int, int], **changes: Any) -> Path:
    """Write a volume whose left half is dark and right half bright, with strokes in both, and a run of few steps."""
    rng = np.random.default_rng(0)
    right = np.arange(shape[2]) >= shape[2] // 2
    image = (np.where(right, 160, 80) + rng.normal(0, 8, shape)).clip(0, 255).astype(np.uint8)
    labels = np.zeros(shape, np.uint8)
    for row in range(2, shape[1] - 2, 4):
        labels[row % shape[0], row, 2:6], labels[row % shape[0], row, -6:-2] = 1, 2
    tifffile.imwrite(folder / "volume.tif", image, photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack")
    run = {
        "images": "volume.tif",
        "labels": "labels.tif",
        "axes": "zyx",
        "classes": {1: "dark", 2: "bright"},
        "preset": "small",
        "out": "out",
        "network": {"dims": 3, "width": 4, "latents": 2},
        "training": {"steps": 8, "batch_size": 4, "accelerator": "cpu"},
        "semi_supervised": {"steps": 2, "labelled": 4, "unlabelled": 1, "cells": 2},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run | changes), encoding="utf-8")
    return folder / "run.yaml"


@pytest.mark.parametrize(
    ("shape", "voxel_size", "stride"),
    [((3, 30, 34), {}, (4, 4, 4)), ((2, 28, 32), SERIAL_SECTIONS, (1, 8, 8))],
    ids=["fine z", "coarse z"],
)
def test_a_volume_thinner_than_the_margin_trains_and_predicts_by_reflection(
    tmp_path: Path, shape: tuple[int, int, int], voxel_size: dict[str, float], stride: tuple[int, ...]
) -> None:
    run = load_run(write_volume(tmp_path, shape, voxel_size=voxel_size))
    checkpoint = Checkpoint.load(train_run(run))
    geometry = checkpoint.geometry
    assert geometry.stride == stride
    assert shape[1] < 2 * geometry.margin[1]
    assert checkpoint.voxel_size == voxel_size
    assert checkpoint.sample.shape == (1, *shape)
    found = tifffile.imread(Model(checkpoint).predict_to(tmp_path / "volume.tif", tmp_path / "maps")["classes"])
    assert found.shape == shape
    assert set(np.unique(found)) <= {1, 2}


def test_the_voxel_size_of_the_run_counts_instead_of_that_of_the_file(tmp_path: Path) -> None:
    path = write_volume(tmp_path, (4, 30, 34), voxel_size={"z": 0.05})
    volume = tifffile.imread(tmp_path / "volume.tif")
    sizes = {f"PhysicalSize{axis}": 0.005 for axis in "XYZ"}
    metadata = {"axes": "ZYX", **sizes}
    tifffile.imwrite(tmp_path / "volume.tif", volume, ome=True, metadata=metadata, photometric="minisblack")
    assert read_training_data(load_run(path)).voxel_size == SERIAL_SECTIONS


def write_two_volumes(folder: Path, sizes: dict[str, float], **changes: Any) -> Path:
    """Write a volume of serial sections and `other.tif`, which states `sizes`, and a run of both."""
    names = {"images": ["volume.tif", "other.tif"], "labels": ["labels.tif", "labels.tif"]}
    path = write_volume(folder, (4, 30, 34), **names, **changes)
    volume = tifffile.imread(folder / "volume.tif")
    for name, stated in (("volume.tif", SERIAL_SECTIONS), ("other.tif", sizes)):
        metadata = {"axes": "ZYX", **{f"PhysicalSize{axis.upper()}": size for axis, size in stated.items()}}
        tifffile.imwrite(folder / name, volume, ome=True, metadata=metadata, photometric="minisblack")
    return path


@pytest.mark.parametrize(("axis", "size"), [("z", 0.04), ("y", 0.0051), ("x", 0.01)])
def test_images_of_other_voxel_sizes_are_refused_unless_the_run_states_them(
    tmp_path: Path, axis: str, size: float
) -> None:
    with pytest.raises(InputError) as caught:
        read_training_data(load_run(write_two_volumes(tmp_path, SERIAL_SECTIONS | {axis: size})))
    facts = (f"{tmp_path / 'other.tif'} has voxels of {size} µm along {axis}", f"{tmp_path / 'volume.tif'} of ")
    for fact in (*facts, f"{SERIAL_SECTIONS[axis]} µm", "voxel_size"):
        assert fact in str(caught.value)
    run = load_run(write_two_volumes(tmp_path, {axis: size}, voxel_size={axis: 0.02}))
    assert read_training_data(run).voxel_size == SERIAL_SECTIONS | {axis: 0.02}


@pytest.mark.parametrize("sizes", [{"z": 0.0502, "y": 0.00499}, {}], ids=["rounded", "not stated"])
def test_images_of_the_same_voxel_size_as_far_as_they_state_it_train(tmp_path: Path, sizes: dict[str, float]) -> None:
    assert read_training_data(load_run(write_two_volumes(tmp_path, sizes))).voxel_size == SERIAL_SECTIONS


def test_other_pixel_sizes_are_only_told_to_a_network_of_planes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = load_run(write_two_volumes(tmp_path, {"y": 0.0051}, network={"width": 4, "latents": 2}))
    assert read_training_data(run).voxel_size == SERIAL_SECTIONS
    assert "other.tif has voxels of 0.0051 µm along y, but " in caplog.text


def test_the_thickness_of_slices_is_nothing_to_a_network_of_planes(tmp_path: Path) -> None:
    run = load_run(write_two_volumes(tmp_path, {"z": 0.04}, network={"width": 4, "latents": 2}))
    assert read_training_data(run).voxel_size == SERIAL_SECTIONS


@pytest.mark.parametrize(("voxel_size", "told"), [({}, "z, y, x"), ({"z": 0.05}, "y, x"), (SERIAL_SECTIONS, "")])
def test_a_voxel_size_that_nobody_stated_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, voxel_size: dict[str, float], told: str
) -> None:
    with caplog.at_level(logging.WARNING):
        read_training_data(load_run(write_volume(tmp_path, (4, 30, 34), voxel_size=voxel_size)))
    messages = [record.getMessage() for record in caplog.records if "voxel" in record.getMessage()]
    assert len(messages) == bool(told)
    assert not told or f"does not say how large a voxel is along {told}:" in messages[0]


def test_planes_need_no_voxel_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_training_data(load_run(write_volume(tmp_path, (4, 30, 34), network={"width": 4, "latents": 2})))
    assert "voxel" not in caplog.text


@pytest.mark.parametrize(
    ("strides", "kernels", "expected"),
    [
        ([[2, 2]] * 3, [[3, 3]] * 3, (512, 512)),
        ([[2, 2, 2]] * 2, [[3, 3, 3]] * 2, (68, 68, 68)),  # 2 * 24 + 5 * 4
        ([[1, 2, 2]] * 3, [[1, 3, 3], [1, 3, 3], [3, 3, 3]], (12, 144, 144)),  # 2 * 52 + 5 * 8, and 64^3 / 144^2
    ],
    ids=["2D", "fine z", "coarse z"],
)
def test_the_sample_holds_what_the_exported_model_takes_at_least(
    strides: list[list[int]], kernels: list[list[int]], expected: tuple[int, ...]
) -> None:
    assert sample_size(Geometry.of(strides, kernels)) == expected
