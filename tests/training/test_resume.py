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
from eseg_zoo.errors import ConfigError, InputError, OutputError, StoppedError
from eseg_zoo.training import fit as fit_module
from eseg_zoo.training.paper import PaperSemiSupervised, PaperSupervised
from eseg_zoo.training.run import plans, train_run
from eseg_zoo.training.stages import SemiSupervised, Stage, Supervised
from training.runs import run_in, write_inputs

pytestmark = pytest.mark.slow  # every case is several trainings

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
            made[variant] = train_run(run_of(folder, variant, out=f"whole {variant}")).parent
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
    assert found.classes == whole.classes
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
    "supervised stage, in a validation": ("plain", in_call(Stage, "validated", 2)),
    "supervised stage, after its last checkpoint": ("plain", in_call(fit_module, "Fitted", 1)),
    "supervised stage, stopped early, after its last checkpoint": (
        "early stopping",
        in_call(fit_module, "Fitted", 1),
    ),
    "supervised stage, paper": ("paper", in_step(PaperSupervised, 4)),
    "supervised stage, not validated": ("no validation", in_step(Supervised, 4)),
    "supervised stage, not validated, after its last checkpoint": ("no validation", in_call(fit_module, "Fitted", 1)),
    "semi-supervised stage, before its first checkpoint": ("plain", in_step(SemiSupervised, 1)),
    "semi-supervised stage, within an epoch": ("plain", in_step(SemiSupervised, 4)),
    "semi-supervised stage, not validated": ("no validation", in_step(SemiSupervised, 5)),
    "semi-supervised stage, paper": ("paper", in_step(PaperSemiSupervised, 4)),
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
            train_run(run)
    assert not (run.out / "model.pt").exists()
    assert_same_training(train_run(run, resume=True).parent, expected)


