"""The log of a training as curves over the steps of all its stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from eseg_zoo.report.history import read_history


def log(folder: Path, name: str, *rows: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(("epoch,step,train/kl,train/loss,val/mean_dice", *rows)), encoding="utf-8")


def test_stages_follow_each_other(tmp_path: Path) -> None:
    log(tmp_path / "one", "metrics.csv", "0,4,,,0.5", "0,4,3,9,", "1,9,2,8,0.6")
    log(tmp_path / "two", "metrics.csv", "0,9,1,7,nan")
    history = read_history({"one": tmp_path / "one", "two": tmp_path / "two"})
    assert history.curves["train/kl"] == ((5, 10, 20), (3.0, 2.0, 1.0))
    assert history.curves["val/mean_dice"] == ((5, 10), (0.5, 0.6))
    assert history.begins == {"one": 0, "two": 10}
    assert list(history.terms()) == ["kl"]


def test_what_was_done_again_after_an_interruption_counts_as_the_last_time(tmp_path: Path) -> None:
    log(tmp_path / "one", "metrics.1.csv", "0,4,5,9,", "1,9,4,9,")
    log(tmp_path / "one", "metrics.2.csv", "1,9,3,9,")
    log(tmp_path / "one", "metrics.csv", "1,9,2,9,", "2,14,1,9,")
    log(tmp_path / "one", "metrics.old.csv", "0,4,99,9,")
    assert read_history({"one": tmp_path / "one"}).curves["train/kl"] == ((5, 10, 15), (5.0, 2.0, 1.0))


def test_stages_that_left_no_log_are_passed_over(tmp_path: Path) -> None:
    log(tmp_path / "two", "metrics.csv", "0,4,1,9,")
    history = read_history({"one": tmp_path / "one", "two": tmp_path / "two"})
    assert history.begins == {"two": 0}
    assert read_history({"one": tmp_path / "one"}).curves == {}


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"step,a\nx,1\n", b"epoch,a\n0,1\n", b"step,a\n1,2,3\n", b"step,a\ninf,1\n"]
)
def test_a_damaged_log_is_told_and_costs_its_own_curves_alone(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    log(tmp_path / "one", "metrics.csv", "0,4,1,9,")
    log(tmp_path / "two", "metrics.csv")
    (tmp_path / "two/metrics.csv").write_bytes(content)
    history = read_history({"one": tmp_path / "one", "two": tmp_path / "two"})
    assert history.curves == {"train/kl": ((5,), (1.0,)), "train/loss": ((5,), (9.0,))}
    assert str(tmp_path / "two/metrics.csv") in caplog.text
