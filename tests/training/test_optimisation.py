"""The optimiser and the schedule of the default training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.example_run import SMALLEST_RUN
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.training.optimisation import optimisation
from eseg_zoo.training.paper import PaperSemiSupervised, PaperSupervised
from eseg_zoo.training.stages import SemiSupervised, Stage, Supervised
from training.runs import network_of


def stage(kind: type[Stage] = Supervised, **training: Any) -> Stage:
    network = {"filters": [4, 4], "latents": 2}
    preset = "paper" if kind in (PaperSupervised, PaperSemiSupervised) else "default"
    changes = {"training": training, "network": network, "preset": preset}
    run = Run.model_validate(yaml.safe_load(SMALLEST_RUN) | changes)
    return kind(run, run.training, network_of(run), PatchGeometry((4, 4), (8, 8)))


@pytest.mark.parametrize(("kind", "expected"), [(Supervised, torch.optim.AdamW), (PaperSupervised, torch.optim.Adamax)])
def test_the_optimiser_is_that_of_the_preset_with_the_rate_and_decay_given(
    kind: type[Stage], expected: type[Any]
) -> None:
    (optimiser,), _ = stage(kind, weight_decay=0.25, learning_rate=0.5).configure_optimizers()
    assert type(optimiser) is expected
    assert optimiser.defaults["weight_decay"] == 0.25
    assert optimiser.defaults["lr"] == 0.5


@pytest.mark.parametrize("kind", [Supervised, SemiSupervised, PaperSupervised, PaperSemiSupervised])
def test_the_optimiser_of_every_stage_has_each_weight_of_the_network_once_and_nothing_else(kind: type[Stage]) -> None:
    built = stage(kind)
    (optimiser,), _ = built.configure_optimizers()
    (group,) = optimiser.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in built.hvae.parameters()}
    assert len(group["params"]) == len(list(built.hvae.parameters()))


def test_the_rate_rises_and_falls_to_0_along_a_cosine() -> None:
    settings = TrainingSettings(steps=100, epoch_steps=10, warmup=0.1, learning_rate=2.0)
    (optimiser,), (description,) = optimisation([nn.Parameter(torch.zeros(()))], settings)
    found = []
    for _ in range(100):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        description["scheduler"].step()
    expected = [2 * (step + 1) / 10 for step in range(10)]
    expected += [1 + math.cos(math.pi * step / 90) for step in range(90)]
    assert found == pytest.approx(expected)
    assert description["interval"] == "step"
