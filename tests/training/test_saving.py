"""Checkpoints and records of a training: written whole, and damaged ones never taken up."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eseg_zoo.config import Run
from eseg_zoo.errors import CheckpointError, OutputError
from eseg_zoo.training.durable import read_record, write_record
from eseg_zoo.training.run import train_run
from eseg_zoo.training.saving import WholeCheckpoints, read_stage
from training.kills import differences, run_of
from training.runs import write_inputs


class RunsCode:
    """What a malicious checkpoint holds: unpickled, it would make a file."""

    def __reduce__(self) -> Any:
        return os.system, ("touch code_was_run",)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def malicious(path: Path) -> None:
    if path.suffix == ".json":
        path.write_text("[" * 100_000, encoding="utf-8")
    else:
        torch.save({"state_dict": RunsCode()}, path)


def altered(path: Path) -> None:
    """One value is another, in a file that is whole."""
    if path.suffix == ".json":
        path.write_text(path.read_text(encoding="utf-8").replace("12", "13"), encoding="utf-8")
    else:
        content = torch.load(path, weights_only=True)
        torch.save(content | {"global_step": 10**9}, path)


DAMAGES = [emptied, cut, flipped, malicious, altered]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished training of two stages."""
    folder = tmp_path_factory.mktemp("whole")
    write_inputs(folder)
    run = run_of(folder, "whole")
    train_run(run)
    return run


@pytest.fixture
def unfinished(whole: Run) -> Any:
    """The same training, as if it had been killed when its second stage was about to end."""
    out = whole.out.with_name("unfinished")
    shutil.copytree(whole.out, out)
    (out / "model.pt").unlink()
    (out / "semi_supervised/finished.json").unlink()
    yield run_of(out.parent, "unfinished")
    shutil.rmtree(out)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    ["semi_supervised/last.ckpt", "semi_supervised/best.ckpt", "supervised/best.ckpt", "supervised/finished.json"],
)
def test_what_is_damaged_is_told_and_made_again(
    whole: Run, unfinished: Run, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[Path], None],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    damage(unfinished.out / name)
    train_run(unfinished, resume=True)
    assert differences(unfinished.out, whole.out) == []
    assert any(name in message and "\n" not in message for message in caplog.messages)
    assert not (tmp_path / "code_was_run").exists()
    if name == "semi_supervised/last.ckpt":
        assert any("goes on from" in text and "previous.ckpt, at step 9" in text for text in caplog.messages)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_of_the_settings_is_one_line(unfinished: Run, damage: Callable[[Path], None]) -> None:
    damage(unfinished.out / "run.json")
    with pytest.raises(CheckpointError, match=r"run\.json .*start anew with --force") as caught:
        train_run(unfinished, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [1], {"state_dict": {"a": 3}}, None], ids=repr)
def test_a_torch_file_of_something_else_is_no_checkpoint(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        read_stage(tmp_path / "last.ckpt")


def test_a_checkpoint_comes_back_and_the_one_before_it_stays(tmp_path: Path) -> None:
    path, saving = tmp_path / "last.ckpt", WholeCheckpoints()
    for step in (1, 2):
        saving.save_checkpoint({"global_step": step, "weights": torch.full((2, 3), step)}, path)
    assert read_stage(path)["global_step"] == 2
    assert torch.equal(read_stage(tmp_path / "previous.ckpt")["weights"], torch.full((2, 3), 1))
    assert sorted(found.name for found in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def told(name: str) -> None:
        right = getattr(os, name)

        def call(*given: object) -> None:
            calls.append(name)
            right(*given)

        monkeypatch.setattr(os, name, call)

    told("fsync")
    told("replace")
    WholeCheckpoints().save_checkpoint({"epoch": 1}, tmp_path / "last.ckpt")
    assert calls[:2] == ["fsync", "replace"]


def test_a_record_comes_back_and_an_altered_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_record(path, {"steps": 12, "names": ["ε", "b"]})
    assert read_record(path) == {"steps": 12, "names": ["ε", "b"]}
    path.write_text(path.read_text(encoding="utf-8").replace("12", "13"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged"):
        read_record(path)


@pytest.mark.slow
def test_a_disk_that_was_full_and_is_enlarged_resumes_to_the_same_model(
    whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a tmpfs of 10 to 750 kB did 30 times; here the write that fails is drawn."""
    rng = random.Random(0)
    for _ in range(4):
        run = run_of(whole.out.parent, "full")
        left = [rng.randrange(1, 18)]

        def fsync(descriptor: int, right: Callable[[int], None] = os.fsync, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            right(descriptor)

        with monkeypatch.context() as planted:
            planted.setattr(os, "fsync", fsync)
            with pytest.raises(OutputError, match="No space left on device"):
                train_run(run)
        train_run(run, resume=True)
        assert differences(run.out, whole.out) == []
        shutil.rmtree(run.out)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="trainings are forked")
def test_trainings_killed_at_random_moments_resume_to_the_same_model() -> None:
    command = [sys.executable, "-m", "training.kills", "--kills", "2", "--seed", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.stdout.splitlines()[-1:] == ["4 of 4"], done.stdout + done.stderr
