"""What the trainings on large images are measured with: the images, their labels, batches of them, and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lazy_training
from batches import batches_of
from eseg_zoo.config import Run
from eseg_zoo.images.opening import open_image
from eseg_zoo.training.data import read_training_data
from lazy_training import strokes, write_large
from peak import run
from stores import write_ome_zarr


def test_every_whole_chunk_of_a_written_volume_is_alike(tmp_path: Path) -> None:
    write_ome_zarr(tmp_path / "raw.ome.zarr", (3, 40, 50), (1, 16, 16))
    pixels = open_image(tmp_path / "raw.ome.zarr").read()[0, 0]
    assert pixels.shape == (3, 40, 50)
    assert (pixels[:, :32, :48].reshape(3, 2, 16, 3, 16) == pixels[:1, None, :16, None, :16]).all()
    assert pixels.std() > 20


def test_the_large_image_is_trained_on_its_strokes_though_most_chunks_of_its_labels_are_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_training, "SIDE", 200)
    write_large(tmp_path, (6, 400, 400), (1, 32, 32))
    chunks = [path for path in (tmp_path / "labels.ome.zarr" / "0").rglob("*") if path.is_file()]
    assert len(chunks) < 6 * 13 * 13 / 4
    run_of = Run.model_validate(
        {
            "images": tmp_path / "raw.ome.zarr", "labels": tmp_path / "labels.ome.zarr", "axes": "zyx", "out": "out",
            "classes": lazy_training.CLASSES, "training": {"validation_fraction": 0},
        }
    )  # fmt: skip
    expected = np.zeros((6, 400, 400), np.uint8)
    for window, value in strokes([0, 1, 3, 5]):
        expected[window] = value
    found = read_training_data(run_of).training
    assert found.places.tolist() == np.argwhere(expected).tolist()
    assert (found.labels + 1).tolist() == expected[expected > 0].tolist()


def test_batches_have_the_patches_of_the_preset() -> None:
    image = open_image(np.random.default_rng(0).integers(0, 255, (2, 128, 128), dtype=np.uint8), axes="zyx")
    batch = batches_of(image, "small", "semi_supervised")[0]
    assert batch.labelled
    assert batch.unlabelled
    assert (len(batch.labelled.labels), len(batch.unlabelled.clean)) == (32, 4)
    assert batches_of(image, "small", "supervised")[0].unlabelled is None


def test_the_peak_counts_child_processes_too() -> None:
    child = "import time; kept = b'1' * 150_000_000; time.sleep(1)"
    program = f"import subprocess, sys; {child.split(';')[1]}; subprocess.run([sys.executable, '-c', {child!r}])"
    seconds, megabytes = run([sys.executable, "-c", program])
    assert 1 < seconds < 30
    assert 300 < megabytes < 500


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run([sys.executable, "-c", "raise SystemExit(3)"])
