from __future__ import annotations

import csv
from pathlib import Path

import pytest

from eseg_zoo.errors import InputError
from eseg_zoo.metrics_file import METRICS, metrics_text, read_metrics

ROWS = [
    {"stage": "supervised", "step": 6, "epoch": 1, "seconds": 0.25, "train/loss": 0.1 + 0.2, 'val/dice/a, "b"': 0.5},
    {"stage": "semi_supervised", "step": 9, "epoch": 1, "seconds": 1.0, "train/kl": 3.0},
]


def test_what_is_written_is_read_again_to_the_last_bit(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text(metrics_text(ROWS), encoding="utf-8")
    assert read_metrics(tmp_path) == ROWS


def test_the_log_begins_with_the_same_columns_whatever_is_logged() -> None:
    first, *lines = csv.reader(metrics_text(ROWS).splitlines())
    assert first[:4] == ["stage", "step", "epoch", "seconds"]
    assert [len(line) for line in lines] == [len(first)] * 2


def test_a_folder_without_a_log_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    assert read_metrics(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "content",
    [
        b"step,epoch,seconds\n3,1,0.5\n",
        b"stage,step,epoch,seconds\nsupervised,three,1,0.5\n",
        b"stage,step,epoch,seconds\nsupervised,3,1,0.5,9\n",
        b"stage,step,epoch,seconds\nsupervised,3\n",
        b"\xff\xfe\x00",
        b"precious",
        b"",
    ],
    ids=["no stage", "a word for a number", "a cell too many", "cut", "no text", "a word", "nothing"],
)
def test_a_file_that_is_no_log_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / METRICS).write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.csv is not the log of a training, or is damaged") as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)
