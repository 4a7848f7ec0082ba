"""Trainings that are cut short, and what two trainings have in common that end alike."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.metrics_file import read_metrics
from eseg_zoo.training.stages import Stage
from training.runs import run_in

NETWORK = {"filters": [6, 8], "latents": 3}
TRAINING = {"steps": 6, "epoch_steps": 3, "batch_size": 4, "accelerator": "cpu", "learning_rate": 0.005}
SEMI_SUPERVISED = {"steps": 6, "labelled": 4, "unlabelled": 2, "cells": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "paper": {
        "preset": "paper",
        "training": TRAINING | {"learning_rate": 1e-7},
        "paper": {"radius": 1, "radius_patience": 1, "plateau_patience": 1},
    },
    "early stopping": {"training": TRAINING | {"steps": 9, "patience": 1, "learning_rate": 1e-9}},
    "no validation": {"training": TRAINING | {"validation_fraction": 0}},
}


class CrashError(Exception):
    """Stands for whatever kills a process."""


def run_of(folder: Path, variant: str, *, out: str = "out", **changes: Any) -> Run:
    settings = {"network": NETWORK, "training": TRAINING, "semi_supervised": SEMI_SUPERVISED, "out": out}
    return run_in(folder, **settings | VARIANTS[variant] | changes)


def at_step(monkeypatch: pytest.MonkeyPatch, kind: type[Stage], step: int, action: Callable[[], None]) -> None:
    """Do something in the training step of this number, counted from 0, of a stage."""
    right: Any = kind.training_step

    def training_step(self: Stage, batch: Any, index: int) -> torch.Tensor:
        if self.global_step == step:
            action()
        loss: torch.Tensor = right(self, batch, index)
        return loss

    monkeypatch.setattr(kind, "training_step", training_step)


def at_call(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int) -> None:
    """Crash in the call of this number, counted from 1, of a function."""
    right, calls = getattr(owner, name), []

    def crashing(*arguments: Any) -> Any:
        calls.append(name)
        if len(calls) == number:
            crash()
        return right(*arguments)

    monkeypatch.setattr(owner, name, crashing)


def crash() -> None:
    raise CrashError


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def assert_same(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert state.keys() == expected.keys()
    assert [key for key, value in expected.items() if not torch.equal(state[key], value)] == []


def rows_but_times(out: Path) -> list[dict[str, Any]]:
    """The rows of a training's log without what a clock says."""
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "train/waiting")}
        for row in read_metrics(out)
    ]


def assert_same_training(out: Path, expected: Path) -> None:
    """Models, figures, logs, and all that the stages know at their ends are the same to the bit."""
    found, whole = (Checkpoint.load(folder / "model.pt") for folder in (out, expected))
    assert_same(found.segmenter_state, whole.segmenter_state)
    assert_same(found.generative_state, whole.generative_state)
    assert found.training.steps == whole.training.steps
    assert found.training.validation == whole.training.validation
    assert found.classes == whole.classes
    assert rows_but_times(out) == rows_but_times(expected)
    for last in expected.glob("*/last.ckpt"):
        resumed, whole_stage = (
            torch.load(path, weights_only=True) for path in (out / last.relative_to(expected), last)
        )
        assert_same(resumed["state_dict"], whole_stage["state_dict"])
        assert resumed["lr_schedulers"] == whole_stage["lr_schedulers"]
