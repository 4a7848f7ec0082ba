"""The stages of a run as numbers: how many steps, in which epochs, and how many patches a step sees."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from eseg_zoo.config import Run

log = logging.getLogger(__name__)

STAGES = ("supervised", "semi_supervised")
# Held-out pixels that are looked at: enough to rank two models, and cheap beside 100 steps.
VALIDATION_ANCHORS_PER_CLASS = 100


@dataclass(frozen=True)
class StagePlan:
    """One stage of a run: its name, which is its folder's, and what a step of it sees."""

    name: str
    steps: int
    labelled: int
    unlabelled: int
    epoch: int = 0  # steps of an epoch; 0 as long as they are not fixed

    def within(self, epoch: int) -> StagePlan:
        """Return the plan with its steps in whole epochs of so many."""
        return replace(self, steps=planned_steps(self.steps, epoch), epoch=epoch)


def plans(run: Run) -> list[StagePlan]:
    """Return the stages that the run asks for, in their order."""
    semi = run.semi_supervised
    stages = [
        StagePlan(STAGES[0], run.training.steps, run.training.batch_size, 0),
        StagePlan(STAGES[1], semi.steps, semi.labelled, semi.unlabelled),
    ]
    return [plan for plan in stages if plan.steps]


def epoch_steps(steps: int, wanted: int) -> int:
    """Return the steps of an epoch of a stage of at most `steps` steps: whole epochs of about the `wanted` length."""
    return steps // max(round(steps / wanted), 1)


def planned_steps(steps: int, epoch: int) -> int:
    """Return how many steps a stage of at most about `steps` takes in epochs of this length."""
    return max(round(steps / epoch), 1) * epoch


def with_preset_of_machine(run: Run, *, on_gpu: bool) -> Run:
    """Return the settings with a preset: the one given, or else one for the machine, which is told."""
    if run.preset is not None:
        return run
    log.info(
        "No preset is given: it is %s, as this %s.",
        *(("default", "machine has a GPU") if on_gpu else ("small", "training is on a CPU")),
    )
    return run.with_preset("default" if on_gpu else "small")
