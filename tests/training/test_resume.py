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
import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import OutputError, StoppedError
from eseg_zoo.training import fit as fit_module
from eseg_zoo.training.paper import PaperSemiSupervised, PaperSupervised
from eseg_zoo.training.run import train_run
from eseg_zoo.training.stages import SemiSupervised, Stage, Supervised
from training.interruptions import (
    SEMI_SUPERVISED,
    TRAINING,
    VARIANTS,
    CrashError,
    assert_same_training,
    at_call,
    at_step,
    crash,
    press_ctrl_c,
    rows_but_times,
    run_of,
)
from training.runs import write_inputs

pytestmark = pytest.mark.slow  # every case is several trainings


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
    changes: dict[str, dict[str, Any]] = {"training": TRAINING, "semi_supervised": SEMI_SUPERVISED}
    changed = "training" if stage == "supervised" else stage
    changes[changed] = changes[changed] | {"steps": 12}
    model = Checkpoint.load(train_run(run_of(folder, "plain", out=out, **changes), resume=True))
    assert model.training.steps == 12 + 6
    last = torch.load(folder / out / stage / "last.ckpt", weights_only=True)
    assert (first["global_step"], last["global_step"]) == (6, 12)
    assert rows_but_times(folder / out)[:2] == rows_but_times(uninterrupted("plain"))[:2], "it did not start anew"
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
