"""The log of a training: one row for each epoch, one file for all stages, whole at any moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from eseg_zoo.errors import ConfigError, InputError, OutputError
from eseg_zoo.metrics_file import METRICS, metrics_text, read_metrics
from eseg_zoo.training import epoch_log
from eseg_zoo.training.run import train_run
from eseg_zoo.training.stages import SemiSupervised, Supervised
from training.interruptions import TRAINING, CrashError, at_step, crash, rows_but_times, run_of


def test_all_stages_are_in_one_log_with_their_steps_and_seconds_counted_on(inputs: Path) -> None:
    rows = read_metrics(train_run(run_of(inputs, "plain")).parent)
    places = [(row["stage"], row["step"], row["epoch"]) for row in rows]
    assert places == [
        ("supervised", 3, 1), ("supervised", 6, 2), ("semi_supervised", 9, 1), ("semi_supervised", 12, 2),
    ]  # fmt: skip
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    terms = {"train/loss", "train/cross_entropy", "train/contrastive", "train/inpainting", "train/kl", "train/waiting"}
    validation = {"val/loss", "val/mean_dice", "val/soft_dice", "val/dice/dark", "val/dice/bright"}
    assert set(rows[0]) == {"stage", "step", "epoch", "seconds"} | terms | validation
    assert set(rows[2]) - set(rows[0]) == {"train/pseudo_labels", "train/unlabelled_inpainting", "train/unlabelled_kl"}


def test_a_log_that_cannot_be_renamed_stays_what_it_was(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, replace = run_of(inputs, "plain"), os.replace
    before = ""

    def failing(source: Path, target: Path) -> None:
        nonlocal before
        if target.name == METRICS and target.exists():
            before = target.read_text(encoding="utf-8")
            crash()
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(CrashError):
        train_run(run)
    assert (run.out / METRICS).read_text(encoding="utf-8") == before
    assert [row["step"] for row in read_metrics(run.out)] == [3]


def test_an_epoch_whose_checkpoint_was_not_written_is_logged_once(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(inputs, "plain", semi_supervised={"steps": 0})
    saved: Callable[..., Any] = epoch_log.EpochLog.on_train_epoch_end

    def crash_after_it(self: epoch_log.EpochLog, trainer: Any, stage: Any) -> None:
        saved(self, trainer, stage)
        if trainer.global_step == 6:
            crash()

    with monkeypatch.context() as planted:
        planted.setattr(epoch_log.EpochLog, "on_train_epoch_end", crash_after_it)
        with pytest.raises(CrashError):
            train_run(run)
    assert [row["step"] for row in read_metrics(run.out)] == [3, 6]
    train_run(run, resume=True)
    assert [row["step"] for row in read_metrics(run.out)] == [3, 6]


def test_a_stage_that_starts_again_drops_its_own_rows_alone(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(inputs, "plain")
    train_run(run)
    whole = rows_but_times(run.out)
    for name in ("last.ckpt", "previous.ckpt", "finished.json"):
        (run.out / "supervised" / name).unlink()
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 1, crash)
        with pytest.raises(CrashError):
            train_run(run, resume=True)
    assert [row["stage"] for row in read_metrics(run.out)] == ["semi_supervised"] * 2, "it is as it was"
    train_run(run, resume=True)
    assert rows_but_times(run.out) == whole


def test_a_stage_that_is_extended_takes_the_rows_of_the_next_one_with_it(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_run(run_of(inputs, "plain"))
    longer = run_of(inputs, "plain", training=TRAINING | {"steps": 9})
    with monkeypatch.context() as planted:
        at_step(planted, SemiSupervised, 0, crash)
        with pytest.raises(CrashError):
            train_run(longer, resume=True)
    assert [(row["stage"], row["step"]) for row in read_metrics(longer.out)] == [
        ("supervised", 3), ("supervised", 6), ("supervised", 9),
    ]  # fmt: skip


def test_a_damaged_log_is_told_before_a_stage_goes_on(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(inputs, "plain")
    with monkeypatch.context() as planted:
        at_step(planted, SemiSupervised, 1, crash)
        with pytest.raises(CrashError):
            train_run(run)
    (run.out / METRICS).write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics\.csv is not the log of a training"):
        train_run(run, resume=True)
    assert (run.out / METRICS).read_text(encoding="utf-8") == "precious"


def test_a_log_of_somebody_else_is_not_replaced(inputs: Path) -> None:
    run = run_of(inputs, "plain")
    run.out.mkdir()
    (run.out / METRICS).write_text(metrics_text([]), encoding="utf-8")
    with pytest.raises(OutputError, match=r"metrics\.csv would be replaced, but there is no"):
        train_run(run, force=True)


def test_tensorboard_gets_the_figures_of_the_log(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(inputs, "plain", training=TRAINING | {"tensorboard": True})
    with monkeypatch.context() as planted:
        at_step(planted, SemiSupervised, 4, crash)
        with pytest.raises(CrashError):
            train_run(run)
    train_run(run, resume=True)
    board = EventAccumulator(str(run.out / "tensorboard"))
    board.Reload()
    rows = read_metrics(run.out)
    assert len(rows) == 4
    for name in ("train/loss", "val/mean_dice"):
        seen = {event.step: event.value for event in board.Scalars(name)}
        assert seen == pytest.approx({row["step"]: row[name] for row in rows})
    train_run(run, force=True)
    assert len(list((run.out / "tensorboard").iterdir())) == 2, "one for each stage, and none of before"


def test_tensorboard_that_is_not_installed_is_told_before_anything_is_read(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_log, "find_spec", lambda name: None)
    (inputs / "image.tif").unlink()
    with pytest.raises(ConfigError, match=r"training\.tensorboard is true, but tensorboard is not installed: pip"):
        train_run(run_of(inputs, "plain", training=TRAINING | {"tensorboard": True}))
