"""One step of each stage: what it learns from, and what it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from eseg_zoo.config import Run
from eseg_zoo.training.batches import StepBatch, StepBatches
from eseg_zoo.training.run import train_run
from eseg_zoo.training.stages import SemiSupervised, Stage, Supervised
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
    unlabelled = 0 if kind is Supervised else semi.unlabelled
    batches = StepBatches(
        source,
        data.training_sections,
        data.training,
        run,
        stage="semi_supervised",
        labelled=semi.labelled,
        unlabelled=unlabelled,
    )
    return stage, batches[0]


def gradients(stage: Stage, batch: StepBatch) -> dict[str, float]:
    """The largest gradient of each weight of the network in one step."""
    loss = stage.training_step(batch, 0)
    stage.zero_grad()
    loss.backward()
    return {name: 0.0 if w.grad is None else float(w.grad.abs().max()) for name, w in stage.hvae.named_parameters()}


@pytest.mark.parametrize("kind", [Supervised, SemiSupervised])
def test_a_step_reaches_every_weight_of_the_network(inputs: Path, logged: dict[str, Tensor], kind: type[Stage]) -> None:
    stage, batch = stage_and_batch(run_of(inputs), kind)
    found = gradients(stage, batch)
    assert [name for name, value in found.items() if not 0 < value < float("inf")] == []


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
    before = [weight.clone() for weight in stage.teacher.parameters()]
    gradients(stage, batch)
    assert all(weight.grad is None for weight in stage.teacher.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, stage.teacher.parameters(), strict=True))
    with torch.no_grad():
        for weight in stage.hvae.classifier.parameters():
            weight.add_(1)
    stage.on_train_batch_end(None, batch, 0)
    for old, new in zip(before, stage.teacher.parameters(), strict=True):
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


def test_pseudo_labels_are_what_the_teacher_sees_at_every_pixel_of_the_clean_view(
    inputs: Path, logged: dict[str, Tensor]
) -> None:
    stage, batch = stage_and_batch(run_of(inputs), SemiSupervised)
    with torch.no_grad():
        for weight in stage.teacher.parameters():
            weight.mul_(1.5)  # it then says something else than the network
    stage.training_step(batch, 0)
    assert batch.labelled
    assert batch.unlabelled
    student, noise = batch.unlabelled.student, stage.noise()
    with torch.no_grad():
        stage.hvae(batch.labelled.patches * (1 - batch.labelled.hidden), noise)  # draws its noise first
        found = stage.hvae(student.patches * (1 - student.hidden), noise).logits.log_softmax(1)
        clean = stage.teacher.classifier(batch.unlabelled.clean).softmax(1)
    pasted = batch.unlabelled.pasted[:, 0]
    assert pasted.any((1, 2)).all()
    targets = clean.clone()
    for one, box in enumerate(pasted):
        targets[one, :, box] = clean[(one + 1) % len(clean), :, box]
    torch.testing.assert_close(logged["pseudo_labels"], -(targets * found).sum(1).mean())


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


# ---------------------------------------------------------------------------------------------------- whole trainings


def test_the_stages_train_one_network(inputs: Path) -> None:
    """The second stage begins with the weights that the first one ended with."""
    still = {"steps": 2, "epoch_steps": 2, "batch_size": 2, "accelerator": "cpu", "learning_rate": 1e-12}
    still |= {"weight_decay": 0}
    out = train_run(run_of(inputs, training=still, semi_supervised=SEMI_SUPERVISED | {"steps": 2})).parent
    first, second = (
        torch.load(out / stage / "best.ckpt", weights_only=True)["state_dict"]
        for stage in ("supervised", "semi_supervised")
    )
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=1e-9)
        teacher = key.replace("hvae.classifier", "teacher.classifier")
        torch.testing.assert_close(second[teacher], value, rtol=0, atol=1e-9)


def test_a_stage_is_a_lightning_module_of_the_shared_network(inputs: Path) -> None:
    run = run_of(inputs)
    hvae = network_of(run)
    stages = [kind(run, run.training, hvae, source_of(run)[0].geometry) for kind in (Supervised, SemiSupervised)]
    assert all(isinstance(stage, pl.LightningModule) and stage.hvae is hvae for stage in stages)
