"""What a progress bar shows, and what a log gets in its place."""

from __future__ import annotations

import pytest

from eseg_zoo.console import Tenths, TrainingBars, part_progress
from eseg_zoo.progress import Progress


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_one_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    tenths = Tenths("v.npy")
    for done in range(201):
        tenths.report(done, 200)
    assert lines_of(capsys) == [f"v.npy: {done} of 200 tiles" for done in range(20, 201, 20)]


@pytest.mark.parametrize(("done", "total"), [(130, 200), (3, 3), (0, 0)])
def test_a_prediction_that_goes_on_says_where_it_is(capsys: pytest.CaptureFixture[str], done: int, total: int) -> None:
    Tenths("v.npy").report(done, total)
    assert lines_of(capsys) == [f"v.npy: {done} of {total} tiles"]


def test_a_terminal_gets_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # how a terminal is told to Rich
    Tenths("v.npy").report(3, 3)
    assert not lines_of(capsys)


def test_a_bar_shows_the_name_of_a_file_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with part_progress() as progress:
        progress.add_task("v[/a]:on:.npy")
    assert "v[/a]:on:.npy" in capsys.readouterr().err


def test_a_line_of_a_log_shows_the_name_of_a_file_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Tenths("v[/a]:on:.npy").report(3, 3)
    assert lines_of(capsys) == ["v[/a]:on:.npy: 3 of 3 tiles"]


def news(done: int, *, is_validated: bool = False, **figures: float) -> Progress:
    return Progress("semi_supervised", done, 200, figures, is_validated)


def test_a_log_of_a_training_gets_one_line_for_each_validation(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBars() as bars:
        for done in range(1, 201):
            bars(news(done, loss=1 / done))
            if done % 100 == 0:
                bars(news(done, is_validated=True, loss=1 / done, dice=0.8 - done / 1000, best=0.75))
    first, second = lines_of(capsys)
    for line, facts in ((first, ("100/200", "0.010", "0.700")), (second, ("200/200", "0.005", "0.600"))):
        assert line.startswith("semi-supervised")
        assert all(fact in line for fact in (*facts, "best 0.750")), line


def test_a_validation_without_held_out_labels_tells_the_loss_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBars() as bars:
        bars(news(100, is_validated=True, loss=0.5))
    (line,) = lines_of(capsys)
    assert line.endswith("100/200  loss 0.500")


def test_a_terminal_gets_a_bar_for_each_stage_with_steps_loss_and_dice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with TrainingBars() as bars:
        bars(Progress("supervised", 50, 50, {"loss": 0.25}))
        bars(news(150, is_validated=True, loss=0.125, dice=0.5, best=0.625))
        shown = [(task.description, task.completed, task.total) for task in bars.bars.tasks]
    assert shown == [("supervised", 50, 50), ("semi-supervised", 150, 200)]
    last = capsys.readouterr().err
    for fact in ("50/50", "150/200", "loss 0.250", "loss 0.125", "validation Dice 0.500", "best 0.625"):
        assert fact in last
