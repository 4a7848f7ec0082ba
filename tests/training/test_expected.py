"""What a training takes is worked out before it begins, and told before its first step and after a few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eseg_zoo.config import Run
from eseg_zoo.model.cost import classifier_cost, training_cost
from eseg_zoo.progress import told_time
from eseg_zoo.training import run as run_module
from eseg_zoo.training.estimate import Estimate
from eseg_zoo.training.expected import expected, step_work
from eseg_zoo.training.plans import plans
from eseg_zoo.training.run import train_run
from training.runs import SEMI_SUPERVISED, run_in

SHORT = {"steps": 8, "epoch_steps": 4, "batch_size": 2, "accelerator": "cpu"}


def run_of(**changes: Any) -> Run:
    files = {"images": "image.tif", "labels": "labels.tif", "out": "out", "classes": {1: "a", 2: "b"}}
    return Run.checked({**files, "preset": "small", **changes}, "run")


def test_a_step_takes_what_its_patches_take_in_each_pass() -> None:
    run = run_of(semi_supervised={"labelled": 3, "unlabelled": 2, "cells": 2}, training={"accumulate": 5})
    shape = run.network.architecture(channels=1, classes=2)
    labelled, wide, looked_at = (
        training_cost(shape, (8, 8)),
        training_cost(shape, (16, 16)),
        classifier_cost(shape, (16, 16)),
    )
    multiply_adds = 3 * (3 * labelled.multiply_adds + 2 * wide.multiply_adds) + 2 * looked_at.multiply_adds
    values = 3 * (3 * labelled.values + 2 * wide.values) + 2 * looked_at.values
    assert step_work(plans(run)[1], run, shape) == pytest.approx(5 * (1.0 * multiply_adds + 160 * values))


def test_a_training_takes_all_steps_and_all_validations() -> None:
    run = run_of(training={"steps": 30, "epoch_steps": 10}, semi_supervised={"steps": 40})
    shape = run.network.architecture(channels=1, classes=2)
    first, second = plans(run)
    steps = 30 * step_work(first, run, shape) + 40 * step_work(second, run, shape)
    assert expected(run, shape).work == pytest.approx(steps)
    look = classifier_cost(shape, (8, 8))
    validations = (3 + 4) * 50 * (look.multiply_adds + 160 * look.values)
    assert expected(run, shape, validated=50).work == pytest.approx(steps + validations)


def test_a_larger_batch_takes_more_memory_and_more_accumulated_ones_do_not() -> None:
    def memory(**training: int) -> float:
        run = run_of(training=training)
        return expected(run, run.network.architecture(channels=1, classes=2)).memory

    assert memory(batch_size=320) > memory(batch_size=160) + 0.3e9
    assert memory(batch_size=160, accumulate=4) == memory(batch_size=160)


def test_the_whole_time_follows_from_the_steps_and_their_work() -> None:
    estimate = Estimate({"supervised": (100, 2.0), "semi_supervised": (50, 6.0)}, rate=4.0)
    assert estimate.seconds("supervised", 10) == (90 * 2 + 50 * 6) / 4
    estimate.measured("supervised", 0.25)
    assert estimate.seconds("supervised", 10) == (90 * 2 + 50 * 6) / 8
    assert estimate.seconds("semi_supervised", 10) == 40 * 6 / 8
    assert Estimate({"supervised": (100, 2.0)}, rate=None).seconds("supervised", 0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 second"), (40, "40 seconds"), (840, "14 minutes"), (12600, "3.5 hours"), (400000, "5 days")],
)
def test_times_are_told_in_words(seconds: float, text: str) -> None:
    assert told_time(seconds) == text


def test_the_whole_time_is_told_before_the_first_step_and_by_the_first_steps(
    inputs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "multiply_adds_per_second", lambda: 1e6)
    run = run_in(inputs, training=SHORT, semi_supervised=SEMI_SUPERVISED)
    with caplog.at_level("INFO", "eseg_zoo"):
        train_run(run)
    told = [text for text in caplog.messages if text.startswith(("Training a", "Stage", "Measuring", "Writing"))]
    assert told[0].startswith("Training a 2D network (preset small) on the CPU")
    assert told[0].endswith("in 2 stages: supervised, at most 8 steps; semi-supervised, at most 6 steps.")
    shape = run.network.architecture(channels=1, classes=2)
    works = [plan.steps * step_work(plan, run, shape) for plan in plans(run)]
    whole = f"Stage 1 of 2, supervised: about {told_time(sum(works) / 1e6)} to the end of the training"
    assert told[1] == f"{whole}, as estimated before its first step, less where validation stalls."
    assert told[2].startswith("Stage 1 of 2, supervised: about ")
    assert told[2].endswith("to the end of the training, as its first steps show, less where validation stalls.")
    assert told[3].startswith("Stage 2 of 2, semi-supervised: about ")
    assert told[-2].startswith("Measuring how frequent each class is")
    assert told[-1] == f"Writing {inputs / 'out' / 'model.pt'}."


def test_on_a_gpu_the_first_steps_tell_it_alone(
    inputs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(inputs, training=SHORT)
    assert run_module._rate(run.training) is not None
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "device_of", lambda settings: "cuda")
        assert run_module._rate(run.training) is None
    monkeypatch.setattr(run_module, "_rate", lambda settings: None)
    with caplog.at_level("INFO", "eseg_zoo"):
        train_run(run)
    told = [text for text in caplog.messages if text.startswith("Stage")]
    assert len(told) == 1
    assert "as its first steps show" in told[0]
