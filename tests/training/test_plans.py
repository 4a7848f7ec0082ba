"""Which stages a run has, and how long they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.training.plans import plans
from eseg_zoo.training.run import train_run
from training.interruptions import SEMI_SUPERVISED, TRAINING, run_of


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ((5, 0), ["supervised"]),
        ((5, 5), ["supervised", "semi_supervised"]),
    ],
    ids=str,
)
def test_a_stage_of_no_steps_is_left_out(inputs: Path, steps: tuple[int, int], names: list[str]) -> None:
    changes: dict[str, Any] = {
        "training": TRAINING | {"steps": steps[0]},
        "semi_supervised": SEMI_SUPERVISED | {"steps": steps[1]},
    }
    found = plans(run_of(inputs, "plain", **changes))
    assert [plan.name for plan in found] == names
    sees = {"supervised": (4, 0), "semi_supervised": (4, 2)}
    assert [(plan.labelled, plan.unlabelled) for plan in found] == [sees[name] for name in names]


@pytest.mark.parametrize(("steps", "epoch_steps", "taken"), [(1, 100, 1), (5, 100, 5), (5, 2, 4), (7, 3, 6), (6, 3, 6)])
def test_a_stage_takes_its_steps_in_epochs_of_equal_length(
    inputs: Path, steps: int, epoch_steps: int, taken: int
) -> None:
    training = TRAINING | {"steps": steps, "epoch_steps": epoch_steps, "batch_size": 2}
    run = run_of(inputs, "plain", training=training, semi_supervised={"steps": 0})
    checkpoint = Checkpoint.load(train_run(run))
    assert checkpoint.training.steps == taken
    assert "mean_dice" in checkpoint.training.validation