def test_a_training_that_is_killed_twice_resumes_to_the_same_bits(
    folder: Path, uninterrupted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, run = uninterrupted("plain"), run_of(folder, "plain", out="killed twice")
    for kind, step in ((Supervised, 5), (SemiSupervised, 4)):
        with monkeypatch.context() as planted:
            at_step(planted, kind, step, crash)
            with pytest.raises(CrashError):
                train_run(run, resume=True)
    assert_same_training(train_run(run, resume=True).parent, expected)
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
            train_run(run)
    with monkeypatch.context() as planted:
        at_step(planted, SemiSupervised, 4, lambda: time.sleep(0.3))
        assert 1 < Checkpoint.load(train_run(run, resume=True)).training.seconds < 60


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        ("plain", Supervised),
        ("plain", SemiSupervised),
        ("paper", PaperSupervised),
        ("paper", PaperSemiSupervised),
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
        stopped = Checkpoint.load(train_run(run))
    is_first = issubclass(kind, Supervised)
    assert stopped.training.steps == (5 if is_first else 6 + 5)
    assert (run.out / "semi_supervised").exists() is not is_first
    if variant != "no validation":
        stage = run.out / ("supervised" if is_first else "semi_supervised")
        best = torch.load(stage / "best.ckpt", weights_only=True)
        assert best["global_step"] == 3, "the last whole epoch"
        key = "head.classify.weight"
        prefix = "teacher.classifier" if kind is SemiSupervised else "hvae.classifier"
        assert torch.equal(stopped.segmenter_state[f"classifier.{key}"], best["state_dict"][f"{prefix}.{key}"])
    assert_same_training(train_run(run, resume=True).parent, expected)


def test_resuming_a_finished_training_changes_nothing(folder: Path, uninterrupted: Callable[[str], Path]) -> None:
    out = uninterrupted("plain")
    shutil.copytree(out, folder / "copied")
    run = run_of(folder, "plain", out="copied")
    assert_same_training(train_run(run, resume=True).parent, out)


def test_a_stage_that_an_earlier_version_finished_is_taken_up(
    folder: Path, uninterrupted: Callable[[str], Path]
) -> None:
    whole = uninterrupted("plain")
    shutil.copytree(whole, folder / "older")
    done = folder / "older" / "supervised" / "finished.json"
    done.write_text(json.dumps(json.loads(done.read_text()) | {"validation": {"mean_dice": 0.5}}))
    assert_same_training(train_run(run_of(folder, "plain", out="older"), resume=True).parent, whole)


def test_a_training_is_resumed_from_any_working_directory(unfinished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_run(run_of(unfinished, "plain", out="whole")).parent
    run_of(unfinished, "plain")  # writes run.yaml
    monkeypatch.chdir(unfinished.parent)
    assert_same_training(train_run(load_run(Path(unfinished.name) / "run.yaml"), resume=True).parent, whole)


def test_a_training_is_resumed_where_its_folder_has_moved(unfinished: Path) -> None:
    whole = train_run(run_of(unfinished, "plain", out="whole")).parent
    moved = unfinished.with_name("moved")
    unfinished.rename(moved)
    assert_same_training(train_run(run_of(moved, "plain"), resume=True).parent, moved / whole.name)
    best = torch.load(moved / "out/supervised/best.ckpt", weights_only=True)
    assert best["global_step"] == torch.load(moved / "whole/supervised/best.ckpt", weights_only=True)["global_step"]


# ---------------------------------------------------------------------------------------------- what is not resumed


@pytest.fixture
def unfinished(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training that was killed in its supervised stage."""
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 4, crash)
        with pytest.raises(CrashError):
            train_run(run_of(inputs, "plain"))
    return inputs


def test_an_unfinished_training_is_kept_without_resume_or_force(unfinished: Path) -> None:
    before = (unfinished / "out/supervised/last.ckpt").read_bytes()
    message = "out holds an unfinished training; --resume goes on with it, --force starts anew"
    with pytest.raises(OutputError, match=message):
        train_run(run_of(unfinished, "plain"))
    with pytest.raises(OutputError, match=message):  # whatever stages this one would have
        train_run(run_of(unfinished, "plain", training=TRAINING | {"steps": 3}, semi_supervised={"steps": 0}))
    assert (unfinished / "out/supervised/last.ckpt").read_bytes() == before


def test_force_starts_anew(unfinished: Path) -> None:
    run = run_of(unfinished, "plain", semi_supervised={"steps": 0})
    forced = Checkpoint.load(train_run(run, force=True))
    other = Checkpoint.load(train_run(run_of(unfinished, "plain", out="other", semi_supervised={"steps": 0})))
    assert_same(forced.segmenter_state, other.segmenter_state)
    assert not list((run.out / "supervised").glob("metrics.*.csv"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training": TRAINING | {"learning_rate": 0.5}}, "training.learning_rate"),
        ({"seed": 3, "loss": {"beta": 7.0}}, "loss.beta, seed"),
        ({"classes": {4: "bright", 1: "dark"}}, "classes"),
        ({"classes": {1: "dark", 4: "shiny"}}, "classes.4"),
        ({"semi_supervised": SEMI_SUPERVISED | {"teacher": 0.5}}, "semi_supervised.teacher"),
        ({"preset": "paper"}, "network.width, paper, preset, training.patience, training.warmup"),
        ({"network": NETWORK | {"filters": [6, 6]}}, "network.filters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_resuming_with_other_settings_is_refused_and_they_are_named(
    unfinished: Path, changes: dict[str, Any], named: str
) -> None:
    before = (unfinished / "out/run.json").read_bytes()
    with pytest.raises(ConfigError, match=rf"out holds a training with other settings \({named}\); it can only be"):
        train_run(run_of(unfinished, "plain", **changes), resume=True)
    assert (unfinished / "out/run.json").read_bytes() == before


def test_resume_without_a_training_starts_one_but_never_replaces_a_model(inputs: Path) -> None:
    run = run_of(inputs, "plain", semi_supervised={"steps": 0})
    run.out.mkdir()
    (run.out / "model.pt").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"model\.pt exists already; give --force to replace it"):
        train_run(run, resume=True)
    assert (run.out / "model.pt").read_bytes() == b"precious"
    (run.out / "model.pt").unlink()
    assert Checkpoint.load(train_run(run, resume=True)).training.steps == 6


def test_a_training_that_was_killed_in_its_first_epoch_starts_again_and_says_so(
    folder: Path,
    uninterrupted: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected, run = uninterrupted("plain"), run_of(folder, "plain", out="killed at once")
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 1, crash)
        with pytest.raises(CrashError):
            train_run(run)
    with pytest.raises(OutputError, match="unfinished training; --resume goes on"):
        train_run(run)
    with caplog.at_level("INFO", "eseg_zoo"):
        assert_same_training(train_run(run, resume=True).parent, expected)
    assert "No checkpoint was written before: the training starts at its first step." in caplog.messages


def test_ctrl_c_in_the_first_epoch_leaves_what_can_be_resumed(
    folder: Path, uninterrupted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, run = uninterrupted("plain"), run_of(folder, "plain", out="stopped at once")
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 1, press_ctrl_c)
        assert Checkpoint.load(train_run(run)).training.steps == 2
    with pytest.raises(OutputError, match="unfinished training; --resume goes on"):  # not: model.pt exists
        train_run(run)
    assert_same_training(train_run(run, resume=True).parent, expected)


def test_sigterm_ends_a_training_in_one_line_and_it_resumes_to_the_same_bits(
    folder: Path, uninterrupted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, run = uninterrupted("plain"), run_of(folder, "plain", out="terminated")
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(StoppedError, match="SIGTERM ended the training after step 5; --resume goes on"):
            train_run(run)
    assert_same_training(train_run(run, resume=True).parent, expected)


@pytest.mark.parametrize("stage", ["supervised", "semi_supervised"])
def test_more_steps_extend_a_finished_training_from_where_it_was(
    folder: Path, uninterrupted: Callable[[str], Path], caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    out = f"extended {stage}"
    shutil.copytree(uninterrupted("plain"), folder / out)
    first = torch.load(folder / out / stage / "last.ckpt", weights_only=True)
    changes = {"training": TRAINING, "semi_supervised": SEMI_SUPERVISED}
    changed = "training" if stage == "supervised" else stage
    changes[changed] = changes[changed] | {"steps": 12}
    model = Checkpoint.load(train_run(run_of(folder, "plain", out=out, **changes), resume=True))
    assert model.training.steps == 12 + 6
    last = torch.load(folder / out / stage / "last.ckpt", weights_only=True)
    assert (first["global_step"], last["global_step"]) == (6, 12)
    seen = [path.name for path in (folder / out / stage).glob("metrics*.csv")]
    assert sorted(seen) == ["metrics.1.csv", "metrics.csv"], "it went on, and did not start anew"
    restarted = "The supervised stage goes on to 12 steps; the stage after it starts again." in caplog.messages
    assert restarted is (stage == "supervised")


def test_a_stage_that_stopped_early_is_not_extended(
    folder: Path, uninterrupted: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(uninterrupted("early stopping"), folder / "not extended")
    training = VARIANTS["early stopping"]["training"] | {"steps": 30}
    run = run_of(folder, "early stopping", out="not extended", training=training)
    assert_same_training(train_run(run, resume=True).parent, uninterrupted("early stopping"))
    assert any("ended at step 6, where validation stalled: more steps add nothing" in text for text in caplog.messages)


def test_workers_may_differ_and_fewer_steps_may_not(unfinished: Path) -> None:
    fewer = run_of(unfinished, "plain", training=TRAINING | {"steps": 3})
    with pytest.raises(ConfigError, match=r"other settings \(training.steps\)"):
        train_run(fewer, resume=True)
    with pytest.raises(ConfigError, match=r"other settings \(training.devices\)"):
        train_run(run_of(unfinished, "plain", training=TRAINING | {"devices": 2}), resume=True)
    train_run(run_of(unfinished, "plain", training=TRAINING | {"workers": 1}), resume=True)


@pytest.mark.parametrize("name", ["image.tif", "labels.tif"])
def test_a_file_with_other_pixels_is_named_and_one_with_another_time_is_not(unfinished: Path, name: str) -> None:
    run, path = run_of(unfinished, "plain"), unfinished / name
    pixels = tifffile.imread(path)
    flipped = pixels.copy()
    flipped[0, 6, 8] ^= 5
    tifffile.imwrite(path, flipped, photometric="minisblack")
    with pytest.raises(InputError, match=rf"{name} has changed since the training began") as caught:
        train_run(run, resume=True)
    assert "\n" not in str(caught.value)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    os.utime(path, (1, 1))
    train_run(run, resume=True)


def test_a_training_that_chose_its_preset_keeps_it(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"preset": None, "training": {"steps": 2, "epoch_steps": 1, "batch_size": 2}}
    run = run_of(inputs, "plain", **changes, semi_supervised={"steps": 0})
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 1, crash)
        planted.setattr("eseg_zoo.training.run.device_of", lambda settings: "cpu")
        with pytest.raises(CrashError):
            train_run(run)
    monkeypatch.setattr("eseg_zoo.training.run.device_of", lambda settings: "cuda")  # where it would be another
    assert Checkpoint.load(train_run(run, resume=True)).settings["preset"] == "small"


# ---------------------------------------------------------------------------------------------------------- stages


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ((5, 0), ["supervised"]),
        ((5, 5), ["supervised", "semi_supervised"]),
    ],
    ids=str,
)
def test_a_stage_of_no_steps_is_left_out(inputs: Path, steps: tuple[int, int], names: list[str]) -> None:
    changes = {
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
