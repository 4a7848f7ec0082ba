"""One step of each stage: what it learns from, what it changes, and what validations change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from eseg_zoo.config import Run
from eseg_zoo.losses import Anchors
from eseg_zoo.training.batches import StepBatch, StepBatches
from eseg_zoo.training.run import train
from eseg_zoo.training.stages import Pretraining, SemiSupervised, Stage, Supervised
from training.runs import network_of, run_in, source_of

NETWORK = {"filters": [6, 8], "latents": 3}
SEMI_SUPERVISED = {"steps": 6, "labelled": 8, "unlabelled": 4, "cells": 2}
MASK = {"probability": 0.5, "sides": [3]}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The terms of the last step, as they would be logged."""
    terms: dict[str, Tensor] = {}
    monkeypatch.setattr(Stage, "log_terms", lambda self, batch_size, **found: terms.update(found))
    return terms


def run_of(folder: Path, **changes: Any) -> Run:
    settings = {"network": NETWORK, "semi_supervised": SEMI_SUPERVISED, "mask": MASK}
    return run_in(folder, **settings | changes)


def stage_and_batch(run: Run, kind: type[Stage]) -> tuple[Any, StepBatch]:
    source, data = source_of(run)
    stage = kind(run, run.training, network_of(run), source.geometry)
    semi = run.semi_supervised
    labelled, unlabelled = 0 if kind is Pretraining else semi.labelled, 0 if kind is Supervised else semi.unlabelled
    batches = StepBatches(
        source, data.training_sections, data.training, run, steps=1, labelled=labelled, unlabelled=unlabelled
    )
    return stage, next(iter(batches))


def gradients(stage: Stage, batch: StepBatch) -> dict[str, float]:
    """The largest gradient of each weight of the network in one step."""
    loss = stage.training_step(batch, 0)
    stage.zero_grad()
    loss.backward()
    return {name: 0.0 if w.grad is None else float(w.grad.abs().max()) for name, w in stage.hvae.named_parameters()}


@pytest.mark.parametrize("labeller", ["teacher", "class_means"])
@pytest.mark.parametrize("kind", [Supervised, SemiSupervised])
def test_a_step_reaches_every_weight_of_the_network(
    inputs: Path, logged: dict[str, Tensor], kind: type[Stage], labeller: str
) -> None:
    stage, batch = stage_and_batch(run_of(inputs, semi_supervised=SEMI_SUPERVISED | {"labeller": labeller}), kind)
    found = gradients(stage, batch)
    assert [name for name, value in found.items() if not 0 < value < float("inf")] == []


def test_pretraining_reaches_all_but_the_head(inputs: Path, logged: dict[str, Tensor]) -> None:
    stage, batch = stage_and_batch(run_of(inputs), Pretraining)
    found = gradients(stage, batch)
    without = {name for name, value in found.items() if value == 0}
    assert without == {name for name in found if name.startswith("classifier.head.")}


def test_the_unlabelled_half_alone_reaches_encoder_decoder_and_mixture(inputs: Path, logged: dict[str, Tensor]) -> None:
    stage, batch = stage_and_batch(run_of(inputs), SemiSupervised)
    assert batch.unlabelled
    terms, _ = stage.unlabelled_loss(batch.unlabelled, stage.noise())
    terms.total(stage.run.loss).backward()
    for part in ("classifier.recognition.stem", "decoder", "mixture", "ladder_priors", "log_variances"):
        reached = [w for name, w in stage.hvae.named_parameters() if name.startswith(part)]
        assert reached
        assert all(w.grad is not None and w.grad.abs().max() > 0 for w in reached), part


def test_the_teacher_learns_nothing_by_gradient_and_follows_after_the_step(
    inputs: Path, logged: dict[str, Tensor]
) -> None:
    run = run_of(inputs, semi_supervised=SEMI_SUPERVISED | {"teacher": 0.75})
    stage, batch = stage_and_batch(run, SemiSupervised)
    before = [weight.clone() for weight in stage.pseudo_labels.teacher.parameters()]
    gradients(stage, batch)
    assert all(weight.grad is None for weight in stage.pseudo_labels.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, stage.pseudo_labels.teacher.parameters(), strict=True))
    with torch.no_grad():
        for weight in stage.hvae.classifier.parameters():
            weight.add_(1)
    stage.on_train_batch_end(None, batch, 0)
    for old, new in zip(before, stage.pseudo_labels.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)


def test_the_loss_is_the_weighted_sum_of_its_terms(inputs: Path, logged: dict[str, Tensor]) -> None:
    weights = {"alpha": 0.7, "beta": 0.3, "gamma": 0.2, "delta": 5.0}
    stage, batch = stage_and_batch(run_of(inputs, loss=weights), SemiSupervised)
    loss = stage.training_step(batch, 0)
    generative = 0.7 * (logged["inpainting"] + logged["unlabelled_inpainting"])
    generative = generative + 0.3 * (logged["kl"] + logged["unlabelled_kl"])
    supervised = 0.2 * logged["contrastive"] + logged["cross_entropy"]
    torch.testing.assert_close(loss, generative + supervised + 5 * logged["pseudo_labels"])
    assert torch.equal(logged["loss"], loss)
    assert all(value.item() > 0 for value in logged.values())


