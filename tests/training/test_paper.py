"""The published training: what its second stage knows beside the weights, its schedule, and a whole run of it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import PaperSettings, Run, TrainingSettings
from eseg_zoo.errors import InputError
from eseg_zoo.losses import Anchors
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.training.batches import StepBatch, StepBatches
from eseg_zoo.training.data import read_training_data
from eseg_zoo.training.paper import (
    MEMORY,
    PaperSemiSupervised,
    PseudoLabeller,
    latents_of,
    paper_optimisation,
)
from eseg_zoo.training.plans import plans
from eseg_zoo.training.run import train_run
from eseg_zoo.training.stages import Stage
from training.runs import network_of, run_in, source_of

NETWORK = {"filters": [6, 8], "latents": 3}
TRAINING: dict[str, Any] = {"steps": 6, "epoch_steps": 2, "batch_size": 8, "accelerator": "cpu"}
SEMI_SUPERVISED = {"steps": 8, "labelled": 8, "unlabelled": 2, "cells": 2}


def made(**settings: Any) -> PseudoLabeller:
    return PseudoLabeller(PaperSettings(**settings), classes=3, latents=4)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def paper_run(folder: Path, **changes: Any) -> Run:
    settings = {"preset": "paper", "network": NETWORK, "training": TRAINING, "semi_supervised": SEMI_SUPERVISED}
    return run_in(folder, **settings | changes)


# ----------------------------------------------------------------------------------------------------- class means


def test_class_means_are_the_means_of_the_batches_that_have_the_class() -> None:
    known = made()
    first, second = torch.arange(12.0).reshape(3, 4), torch.tensor([[1.0, 0, 5, 2], [7, 7, 7, 7]])
    known.observe_anchors(first, torch.tensor([0, 1, 0]))
    known.observe_anchors(second, torch.tensor([0, 2]))
    of_first, of_second = (first[0] + first[2]) / 2, second[0]
    expected = torch.stack([(of_first + of_second) / 2, first[1], second[1]])
    torch.testing.assert_close(known.class_means, expected)
    assert known.seen.tolist() == [2, 1, 1]


def test_old_batches_are_forgotten_as_of_a_hundred() -> None:
    known, rng = made(), np.random.default_rng(0)
    mean, spread = np.zeros(4), 1.0
    for batch in range(1, MEMORY + 20):
        latents = rng.normal(batch / 10, 1, (5, 4)).astype(np.float32)
        known.observe_anchors(torch.from_numpy(latents), torch.ones(5, dtype=torch.long))
        rate = max(1 / batch, 0.01)
        mean = (1 - rate) * mean + rate * latents.mean(0)
        spread = (1 - rate) * spread + rate * ((latents - mean) ** 2).sum(1).mean()
    np.testing.assert_allclose(known.class_means[1].numpy(), mean, rtol=1e-4)
    assert float(known.spread) == pytest.approx(spread, rel=1e-4)
    assert not known.class_means[[0, 2]].any()


@pytest.mark.parametrize("space", [(3, 2), (2, 3, 2)], ids=["2D", "3D"])
@pytest.mark.parametrize("seen", [[4, 2, 9], [4, 0, 9]], ids=["all classes seen", "one class unseen"])
def test_labels_are_a_softmax_of_the_squared_distances(space: tuple[int, ...], seen: list[int]) -> None:
    known = made()
    known.class_means.copy_(torch.randn(known.class_means.shape, generator=noise(1)))
    known.seen.copy_(torch.tensor(seen))
    known.spread.fill_(1.7)
    latents = torch.randn((2, 4, *space), generator=noise())
    found = known.label(latents).numpy()
    assert found.shape == (2, 3, *space)
    for i, place in product(range(2), np.ndindex(*space)):
        squared = ((latents.numpy()[(i, slice(None), *place)] - known.class_means.numpy()) ** 2).sum(1)
        weights = np.where(np.array(seen) > 0, np.exp(-squared / 1.7), 0)
        np.testing.assert_allclose(found[(i, slice(None), *place)], weights / weights.sum(), rtol=1e-3, atol=1e-6)


def test_a_spread_of_zero_still_gives_probabilities() -> None:
    known = made()
    for _ in range(2):
        known.observe_anchors(torch.eye(4)[:3], torch.arange(3))
    known.spread.zero_()
    found = known.label(torch.randn((2, 4, 3, 3), generator=noise()))
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))


def test_the_latents_of_a_pixel_are_those_of_its_cell_at_every_level() -> None:
    fine, coarse = torch.randn(2, 3, 4, 2, generator=noise()), torch.randn(2, 3, 2, 1, generator=noise(1))
    posteriors = [Gaussian(mean.requires_grad_(), mean) for mean in (fine, coarse)]
    found = latents_of(posteriors, [(1, 2), (2, 4)])
    assert found.shape == (2, 6, 4, 4)
    assert not found.requires_grad
    for y, x in np.ndindex(4, 4):
        expected = torch.cat([fine[:, :, y, x // 2], coarse[:, :, y // 2, x // 4]], 1)
        assert torch.equal(found[:, :, y, x], expected.detach())


# ------------------------------------------------------------------------------------------------------ neighbours


@pytest.mark.parametrize("radius", [1, 2, 5])
@pytest.mark.parametrize("region", [(6, 8), (3, 4, 5)], ids=str)
def test_neighbours_are_so_many_pixels_within_the_radius_but_not_the_anchor(
    region: tuple[int, ...], radius: int
) -> None:
    positions = [tuple(n - 1 for n in region), tuple(n // 2 for n in region), (0,) * len(region)]
    masks = [made(radius=radius, neighbours=3).neighbours(torch.tensor(positions), region, noise(i)) for i in range(60)]
    ever = torch.stack(masks).any(0)
    for i, position in enumerate(positions):
        near = [
            p
            for p in np.ndindex(*region)
            if 0 < sum((a - b) ** 2 for a, b in zip(p, position, strict=True)) <= radius**2
        ]
        assert all(int(mask[i].sum()) == min(3, len(near)) for mask in masks)
        assert not any(ever[(i, *p)] for p in np.ndindex(*region) if p not in near)
        assert int(ever[i].sum()) > 0.7 * len(near)  # each is drawn at times


def test_the_radius_grows_by_a_pixel_after_so_many_stalled_validations() -> None:
    known, radii = made(radius=3, radius_patience=2), []
    # A best, a gain below 0.001 and a loss: stalled twice. Stalled once, a gain; twice stalled, and once more.
    for figure in (0.5, 0.5005, 0.4, 0.5, 0.6, 0.6, 0.6, 0.1):
        known.observe_validation(figure)
        radii.append(int(known.radius))
    assert radii == [3, 3, 4, 4, 4, 4, 5, 5]


def test_the_confidence_changes_linearly() -> None:
    known = made(confidence=(0.5, 0.9))
    assert [known.confidence(share) for share in (0, 0.25, 0.5, 1)] == pytest.approx([0.5, 0.6, 0.7, 0.9])


def test_everything_it_knows_survives_a_state_dict() -> None:
    known = made(radius=2, radius_patience=2)
    known.observe_anchors(torch.randn((6, 4), generator=noise()), torch.tensor([0, 0, 1, 1, 1, 0]))
    for figure in (0.5, 0.4, 0.4, 0.4):
        known.observe_validation(figure)
    assert (int(known.radius), int(known.stalled), float(known.best)) == (3, 1, 0.5)
    other = PseudoLabeller(known.settings, classes=3, latents=4)
    other.load_state_dict(known.state_dict())
    for again in (known, other):  # what follows depends on nothing else
        again.observe_anchors(torch.ones(2, 4), torch.tensor([2, 0]))
        again.observe_validation(0.5)
    assert int(other.radius) == 4
    for key, value in known.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


# -------------------------------------------------------------------------------------------------------- schedule


def rates(settings: TrainingSettings, paper: PaperSettings, scores: list[float]) -> list[float]:
    """The learning rate of each step, with a validation of these scores after every `epoch_steps`."""
    (optimiser,), descriptions = paper_optimisation([nn.Parameter(torch.zeros(()))], settings, paper)
    warmup, plateau = (description["scheduler"] for description in descriptions)
    assert isinstance(warmup, LinearLR)
    assert isinstance(plateau, ReduceLROnPlateau)
    found = []
    for score in scores:
        for _ in range(settings.epoch_steps):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            warmup.step()
        plateau.step(score)
    return found


def test_the_rate_rises_and_is_halved_where_the_soft_dice_stalls() -> None:
    settings = TrainingSettings(steps=200, epoch_steps=4, warmup=0.06, learning_rate=2.0)
    # The warm-up of 12 steps has three validations, which do not count. Then: a best, a gain, a gain below 0.001 and a
    # loss: stalled; one more stalled validation; a gain; two stalled ones.
    scores = [0.9, 0.1, 0.1, 0.91, 0.92, 0.9205, 0.5, 0.5, 0.95, 0.9, 0.9, 0.9]
    found = rates(settings, PaperSettings(plateau_patience=2), scores)
    warmup = [2 * (step + 1) / 12 for step in range(12)]
    assert found == pytest.approx([*warmup, *[2.0] * 16, *[1.0] * 16, *[0.5] * 4])


def test_without_a_warm_up_the_rate_is_there_from_the_first_step(inputs: Path) -> None:
    run = paper_run(inputs, training={})
    assert (run.training.learning_rate, run.training.warmup) == (3e-5, 0)
    assert rates(run.training, PaperSettings(), [0.1] * 3) == [3e-5] * 300


def test_a_plateau_is_judged_once_an_epoch_of_accumulated_batches(inputs: Path) -> None:
    training = TRAINING | {"steps": 8, "epoch_steps": 4, "batch_size": 2, "accumulate": 2, "learning_rate": 1e-6}
    paper = {"plateau_patience": 1}
    out = train_run(paper_run(inputs, training=training, semi_supervised={"steps": 0}, paper=paper)).parent
    last = torch.load(out / "supervised" / "last.ckpt", weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5e-6  # the second of two validations has no gain
    assert "exp_inf" in last["optimizer_states"][0]["state"][0]  # Adamax's own


# --------------------------------------------------------------------------------------------------------- a step


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The terms of the last step, as they would be logged."""
    terms: dict[str, Tensor] = {}
    monkeypatch.setattr(Stage, "log_terms", lambda self, batch_size, **found: terms.update(found))
    return terms


