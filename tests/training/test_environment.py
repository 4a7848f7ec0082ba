"""What other programs leave in the environment of a training, and what it says of its time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from lightning.pytorch.utilities import rank_zero_only

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import TrainingSettings
from eseg_zoo.errors import ConfigError
from eseg_zoo.training.processes import counted, is_first, require_environment
from eseg_zoo.training.run import _with_preset, train_run
from training.runs import run_in, write_run

SHORT = {"steps": 2, "epoch_steps": 1, "batch_size": 2, "accelerator": "cpu"}
VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE", "SLURM_JOB_NAME", "SLURM_PROCID", "TORCHELASTIC_RUN_ID",
)  # fmt: skip


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables", [{"RANK": "1", "LOCAL_RANK": "1"}, {"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}], ids=str
)
def test_the_variables_of_another_program_leave_a_training_of_one_process_alone(
    inputs: Path, variables: dict[str, str]
) -> None:
    """Lightning reads them when it is imported, so the training is a program of its own."""
    run = write_run(inputs, training=SHORT)
    code = "import sys; from eseg_zoo.cli import main; sys.argv = ['eseg', 'train', sys.argv[1]]; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, run], capture_output=True, text=True, env=os.environ | variables, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Checkpoint.load(inputs / "out" / "model.pt").training.steps == 2
    assert done.stdout.splitlines()[-1].endswith("model.pt")
    assert "2 of 2 steps in" in done.stderr
    assert f"eseg predict {inputs / 'out' / 'model.pt'} IMAGE" in done.stderr
    assert "as its first steps show" not in done.stderr, "too short for it"
    assert "nan" not in (done.stderr + done.stdout).lower()


def test_the_count_of_processes_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 2)
    with counted(TrainingSettings()):
        assert is_first()
    assert not is_first()
    with counted(TrainingSettings(devices=3)):
        assert not is_first()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SLURM_NTASKS": "1"}, r"devices is 2, but SLURM_NTASKS is 1: .*srun --ntasks=2 .*or unset SLURM_NTASKS"),
        ({"SLURM_NTASKS": "many"}, "SLURM_NTASKS is many"),
        ({"SLURM_NTASKS": "2"}, "SLURM_NTASKS_PER_NODE is not set"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK is set around the command"),
        ({"RANK": "1", "LOCAL_RANK": "1"}, "RANK and LOCAL_RANK is set around the command"),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "RANK": "0"}, "WORLD_SIZE is 4: .*torchrun"),
    ],
    ids=str,
)
def test_variables_for_another_number_of_processes_are_one_line(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as caught:
        train_run(run_in(inputs, training=SHORT | {"devices": 2}))
    assert "\n" not in str(caught.value)
    assert not (inputs / "out").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"},
        {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "interactive"},
        {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
        dict.fromkeys(("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), "1"),  # of Lightning
        {},
    ],
    ids=str,
)
def test_variables_for_as_many_processes_are_followed(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    require_environment(TrainingSettings(devices=2))


@pytest.mark.parametrize("kind", ["uint64", "int64", "uint32", "float16", "float64", "bool"])
def test_pixels_of_every_type_end_in_a_model_that_loads(inputs: Path, kind: str) -> None:
    pixels = tifffile.imread(inputs / "image.tif")
    np.save(inputs / "image.npy", pixels > 120 if kind == "bool" else pixels.astype(kind))
    model = Checkpoint.load(train_run(run_in(inputs, images="image.npy", training=SHORT)))
    assert model.sample.to(torch.float32).isfinite().all()
    assert np.dtype(model.image_dtype).kind in "iuf"


@pytest.mark.parametrize(
    ("device", "preset", "reason"), [("cpu", "small", "training is on a CPU"), ("cuda", "default", "has a GPU")]
)
def test_the_machine_chooses_the_preset_where_none_is_given_and_that_is_said(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str, preset: str,
    reason: str,
) -> None:  # fmt: skip
    given = run_in(inputs, preset=None, network={"latents": 5, "dims": 2}, training={"steps": 7})
    monkeypatch.setattr("eseg_zoo.training.run.device_of", lambda settings: device)
    with caplog.at_level("INFO", "eseg_zoo"):
        found = _with_preset(given, None)
    assert found == run_in(inputs, preset=preset, network={"latents": 5, "dims": 2}, training={"steps": 7})
    assert reason in caplog.text
    assert _with_preset(found, None) is found