def test_pseudo_labels_are_of_the_confident_pixels_and_of_neighbours_within_the_radius(
    inputs: Path, logged: dict[str, Tensor]
) -> None:
    def pseudo(**changes: Any) -> float:
        stage, batch = stage_and_batch(run_of(inputs, semi_supervised=SEMI_SUPERVISED | changes), SemiSupervised)
        stage.training_step(batch, 0)
        return logged["pseudo_labels"].item()

    everywhere = pseudo()
    assert everywhere > 0
    assert pseudo(confidence=[1.0, 1.0]) == 0  # nothing is as sure as that
    stage, batch = stage_and_batch(run_of(inputs), SemiSupervised)
    assert batch.unlabelled
    median = float(stage.pseudo_labels.label(batch.unlabelled.clean).amax(1).median())
    assert pseudo(confidence=[median, 1.0]) not in (0, everywhere)
    assert pseudo(radius=2) > everywhere
    assert pseudo(radius=2, confidence=[1.0, 1.0]) == 0


def test_pseudo_labels_at_half_of_the_stage_need_the_confidence_in_the_middle(
    inputs: Path, logged: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(inputs, semi_supervised=SEMI_SUPERVISED | {"confidence": [0.2, 0.8]})
    stage, batch = stage_and_batch(run, SemiSupervised)
    asked: list[float] = []
    monkeypatch.setattr(stage.pseudo_labels, "confidence", lambda share: asked.append(share) or 0.0)
    monkeypatch.setattr(SemiSupervised, "global_step", stage.settings.steps // 2)
    stage.training_step(batch, 0)
    assert asked == [0.5]


def test_class_means_see_the_latent_means_of_the_anchors(inputs: Path, logged: dict[str, Tensor]) -> None:
    stage, batch = stage_and_batch(run_of(inputs), SemiSupervised)
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
        torch.testing.assert_close(stage.pseudo_labels.class_means[index], expected)
    assert stage.pseudo_labels.seen.tolist() == [1, 1]


def test_the_noise_of_a_step_follows_from_the_seed_and_its_number(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(seed: int, step: int) -> list[float]:
        run = run_of(inputs, seed=seed)
        stage = Supervised(run, run.training, network_of(run), source_of(run)[0].geometry)
        monkeypatch.setattr(Supervised, "global_step", step)
        return torch.randn(3, generator=stage.noise()).tolist()

    assert draw(0, 5) == draw(0, 5)
    assert len({tuple(draw(*key)) for key in ((0, 5), (0, 6), (5, 0), (1, 5))}) == 4


def test_noise_is_drawn_where_the_network_is(inputs: Path) -> None:
    run = run_of(inputs)
    stage = Supervised(run, run.training, network_of(run), source_of(run)[0].geometry)
    assert stage.noise().device == stage.device


# ------------------------------------------------------------------------------------------------------ validations


@pytest.mark.parametrize("ema", [0, 0.5])
@pytest.mark.parametrize(("radius", "grown"), [(1, 3), (0, 0)])
def test_stalled_validations_of_a_training_let_the_radius_grow(
    inputs: Path, radius: int, grown: int, ema: float
) -> None:
    """The first of three validations is the best; the final look at the best weights does not count."""
    training = {"steps": 2, "epoch_steps": 2, "batch_size": 2, "accelerator": "cpu", "learning_rate": 1e-12, "ema": ema}
    semi = SEMI_SUPERVISED | {"radius": radius, "radius_patience": 1}
    out = train(run_of(inputs, training=training, semi_supervised=semi)).parent
    saved = torch.load(out / "semi_supervised" / "last.ckpt", weights_only=True)
    state = saved["current_model_state" if ema else "state_dict"]
    assert int(state["pseudo_labels.radius"]) == grown
    assert float(state["pseudo_labels.best"]) > 0


@pytest.mark.parametrize("labeller", ["teacher", "class_means"])
def test_a_whole_training_in_three_stages_logs_each(inputs: Path, labeller: str) -> None:
    semi = SEMI_SUPERVISED | {"labeller": labeller, "radius": 2, "confidence": [0.5, 0.99], "steps": 2}
    training = {"steps": 2, "epoch_steps": 2, "batch_size": 4, "accelerator": "cpu"}
    out = train(run_of(inputs, training=training, pretraining={"steps": 2}, semi_supervised=semi)).parent
    columns = {}
    for stage in ("pretraining", "supervised", "semi_supervised"):
        columns[stage] = set((out / stage / "metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(","))
    assert {name for name in columns["pretraining"] if name.startswith(("train/", "val/"))} == {
        "train/loss", "train/inpainting", "train/kl", "train/waiting",
    }  # fmt: skip
    assert {"train/loss", "train/cross_entropy", "train/contrastive", "val/soft_dice"} <= columns["supervised"]
    more = {"train/pseudo_labels", "train/unlabelled_inpainting", "train/unlabelled_kl"}
    assert columns["semi_supervised"] == columns["supervised"] | more


def test_the_stages_train_one_network(inputs: Path) -> None:
    """The second stage begins with the weights that the first one ended with."""
    still = {"steps": 2, "epoch_steps": 2, "batch_size": 2, "accelerator": "cpu", "learning_rate": 1e-12}
    still |= {"weight_decay": 0}
    out = train(run_of(inputs, training=still, semi_supervised=SEMI_SUPERVISED | {"steps": 2})).parent
    first, second = (
        torch.load(out / stage / "best.ckpt", weights_only=True)["state_dict"]
        for stage in ("supervised", "semi_supervised")
    )
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=1e-9)
        teacher = key.replace("hvae.classifier", "pseudo_labels.teacher")
        torch.testing.assert_close(second[teacher], value, rtol=0, atol=1e-9)


def test_a_stage_is_a_lightning_module_of_the_shared_network(inputs: Path) -> None:
    run = run_of(inputs)
    hvae = network_of(run)
    stages = [kind(run, run.training, hvae, source_of(run)[0].geometry) for kind in (Pretraining, SemiSupervised)]
    assert all(isinstance(stage, pl.LightningModule) and stage.hvae is hvae for stage in stages)
