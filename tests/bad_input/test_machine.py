"""Devices, GPUs and schedulers that are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .commands import Outcome, assert_one_line, run_file


def test_a_scheduler_that_does_not_answer_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eseg_zoo.inference.executors._CONNECTING", 1)
    out = folder / "out.ome.zarr"
    outcome = eseg("predict", model, folder / "image.tif", "--out", out, "--scheduler", "tcp://127.0.0.1:9")
    assert_one_line(outcome, "no Dask scheduler answers at tcp://127.0.0.1:9")
    assert not out.exists()


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "gpu", "meta", ""])
@pytest.mark.parametrize("out", ["maps", "map.zarr"])
def test_a_device_that_is_not_there_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, model: Path, device: str, out: str
) -> None:
    outcome = eseg("predict", model, folder / "image.tif", "--out", folder / out, "--device", device)
    assert_one_line(outcome, f"device is {device!r}; this machine has cpu")
    assert not (folder / out).exists()


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("accelerator", ["gpu", "mps"])
def test_an_accelerator_that_is_not_there_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, accelerator: str
) -> None:
    outcome = eseg("train", run_file(folder, training={"accelerator": accelerator}))
    assert_one_line(outcome, f"training.accelerator is {accelerator}, which this machine does not have")
    assert not (folder / "out").exists()


def test_more_gpus_than_there_are_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    outcome = eseg("train", run_file(folder, training={"devices": 2}))
    assert_one_line(outcome, "training.devices is 2, but this machine has 1 GPU")
    assert not (folder / "out").exists()


def test_workers_are_started_here_or_those_of_a_cluster_but_not_both(
    eseg: Callable[..., Outcome], folder: Path, model: Path
) -> None:
    both = ("--workers", "2", "--scheduler", "tcp://127.0.0.1:9")
    outcome = eseg("predict", model, folder / "image.tif", "--out", folder / "maps", *both)
    assert_one_line(outcome, "--workers", "--scheduler")
    assert not (folder / "maps").exists()