def stage_and_batch(run: Run) -> tuple[PaperSemiSupervised, StepBatch]:
    source, data = source_of(run)
    semi = run.semi_supervised
    batches = StepBatches(
        source,
        data.training_sections,
        data.training,
        run,
        stage="semi_supervised",
        labelled=semi.labelled,
        unlabelled=semi.unlabelled,
    )
    return PaperSemiSupervised(run, run.training, network_of(run), source.geometry), batches[0]


def test_a_step_reaches_every_weight_of_the_network(inputs: Path, logged: dict[str, Tensor]) -> None:
    stage, batch = stage_and_batch(paper_run(inputs))
    stage.training_step(batch, 0).backward()
    found = {name: 0 if w.grad is None else float(w.grad.abs().max()) for name, w in stage.hvae.named_parameters()}
    assert [name for name, value in found.items() if not 0 < value < float("inf")] == []
    assert all(value.item() > 0 for value in logged.values())


def test_the_loss_is_the_weighted_sum_of_its_terms(inputs: Path, logged: dict[str, Tensor]) -> None:
    stage, batch = stage_and_batch(paper_run(inputs, loss={"alpha": 0.7, "beta": 0.3, "gamma": 0.2, "delta": 5.0}))
    loss = stage.training_step(batch, 0)
    generative = 0.7 * (logged["inpainting"] + logged["unlabelled_inpainting"])
    generative = generative + 0.3 * (logged["kl"] + logged["unlabelled_kl"])
    supervised = 0.2 * logged["contrastive"] + logged["cross_entropy"]
    torch.testing.assert_close(loss, generative + supervised + 5 * logged["pseudo_labels"])


