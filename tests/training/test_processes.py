"""Training in several processes, in other number formats, and with accumulated batches."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.progress import Progress

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import TrainingSettings, load_run
from eseg_zoo.errors import ConfigError
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.training.progress import TrainingProgress
from eseg_zoo.training.run import train
from training.runs import SEMI_SUPERVISED, write_run

# Nothing that differs between patches is random, and no term mixes the patches of a batch, so that the loss of two
# batches is the mean of theirs. Without a sample of the latents the two ways see the same numbers.
WITHOUT_CHANCE: dict[str, Any] = {
    "augmentation": {"contrast": 0, "brightness": 0, "noise": 0},
    "loss": {"beta": 0, "gamma": 0},
    "mask": {"probability": 0},
}
SCRIPT = """
import sys
from pathlib import Path
from eseg_zoo.config import TrainingSettings, load_run
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.training.run import train

Gaussian.sample = lambda self, generator=None: self.mean
if __name__ == "__main__":
    train(load_run(Path(sys.argv[1])), resume="--resume" in sys.argv)
"""


def settings(**changes: Any) -> dict[str, Any]:
    return {"steps": 8, "epoch_steps": 2, "accelerator": "cpu", "learning_rate": 0.01, **changes}


def losses(out: Path, stage: str = "supervised") -> list[float]:
    with (out / stage / "metrics.csv").open(encoding="utf-8") as log:
        return [float(line["train/loss"]) for line in csv.DictReader(log) if line["train/loss"]]


def train_apart(folder: Path, *options: str, **changes: Any) -> Path:
    """Train in a process of its own, which may start others, and return the folder of the run."""
    folder.mkdir(exist_ok=True)
    for name in ("image.tif", "labels.tif"):
        (folder / name).write_bytes((folder.parent / name).read_bytes())
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, script, write_run(folder, **changes), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_two_processes_learn_as_one_with_the_doubled_batch(inputs: Path) -> None:
    two = train_apart(inputs / "two", training=settings(batch_size=4, devices=2, strategy="ddp"), **WITHOUT_CHANCE)
    one = train_apart(inputs / "one", training=settings(batch_size=8), **WITHOUT_CHANCE)
    assert losses(one)[-1] < 0.9 * losses(one)[0]
    torch.testing.assert_close(torch.tensor(losses(two)), torch.tensor(losses(one)), rtol=1e-3, atol=1e-4)
    found, expected = (Checkpoint.load(out / "model.pt") for out in (two, one))
    assert found.training.steps == expected.training.steps == 8
    for key, value in expected.segmenter_state.items():
        torch.testing.assert_close(found.segmenter_state[key], value, rtol=1e-2, atol=1e-3)


def test_two_processes_finish_all_stages_and_can_be_resumed(inputs: Path) -> None:
    changes: dict[str, Any] = {
        "training": settings(batch_size=4, devices=2),
        "pretraining": {"steps": 2},
        "semi_supervised": SEMI_SUPERVISED,
    }
    out = train_apart(inputs / "whole", **changes)
    assert len(losses(out, "pretraining")) == 1
    assert len(losses(out, "semi_supervised")) == 3
    expected = Checkpoint.load(out / "model.pt")
    assert expected.training.steps == 2 + 8 + 6
    (out / "model.pt").unlink()
    (out / "semi_supervised" / "finished.json").unlink()  # as if it had been killed after its last checkpoint
    train_apart(inputs / "whole", "--resume", **changes)
    found = Checkpoint.load(out / "model.pt")
    assert found.training.steps == expected.training.steps
    for key, value in expected.segmenter_state.items():
        torch.testing.assert_close(found.segmenter_state[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("devices", "strategy", "expected"), [(1, "auto", False), (2, "auto", True), (1, "ddp", True), (2, "ddp", True)]
)
def test_gradients_are_averaged_where_there_are_several_processes_or_it_is_asked_for(
    devices: int, strategy: Any, expected: bool
) -> None:
    assert TrainingSettings(devices=devices, strategy=strategy).distributed is expected


def test_one_process_learns_the_same_with_ddp_and_without(inputs: Path) -> None:
    alone, ddp = (
        train_apart(inputs / strategy, training=settings(batch_size=4, strategy=strategy))
        for strategy in ("auto", "ddp")
    )
    torch.testing.assert_close(torch.tensor(losses(ddp)), torch.tensor(losses(alone)), rtol=1e-4, atol=1e-5)
    found, expected = (torch.load(out / "supervised" / "last.ckpt", weights_only=True) for out in (ddp, alone))
    assert found["global_step"] == expected["global_step"] == 8


def test_accumulated_batches_learn_as_one_that_holds_them_all(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gaussian, "sample", lambda self, generator=None: self.mean)
    found = {}
    for batch, parts in ((4, 2), (8, 1)):
        training = settings(batch_size=batch, accumulate=parts)
        model = train(load_run(write_run(inputs, training=training, out=f"out-{parts}", **WITHOUT_CHANCE)))
        assert Checkpoint.load(model).training.steps == 8
        found[parts] = torch.tensor(losses(model.parent))
    # Other anchors are drawn, so it is the same only in the mean.
    torch.testing.assert_close(found[2], found[1], rtol=0.2, atol=0.05)


def test_a_plateau_is_judged_once_an_epoch_of_accumulated_batches(inputs: Path) -> None:
    training = settings(epoch_steps=4, batch_size=2, accumulate=2, schedule="plateau", warmup=0, plateau_patience=1)
    out = train(load_run(write_run(inputs, training=training | {"learning_rate": 1e-6}))).parent
    last = torch.load(out / "supervised" / "last.ckpt", weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5e-6  # the second of two validations has no gain


def test_the_progress_shows_the_loss_of_a_batch_and_not_its_share_of_a_step() -> None:
    shown = TrainingProgress("supervised", steps=4)
    shown.progress = Progress()
    shown.progress.add_task("supervised", total=4, loss=float("nan"))
    trainer: Any = SimpleNamespace(accumulate_grad_batches=3, global_step=2)
    stage: Any = None
    shown.on_train_batch_end(trainer, stage, {"loss": torch.tensor(0.5)}, None, 0)
    assert shown.progress.tasks[0].fields["loss"] == 1.5
    assert shown.progress.tasks[0].completed == 2


def test_half_precision_trains_to_about_the_same_loss(inputs: Path) -> None:
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        training = settings(batch_size=8, precision=precision, learning_rate=0.001)
        run = load_run(write_run(inputs, training=training, semi_supervised=SEMI_SUPERVISED, out=f"out-{precision}"))
        found[precision] = torch.tensor(losses(train(run).parent, "semi_supervised"))
    assert not torch.equal(found["bf16-mixed"], found["32-true"])
    torch.testing.assert_close(found["bf16-mixed"], found["32-true"], rtol=0.05, atol=0.02)


def test_a_precision_that_needs_a_gpu_is_refused_without_one(inputs: Path) -> None:
    with pytest.raises(ConfigError, match="16-mixed, which needs a GPU"):
        train(load_run(write_run(inputs, training=settings(precision="16-mixed"))))
    assert not (inputs / "out").exists()


def test_the_log_has_the_share_of_time_that_steps_waited_for_batches(inputs: Path) -> None:
    out = train(load_run(write_run(inputs, training=settings(batch_size=4)))).parent
    with (out / "supervised" / "metrics.csv").open(encoding="utf-8") as log:
        shares = [float(line["train/waiting"]) for line in csv.DictReader(log) if line["train/waiting"]]
    assert len(shares) == 4
    assert all(0 < share < 1 for share in shares)
