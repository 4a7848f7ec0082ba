"""Two trainings into one folder: one of them says so in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from eseg_zoo.config import Run
from eseg_zoo.errors import OutputError
from eseg_zoo.output import owning
from eseg_zoo.training import run as training_run


@pytest.mark.parametrize("options", [{}, {"force": True}, {"resume": True}], ids=str)
def test_a_training_into_the_folder_of_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[..., 10:14, 10], labels[..., 30:34, 40] = 1, 2
    tifffile.imwrite(tmp_path / "image.tif", rng.integers(0, 255, (2, 64, 64)).astype(np.uint8))
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    run = Run.model_validate(
        {
            "images": [tmp_path / "image.tif"], "labels": [tmp_path / "labels.tif"], "axes": "zyx",
            "classes": {1: "a", 2: "b"}, "preset": "small", "out": tmp_path / "out",
            "network": {"filters": [4, 4, 4], "latents": 2},
            "training": {"steps": 2, "epoch_steps": 2, "batch_size": 4, "accelerator": "cpu"},
            "semi_supervised": {"steps": 0},
        }
    )  # fmt: skip
    monkeypatch.setattr(training_run, "fit", lambda *_, **__: pytest.fail("it trains"))
    (tmp_path / "out").mkdir()
    with (
        owning(tmp_path / "out" / "model.pt"),
        pytest.raises(OutputError, match=r"out/model\.pt is being written by another command"),
    ):
        training_run.train_run(run, **options)
    assert list((tmp_path / "out").iterdir()) == []
