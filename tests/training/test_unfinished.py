"""An unfinished training: kept until it is resumed or replaced, and resumed only as what it was begun as."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import tifffile
import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import load_run
from eseg_zoo.errors import ConfigError, InputError, OutputError
from eseg_zoo.metrics_file import read_metrics
from eseg_zoo.training.run import train_run
from eseg_zoo.training.stages import Supervised
from training.interruptions import (
    NETWORK,
    SEMI_SUPERVISED,
    TRAINING,
    CrashError,
    assert_same,
    assert_same_training,
    at_step,
    crash,
    run_of,
)

pytestmark = pytest.mark.slow  # every case is several trainings


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
    assert [row["step"] for row in read_metrics(run.out)] == [3, 6]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training": TRAINING | {"learning_rate": 0.5}}, "training.learning_rate"),
        ({"seed": 3, "loss": {"beta": 7.0}}, "loss.beta, seed"),
        ({"classes": {4: "bright", 1: "dark"}}, "classes"),
        ({"classes": {1: "dark", 4: "shiny"}}, "classes.4"),
        ({"semi_supervised": SEMI_SUPERVISED | {"teacher": 0.5}}, "semi_supervised.teacher"),
        ({"preset": "paper"}, "augmentation.cutmix, network.width, paper, preset, training.patience, training.warmup"),
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
    changes: dict[str, Any] = {"preset": None, "training": {"steps": 2, "epoch_steps": 1, "batch_size": 2}}
    run = run_of(inputs, "plain", **changes, semi_supervised={"steps": 0})
    with monkeypatch.context() as planted:
        at_step(planted, Supervised, 1, crash)
        planted.setattr("eseg_zoo.training.run.device_of", lambda settings: "cpu")
        with pytest.raises(CrashError):
            train_run(run)
    monkeypatch.setattr("eseg_zoo.training.run.device_of", lambda settings: "cuda")  # where it would be another
    monkeypatch.setattr("eseg_zoo.training.run._tell_machine", lambda settings: "a GPU")
    assert Checkpoint.load(train_run(run, resume=True)).settings["preset"] == "small"
