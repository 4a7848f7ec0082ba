"""A training that was killed or stopped and then resumed ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run, load_run
from eseg_zoo.errors import CheckpointError, ConfigError, OutputError, TrainingError
from eseg_zoo.training import fit as fit_module
from eseg_zoo.training.run import plans, train
from eseg_zoo.training.stages import Pretraining, SemiSupervised, Stage, Supervised
from training.runs import learnt, run_in, write_inputs

NETWORK = {"filters": [6, 8], "latents": 3}
TRAINING = {"steps": 6, "epoch_steps": 3, "batch_size": 4, "accelerator": "cpu", "learning_rate": 0.005}
SEMI_SUPERVISED = {"steps": 6, "labelled": 4, "unlabelled": 2, "cells": 2, "radius": 1, "radius_patience": 1}
STALLING = {"plateau_patience": 1, "learning_rate": 1e-9}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "averaged weights": {"training": TRAINING | {"ema": 0.9}},
    "plateau": {"training": TRAINING | {"schedule": "plateau", "warmup": 0} | STALLING},
    "early stopping": {"training": TRAINING | {"steps": 9, "patience": 1, "learning_rate": 1e-9, "ema": 0.5}},
    "class means": {"semi_supervised": SEMI_SUPERVISED | {"labeller": "class_means"}},
    "pre-training": {"pretraining": {"steps": 6}, "semi_supervised": {"steps": 0}},
    "no validation": {"training": TRAINING | {"validation_fraction": 0, "ema": 0.9}},
}


class CrashError(Exception):
    """Stands for whatever kills a process."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> Callable[[str], Path]:
    """The output folder of each variant's whole training, made once."""
    made: dict[str, Path] = {}

    def get(variant: str) -> Path:
        if variant not in made:
            made[variant] = train(run_of(folder, variant, out=f"whole {variant}")).parent
        return made[variant]

    return get


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


def assert_same_training(out: Path, expected: Path) -> None:
    """Models, figures, and all that the stages know at their ends are the same to the bit."""
    found, whole = (Checkpoint.load(folder / "model.pt") for folder in (out, expected))
    assert_same(found.segmenter_state, whole.segmenter_state)
    assert_same(found.generative_state, whole.generative_state)
    assert found.training.steps == whole.training.steps
    assert found.training.validation == whole.training.validation
    assert found.class_frequencies == whole.class_frequencies
    for last in expected.glob("*/last.ckpt"):
        resumed, whole_stage = (
            torch.load(path, weights_only=True) for path in (out / last.relative_to(expected), last)
        )
        assert_same(resumed["state_dict"], whole_stage["state_dict"])
        assert resumed["lr_schedulers"] == whole_stage["lr_schedulers"]


def in_step(kind: type[Stage], step: int) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: at_step(monkeypatch, kind, step, crash)


def in_call(owner: object, name: str, number: int) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: at_call(monkeypatch, owner, name, number)


CRASHES: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "supervised stage, before its first checkpoint": ("plain", in_step(Supervised, 2)),
    "supervised stage, within an epoch": ("plain", in_step(Supervised, 4)),
    "supervised stage, averaged, within an epoch": ("averaged weights", in_step(Supervised, 4)),
    "supervised stage, averaged, in a validation": ("averaged weights", in_call(Stage, "validated", 2)),
    "supervised stage, averaged, after its last checkpoint": ("averaged weights", in_call(fit_module, "Fitted", 1)),
    "supervised stage, stopped early, after its last checkpoint": (
        "early stopping",
        in_call(fit_module, "Fitted", 1),
    ),
    "supervised stage, plateau": ("plateau", in_step(Supervised, 4)),
    "supervised stage, not validated": ("no validation", in_step(Supervised, 4)),
    "supervised stage, not validated, after its last checkpoint": ("no validation", in_call(fit_module, "Fitted", 1)),
    "semi-supervised stage, before its first checkpoint": ("plain", in_step(SemiSupervised, 1)),
    "semi-supervised stage, within an epoch": ("plain", in_step(SemiSupervised, 4)),
    "semi-supervised stage, averaged": ("averaged weights", in_step(SemiSupervised, 5)),
    "semi-supervised stage, not validated": ("no validation", in_step(SemiSupervised, 5)),
    "semi-supervised stage, class means": ("class means", in_step(SemiSupervised, 4)),
    "pre-training": ("pre-training", in_step(Pretraining, 4)),
}


