"""Training in several processes, in other number formats, and with accumulated batches."""

from __future__ import annotations

import copy
import multiprocessing
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import TrainingSettings, load_run
from eseg_zoo.errors import ConfigError
from eseg_zoo.metrics_file import read_metrics
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.patches.source import Batch
from eseg_zoo.progress import Progress, Watch
from eseg_zoo.training.batches import StepBatch, StepBatches
from eseg_zoo.training.callbacks import Reporting
from eseg_zoo.training.fit import wanted_workers
from eseg_zoo.training.run import train_run
from training.runs import SEMI_SUPERVISED, write_run

pytestmark = pytest.mark.slow  # they start processes

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
import eseg_zoo.training.data
from eseg_zoo.config import load_run
from eseg_zoo.model.latent import Gaussian
from eseg_zoo.training.run import train_run

Gaussian.sample = lambda self, generator=None: self.mean
if "--in-parts" in sys.argv:
    eseg_zoo.training.data.free_memory = lambda: 1000
if __name__ == "__main__":
    train_run(load_run(Path(sys.argv[1])), resume="--resume" in sys.argv)
"""


def settings(**changes: Any) -> dict[str, Any]:
    return {"steps": 8, "epoch_steps": 2, "accelerator": "cpu", "learning_rate": 0.01, **changes}


def losses(out: Path, stage: str = "supervised") -> list[float]:
    return [row["train/loss"] for row in read_metrics(out) if row["stage"] == stage]


def train_apart(folder: Path, *options: str, **changes: Any) -> Path:
    """Train in a process of its own, which may start others, and return the folder of the run."""
    folder.mkdir(exist_ok=True)
    for name in ("image.tif", "labels.tif"):
        (folder / name).write_bytes((folder.parent / name).read_bytes())
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command: list[str | Path] = [sys.executable, script, write_run(folder, **changes), *options]
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
        "semi_supervised": SEMI_SUPERVISED,
    }
    out = train_apart(inputs / "whole", **changes)
    assert len(losses(out, "semi_supervised")) == 3
    expected = Checkpoint.load(out / "model.pt")
    assert expected.training.steps == 8 + 6
    (out / "model.pt").unlink()
    (out / "semi_supervised" / "finished.json").unlink()  # as if it had been killed after its last checkpoint
    train_apart(inputs / "whole", "--resume", **changes)
    found = Checkpoint.load(out / "model.pt")
    assert found.training.steps == expected.training.steps
    for key, value in expected.segmenter_state.items():
        torch.testing.assert_close(found.segmenter_state[key], value, rtol=1e-4, atol=1e-5)


def test_every_process_reads_images_that_do_not_fit_the_memory_by_itself(inputs: Path) -> None:
    image = tifffile.imread(inputs / "image.tif")
    tifffile.imwrite(inputs / "image.tif", image, photometric="minisblack", compression="zlib", tile=(16, 16))
    training = settings(batch_size=4, devices=2, workers=1)
    in_parts, loaded = (
        Checkpoint.load(train_apart(inputs / name, *options, training=training) / "model.pt").segmenter_state
        for name, options in (("parts", ["--in-parts"]), ("loaded", []))
    )
    assert in_parts["mean"].item() == pytest.approx(image.mean(), rel=1e-6)
    for key, value in loaded.items():
        torch.testing.assert_close(in_parts[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("devices", "strategy", "expected"), [(1, "auto", False), (2, "auto", True), (1, "ddp", True), (2, "ddp", True)]
)
def test_gradients_are_averaged_where_there_are_several_processes_or_it_is_asked_for(
    devices: int, strategy: Any, expected: bool
) -> None:
    assert TrainingSettings(devices=devices, strategy=strategy).distributed is expected


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers are forked")
@pytest.mark.parametrize(
    ("changes", "gpu", "system", "expected"),
    [
        ({}, False, "linux", 0),
        ({}, True, "linux", 5),  # of six cores one is the training's own
        ({"devices": 2}, True, "linux", 2),
        ({"accelerator": "cpu"}, True, "linux", 0),
        ({"workers": 3, "accelerator": "cpu"}, False, "linux", 3),
        ({"workers": 0}, True, "linux", 0),
        ({"workers": 3}, True, "darwin", 0),
    ],
    ids=str,
)
def test_batches_come_from_other_processes_beside_a_gpu_or_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], gpu: bool, system: str, expected: int
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr("sys.platform", system)
    assert wanted_workers(TrainingSettings(**changes)) == expected


def test_a_training_learns_the_same_whatever_the_number_of_processes_that_cut_its_batches(inputs: Path) -> None:
    found = []
    for workers in (0, 1, 2):
        training = settings(batch_size=4, workers=workers)
        changes = {"training": training, "semi_supervised": SEMI_SUPERVISED, "out": f"out-{workers}"}
        found.append(Checkpoint.load(train_run(load_run(write_run(inputs, **changes)))).segmenter_state)
    for state in found[1:]:
        assert [key for key, value in found[0].items() if not torch.equal(state[key], value)] == []


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
    right, found = StepBatches.__getitem__, {}

    def part_of_eight(self: StepBatches, number: int) -> StepBatch:
        each = self.labelled
        whole = copy.copy(self)
        whole.labelled = 8
        of_step, part = divmod(number, 8 // each)
        batch = right(whole, of_step).labelled
        assert batch
        return StepBatch(Batch(*(values[part * each : (part + 1) * each] for values in batch)), None)

    monkeypatch.setattr(StepBatches, "__getitem__", part_of_eight)
    for batch, parts in ((4, 2), (8, 1)):
        training = settings(batch_size=batch, accumulate=parts)
        model = train_run(load_run(write_run(inputs, training=training, out=f"out-{parts}", **WITHOUT_CHANCE)))
        assert Checkpoint.load(model).training.steps == 8
        found[parts] = torch.tensor(losses(model.parent))
    assert found[1][-1] < 0.9 * found[1][0]
    torch.testing.assert_close(found[2], found[1], rtol=1e-3, atol=1e-4)


def test_the_loss_that_is_told_is_that_of_a_batch_and_not_its_share_of_a_step() -> None:
    told: list[Progress] = []
    reporting = Reporting("supervised", 4, Watch(told.append))
    trainer: Any = SimpleNamespace(accumulate_grad_batches=3, global_step=2, is_global_zero=True)
    stage: Any = None
    reporting.on_train_batch_end(trainer, stage, {"loss": torch.tensor(0.5)}, None, 0)
    assert [(one.what, one.done, one.total, one.figures) for one in told] == [("supervised", 2, 4, {"loss": 1.5})]


def test_half_precision_trains_to_about_the_same_loss(inputs: Path) -> None:
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        training = settings(batch_size=8, precision=precision, learning_rate=0.0005)
        run = load_run(write_run(inputs, training=training, semi_supervised=SEMI_SUPERVISED, out=f"out-{precision}"))
        out = train_run(run).parent
        found[precision] = torch.tensor(losses(out))
        assert np.isfinite(losses(out, "semi_supervised")).all()  # it starts from other weights where another was best
    assert not torch.equal(found["bf16-mixed"], found["32-true"])
    torch.testing.assert_close(found["bf16-mixed"], found["32-true"], rtol=0.02, atol=0.0)


def test_a_precision_that_needs_a_gpu_is_refused_without_one(inputs: Path) -> None:
    with pytest.raises(ConfigError, match="16-mixed, which needs a GPU"):
        train_run(load_run(write_run(inputs, training=settings(precision="16-mixed"))))
    assert not (inputs / "out").exists()


def test_the_log_has_the_share_of_time_that_steps_waited_for_batches(inputs: Path) -> None:
    out = train_run(load_run(write_run(inputs, training=settings(batch_size=4)))).parent
    shares = [row["train/waiting"] for row in read_metrics(out)]
    assert len(shares) == 4
    assert all(0 < share < 1 for share in shares)
