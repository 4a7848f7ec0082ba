"""The log of a training as curves over the steps of all its stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from eseg_zoo.metrics_file import METRICS, metrics_text
from eseg_zoo.report.history import read_history


def test_stages_follow_each_other(tmp_path: Path) -> None:
    rows = [
        {
            "stage": "one",
            "step": 5,
            "epoch": 1,
            "seconds": 1.0,
            "train/kl": 3.0,
            "train/loss": 9,
            "val/mean_dice": 0.5,
        },
        {"stage": "one", "step": 10, "epoch": 2, "seconds": 2.0, "train/kl": 2.0, "val/mean_dice": 0.6},
        {"stage": "two", "step": 20, "epoch": 1, "seconds": 3.0, "train/kl": 1.0, "val/mean_dice": float("nan")},
    ]
    (tmp_path / METRICS).write_text(metrics_text(rows), encoding="utf-8")
    history = read_history(tmp_path)
    assert history.curves["train/kl"] == ((5, 10, 20), (3.0, 2.0, 1.0))
    assert history.curves["val/mean_dice"] == ((5, 10), (0.5, 0.6))
    assert history.begins == {"one": 0, "two": 10}
    assert list(history.terms()) == ["kl"]


def test_a_training_without_a_log_has_no_curves(tmp_path: Path) -> None:
    assert read_history(tmp_path).curves == {}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"step,a\nx,1\n", b"stage,step,epoch,seconds\none,x,1,2\n"])
def test_a_damaged_log_is_told_and_costs_the_curves_alone(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / METRICS).write_bytes(content)
    assert read_history(tmp_path).curves == {}
    assert str(tmp_path / METRICS) in caplog.text