@pytest.mark.parametrize("where", CRASHES)
def test_a_killed_training_resumes_to_the_same_bits(
    folder: Path, uninterrupted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    variant, plant = CRASHES[where]
    expected, run = uninterrupted(variant), run_of(folder, variant, out=f"killed {where}")
    with monkeypatch.context() as planted:
        plant(planted)
        with pytest.raises(CrashError):
            train(run)
    assert not (run.out / "model.pt").exists()
    assert_same_training(train(run, resume=True).parent, expected)


def test_a_training_that_is_killed_twice_resumes_to_the_same_bits(
    folder: Path, uninterrupted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, run = uninterrupted("averaged weights"), run_of(folder, "averaged weights", out="killed twice")
    for kind, step in ((Supervised, 5), (SemiSupervised, 4)):
        with monkeypatch.context() as planted:
            at_step(planted, kind, step, crash)
            with pytest.raises(CrashError):
                train(run, resume=True)
    assert_same_training(train(run, resume=True).parent, expected)
    logs = sorted(path.name for path in (run.out / "supervised").glob("*.csv"))
    assert logs == ["metrics.1.csv", "metrics.csv"]


def test_the_seconds_of_a_resumed_training_count_those_before_the_interruption(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(folder, "plain", out="timed")
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 2, lambda: time.sleep(0.7))
        at_step(planted, SemiSupervised, 4, crash)
        with pytest.raises(CrashError):
            train(run)
    with monkeypatch.context() as planted:
        at_step(planted, SemiSupervised, 4, lambda: time.sleep(0.3))
        assert 1 < Checkpoint.load(train(run, resume=True)).training.seconds < 60


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        ("plain", Supervised),
        ("plain", SemiSupervised),
        ("averaged weights", SemiSupervised),
        ("plateau", Supervised),
        ("no validation", Supervised),
    ],
)
def test_ctrl_c_writes_a_model_and_the_training_resumes_to_the_same_bits(
    folder: Path,
    uninterrupted: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    kind: type[Stage],
) -> None:
    expected, run = uninterrupted(variant), run_of(folder, variant, out=f"stopped {variant} {kind.__name__}")
    with monkeypatch.context() as planted:
        at_step(planted, kind, 4, press_ctrl_c)
        stopped = Checkpoint.load(train(run))
    assert stopped.training.steps == (5 if kind is Supervised else 6 + 5)
    assert (run.out / "semi_supervised").exists() == (kind is SemiSupervised)
    if variant != "no validation":
        stage = run.out / ("supervised" if kind is Supervised else "semi_supervised")
        best = torch.load(stage / "best.ckpt", weights_only=True)
        assert best["global_step"] == 3, "the last whole epoch"
        key = "head.classify.weight"
        prefix = "hvae.classifier" if kind is Supervised else "pseudo_labels.teacher"
        assert torch.equal(stopped.segmenter_state[f"classifier.{key}"], best["state_dict"][f"{prefix}.{key}"])
    assert_same_training(train(run, resume=True).parent, expected)


def test_resuming_a_finished_training_changes_nothing(folder: Path, uninterrupted: Callable[[str], Path]) -> None:
    out = uninterrupted("averaged weights")
    shutil.copytree(out, folder / "copied")
    run = run_of(folder, "averaged weights", out="copied")
    assert_same_training(train(run, resume=True).parent, out)


def test_a_stage_that_an_earlier_version_finished_is_taken_up(
    folder: Path, uninterrupted: Callable[[str], Path]
) -> None:
    whole = uninterrupted("plain")
    shutil.copytree(whole, folder / "older")
    done = folder / "older" / "supervised" / "finished.json"
    done.write_text(json.dumps(json.loads(done.read_text()) | {"validation": {"mean_dice": 0.5}}))
    assert_same_training(train(run_of(folder, "plain", out="older"), resume=True).parent, whole)


