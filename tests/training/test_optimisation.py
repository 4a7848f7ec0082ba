"""The optimiser and the schedule that the settings ask for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from eseg_zoo.config import SMALLEST_RUN, Run, TrainingSettings
from eseg_zoo.data.patches import PatchGeometry
from eseg_zoo.training.optimisation import cosine_schedule, plateau_schedule
from eseg_zoo.training.stages import Pretraining, SemiSupervised, Stage, Supervised
from training.runs import network_of


def stage(kind: type[Stage] = Supervised, **training: Any) -> Stage:
    network = {"filters": [4, 4], "latents": 2}
    run = Run.model_validate(yaml.safe_load(SMALLEST_RUN) | {"training": training, "network": network})
    return kind(run, run.training, network_of(run), PatchGeometry((4, 4), (8, 8)))


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adamax", torch.optim.Adamax)])
def test_the_optimiser_is_the_one_named_with_the_rate_and_decay_given(name: str, kind: type[Any]) -> None:
    (optimiser,), _ = stage(optimiser=name, weight_decay=0.25, learning_rate=0.5).configure_optimizers()
    assert type(optimiser) is kind
    assert optimiser.defaults["weight_decay"] == 0.25
    assert optimiser.defaults["lr"] == 0.5


@pytest.mark.parametrize("name", ["cosine", "plateau"])
def test_the_schedule_is_the_one_named(name: str) -> None:
    _, schedules = stage(schedule=name).configure_optimizers()
    assert any(isinstance(s["scheduler"], ReduceLROnPlateau) for s in schedules) == (name == "plateau")


@pytest.mark.parametrize("kind", [Pretraining, Supervised, SemiSupervised])
def test_the_optimiser_of_every_stage_has_each_weight_of_the_network_once_and_nothing_else(kind: type[Stage]) -> None:
    built = stage(kind)
    (optimiser,), _ = built.configure_optimizers()
    (group,) = optimiser.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in built.hvae.parameters()}
    assert len(group["params"]) == len(list(built.hvae.parameters()))


def rates(schedule: Any, settings: TrainingSettings, scores: list[float]) -> list[float]:
    """The learning rate of each step, with a validation of these scores after every `epoch_steps`."""
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=settings.learning_rate)
    schedulers = [description["scheduler"] for description in schedule(optimiser, settings)]
    found = []
    for score in scores:
        for _ in range(settings.epoch_steps):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            for scheduler in schedulers:
                if isinstance(scheduler, LRScheduler) and not isinstance(scheduler, ReduceLROnPlateau):
                    scheduler.step()
        for scheduler in schedulers:
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(score)
    return found


def test_cosine_rises_to_the_rate_and_falls_to_0() -> None:
    settings = TrainingSettings(steps=100, epoch_steps=10, warmup=0.1, learning_rate=2.0)
    found = rates(cosine_schedule, settings, [0.5] * 10)
    expected = [2 * (step + 1) / 10 for step in range(10)]
    expected += [1 + math.cos(math.pi * step / 90) for step in range(90)]
    assert found == pytest.approx(expected)


def test_plateau_rises_to_the_rate_and_halves_it_when_the_soft_dice_stalls() -> None:
    settings = TrainingSettings(steps=200, epoch_steps=4, warmup=0.06, learning_rate=2.0, plateau_patience=2)
    # The warm-up of 12 steps has three validations, which do not count. Then: a best, a gain, a gain below 0.001 and a
    # loss: stalled; one more stalled validation; a gain; two stalled ones.
    scores = [0.9, 0.1, 0.1, 0.91, 0.92, 0.9205, 0.5, 0.5, 0.95, 0.9, 0.9, 0.9]
    found = rates(plateau_schedule, settings, scores)
    warmup = [2 * (step + 1) / 12 for step in range(12)]
    assert found == pytest.approx([*warmup, *[2.0] * 16, *[1.0] * 16, *[0.5] * 4])


def test_plateau_without_a_warm_up_starts_at_the_rate() -> None:
    settings = TrainingSettings(steps=10, epoch_steps=2, warmup=0, learning_rate=2.0, schedule="plateau")
    assert rates(plateau_schedule, settings, [0.1, 0.2]) == [2.0] * 4