def test_class_means_see_the_latent_means_of_the_anchors(inputs: Path, logged: dict[str, Tensor]) -> None:
    stage, batch = stage_and_batch(paper_run(inputs))
    assert batch.labelled
    stage.training_step(batch, 0)
    with torch.no_grad():
        found = stage.hvae(batch.labelled.patches * (1 - batch.labelled.hidden), stage.noise())
    anchors = Anchors(batch.labelled.position, batch.labelled.labels)
    latents = torch.cat(
        [anchors.pick(q.mean, step) for q, step in zip(found.posteriors, ((2, 2), (4, 4)), strict=True)], 1
    )
    for index in (0, 1):
        expected = latents[batch.labelled.labels == index].mean(0)
        torch.testing.assert_close(stage.labeller.class_means[index], expected)
    assert stage.labeller.seen.tolist() == [1, 1]


def test_pseudo_labels_need_the_confidence_of_the_share_of_the_stage(
    inputs: Path, logged: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, batch = stage_and_batch(paper_run(inputs))
    asked: list[float] = []

    def needed(share: float) -> float:
        asked.append(share)
        return 1.1 if len(asked) > 1 else 0.0  # nothing is as sure as that

    monkeypatch.setattr(stage.labeller, "confidence", needed)
    monkeypatch.setattr(PaperSemiSupervised, "global_step", TRAINING["steps"] // 2)
    stage.training_step(batch, 0)
    assert logged["pseudo_labels"].item() > 0
    stage.training_step(batch, 0)
    assert logged["pseudo_labels"].item() == 0
    assert asked == [0.5, 0.5]


# ---------------------------------------------------------------------------------------------------------- a run


def test_a_run_of_the_preset_trains_both_stages_by_adamax_and_lets_the_radius_grow(inputs: Path) -> None:
    training = TRAINING | {"learning_rate": 1e-7}  # so that every validation but the first stalls
    run = paper_run(inputs, training=training, paper={"radius": 1, "radius_patience": 1, "plateau_patience": 1})
    assert [plan.name for plan in plans(run)] == ["supervised", "semi_supervised"]
    out = train_run(run).parent
    stages = [torch.load(out / name / "last.ckpt", weights_only=True) for name in ("supervised", "semi_supervised")]
    for stage in stages:
        assert "exp_inf" in stage["optimizer_states"][0]["state"][0]
        assert stage["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-7
    assert int(stages[1]["state_dict"]["labeller.radius"]) == 1 + 3  # the first of four validations is the best
    assert not any(key.startswith("teacher") for key in stages[1]["state_dict"])
    checkpoint = Checkpoint.load(out / "model.pt")
    assert checkpoint.training.steps == 6 + 8
    assert checkpoint.settings["paper"]["neighbours"] == 7


def test_the_published_training_learns_and_twice_the_same(inputs: Path) -> None:
    training = TRAINING | {"steps": 60, "epoch_steps": 20, "batch_size": 16, "learning_rate": 0.01}
    first, second = (Checkpoint.load(train_run(paper_run(inputs, out=out, training=training))) for out in ("a", "b"))
    assert first.training.validation["mean_dice"] > 0.9
    assert all(torch.equal(value, second.segmenter_state[key]) for key, value in first.segmenter_state.items())


def test_it_is_refused_without_validation_which_its_schedule_follows(inputs: Path) -> None:
    run = paper_run(inputs, training=TRAINING | {"validation_fraction": 0})
    with pytest.raises(InputError, match="no label is held out for validation, which preset: paper needs"):
        read_training_data(run)