def test_a_training_is_resumed_from_any_working_directory(unfinished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(run_of(unfinished, "plain", out="whole")).parent
    run_of(unfinished, "plain")  # writes run.yaml
    monkeypatch.chdir(unfinished.parent)
    assert_same_training(train(load_run(Path(unfinished.name) / "run.yaml"), resume=True).parent, whole)


def test_a_training_is_resumed_where_its_folder_has_moved(unfinished: Path) -> None:
    whole = train(run_of(unfinished, "plain", out="whole")).parent
    moved = unfinished.with_name("moved")
    unfinished.rename(moved)
    assert_same_training(train(run_of(moved, "plain"), resume=True).parent, moved / whole.name)
    best = torch.load(moved / "out/supervised/best.ckpt", weights_only=True)
    assert best["global_step"] == torch.load(moved / "whole/supervised/best.ckpt", weights_only=True)["global_step"]


def test_ctrl_c_in_pretraining_writes_no_model_and_the_training_resumes_to_the_same_bits(
    folder: Path, uninterrupted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, run = uninterrupted("pre-training"), run_of(folder, "pre-training", out="stopped in pre-training")
    with monkeypatch.context() as planted:
        at_step(planted, Pretraining, 4, press_ctrl_c)
        with pytest.raises(TrainingError, match="has no model yet: pre-training learns no class; --resume goes on"):
            train(run)
    assert not (run.out / "model.pt").exists()
    assert_same_training(train(run, resume=True).parent, expected)


# ---------------------------------------------------------------------------------------------- what is not resumed


@pytest.fixture
def unfinished(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training that was killed in its supervised stage."""
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 4, crash)
        with pytest.raises(CrashError):
            train(run_of(inputs, "plain"))
    return inputs


def test_an_unfinished_training_is_kept_without_resume_or_force(unfinished: Path) -> None:
    before = (unfinished / "out/supervised/last.ckpt").read_bytes()
    message = "out holds an unfinished training; --resume goes on with it, --force starts anew"
    with pytest.raises(OutputError, match=message):
        train(run_of(unfinished, "plain"))
    with pytest.raises(OutputError, match=message):  # whatever stages this one would have
        train(run_of(unfinished, "plain", training=TRAINING | {"steps": 3}, semi_supervised={"steps": 0}))
    assert (unfinished / "out/supervised/last.ckpt").read_bytes() == before


def test_force_starts_anew(unfinished: Path) -> None:
    run = run_of(unfinished, "plain", semi_supervised={"steps": 0})
    forced = Checkpoint.load(train(run, force=True))
    other = Checkpoint.load(train(run_of(unfinished, "plain", out="other", semi_supervised={"steps": 0})))
    assert_same(forced.segmenter_state, other.segmenter_state)
    assert not list((run.out / "supervised").glob("metrics.*.csv"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training": TRAINING | {"learning_rate": 0.5}}, "training.learning_rate"),
        ({"seed": 3, "loss": {"beta": 7.0}}, "loss.beta, seed"),
        ({"classes": {4: "bright", 1: "dark"}}, "classes"),
        ({"classes": {1: "dark", 4: "shiny"}}, "classes.4"),
        ({"semi_supervised": SEMI_SUPERVISED | {"confidence": [0.1, 0.2]}}, "semi_supervised.confidence"),
        ({"pretraining": {"steps": 3}}, "pretraining.steps"),
        ({"network": NETWORK | {"filters": [6, 6]}}, "network.filters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_resuming_with_other_settings_is_refused_and_they_are_named(
    unfinished: Path, changes: dict[str, Any], named: str
) -> None:
    before = (unfinished / "out/run.json").read_bytes()
    with pytest.raises(ConfigError, match=rf"out holds a training with other settings \({named}\); it can only be"):
        train(run_of(unfinished, "plain", **changes), resume=True)
    assert (unfinished / "out/run.json").read_bytes() == before


def test_resume_without_a_training_starts_one_but_never_replaces_a_model(inputs: Path) -> None:
    run = run_of(inputs, "plain", semi_supervised={"steps": 0})
    run.out.mkdir()
    (run.out / "model.pt").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"model\.pt exists already; give --force to replace it"):
        train(run, resume=True)
    assert (run.out / "model.pt").read_bytes() == b"precious"
    (run.out / "model.pt").unlink()
    assert Checkpoint.load(train(run, resume=True)).training.steps == 6


# ------------------------------------------------------------------------------------------------- earlier weights


@pytest.fixture(scope="module")
def pretrained(folder: Path) -> Path:
    run = run_of(folder, "pre-training", out="pretrained", pretraining={"steps": 2}, training=TRAINING | {"steps": 1})
    return train(run).parent / "pretraining" / "last.ckpt"


FROZEN = TRAINING | {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0}


def started(folder: Path, start: Path | str, **changes: Any) -> Checkpoint:
    """The model after one step that changes nothing to speak of."""
    settings = {"training": FROZEN, "semi_supervised": {"steps": 0}, "pretraining": {"start": str(start)}} | changes
    return Checkpoint.load(train(run_of(folder, "plain", out="started", **settings), force=True))


def test_a_pretraining_is_used_for_the_same_classes(inputs: Path, pretrained: Path) -> None:
    state = torch.load(pretrained, weights_only=True)["state_dict"]
    found = started(inputs, pretrained)
    for key, value in learnt(found.segmenter_state).items():
        torch.testing.assert_close(value, state[f"hvae.{key}"], rtol=0, atol=1e-8)


def label_classes(folder: Path, count: int) -> dict[int, str]:
    """Add labels of more classes and return the names of all."""
    labels = tifffile.imread(folder / "labels.tif")
    for value in range(5, 3 + count):
        labels[:, 2 * value, 20:24] = value
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack")
    return {1: "dark", 4: "bright"} | {value: f"class {value}" for value in range(5, 3 + count)}


@pytest.mark.parametrize("classes", [3, 6])
def test_a_pretraining_is_used_for_another_number_of_classes(inputs: Path, pretrained: Path, classes: int) -> None:
    names, state = label_classes(inputs, classes), torch.load(pretrained, weights_only=True)["state_dict"]
    found = started(inputs, pretrained, classes=names)
    new = {key for key, value in found.segmenter_state.items() if state.get(f"hvae.{key}", value).shape != value.shape}
    assert new == {
        "classifier.head.classify.bias",
        "classifier.head.classify.weight",
        "classifier.recognition.top.film.weight",
        "classifier.recognition.top.classify.2.bias",
        "classifier.recognition.top.classify.2.weight",
    }
    for key, value in found.segmenter_state.items():
        if key.startswith("classifier.") and key not in new:
            torch.testing.assert_close(value, state[f"hvae.{key}"], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "network",
    [{"filters": [6, 6], "latents": 3}, {"filters": [6, 8], "latents": 2}, {"filters": [6, 8, 8], "latents": 3}],
    ids=["filters", "latents", "levels"],
)
def test_a_pretraining_of_another_network_is_refused(inputs: Path, pretrained: Path, network: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"pretraining\.start: .*last\.ckpt is of another network: classifier"):
        started(inputs, pretrained, network=network)
    assert not (inputs / "started").exists()


def test_as_many_classes_as_filters_do_not_hide_another_network(inputs: Path, pretrained: Path) -> None:
    """Whether a layer belongs to the classes is not told by a size of it that equals their number."""
    with pytest.raises(CheckpointError, match="is of another network"):
        started(inputs, pretrained, network={"filters": [6, 6], "latents": 3}, classes=label_classes(inputs, 6))


@pytest.mark.parametrize(
    "content", [None, b"", b"just a text\n", b"\x80\x02}q\x00.", {"weight": 1}, [1, 2]], ids=lambda value: repr(value)
)
def test_a_start_that_is_no_checkpoint_is_one_line_and_touches_nothing(unfinished: Path, content: Any) -> None:
    start = unfinished / "start.ckpt"
    if isinstance(content, bytes):
        start.write_bytes(content)
    elif content is not None:
        torch.save(content, start)
    with pytest.raises(CheckpointError, match=r"pretraining\.start: .*start\.ckpt cannot be read"):
        train(run_of(unfinished, "plain", pretraining={"start": str(start)}), force=True)
    assert (unfinished / "out/supervised/last.ckpt").exists()


# ---------------------------------------------------------------------------------------------------------- stages


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ((0, 5, 0), ["supervised"]),
        ((0, 5, 5), ["supervised", "semi_supervised"]),
        ((5, 5, 0), ["pretraining", "supervised"]),
        ((5, 5, 5), ["pretraining", "supervised", "semi_supervised"]),
    ],
    ids=str,
)
def test_a_stage_of_no_steps_is_left_out(inputs: Path, steps: tuple[int, int, int], names: list[str]) -> None:
    changes = {
        "pretraining": {"steps": steps[0]},
        "training": TRAINING | {"steps": steps[1]},
        "semi_supervised": SEMI_SUPERVISED | {"steps": steps[2]},
    }
    found = plans(run_of(inputs, "plain", **changes))
    assert [plan.name for plan in found] == names
    sees = {"pretraining": (0, 2), "supervised": (4, 0), "semi_supervised": (4, 2)}
    assert [(plan.labelled, plan.unlabelled) for plan in found] == [sees[name] for name in names]


@pytest.mark.parametrize(("steps", "epoch_steps", "taken"), [(1, 100, 1), (5, 100, 5), (5, 2, 4), (7, 3, 6), (6, 3, 6)])
def test_a_stage_takes_its_steps_in_epochs_of_equal_length(
    inputs: Path, steps: int, epoch_steps: int, taken: int
) -> None:
    training = TRAINING | {"steps": steps, "epoch_steps": epoch_steps, "batch_size": 2}
    run = run_of(inputs, "plain", training=training, semi_supervised={"steps": 0})
    checkpoint = Checkpoint.load(train(run))
    assert checkpoint.training.steps == taken
    assert "mean_dice" in checkpoint.training.validation


def test_pretraining_takes_no_part_in_a_plateau_schedule(inputs: Path) -> None:
    training = TRAINING | {"steps": 2, "schedule": "plateau"}
    changes = {"pretraining": {"steps": 4}, "training": training, "semi_supervised": {"steps": 0}}
    out = train(run_of(inputs, "plain", **changes)).parent
    last = torch.load(out / "pretraining/last.ckpt", weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-9)  # the cosine's end
    assert not (out / "pretraining/best.ckpt").exists()
