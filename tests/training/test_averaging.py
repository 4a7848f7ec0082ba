"""Averaged weights: the average is the one by hand, and it is what is validated, saved and left in the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eseg_zoo.training.averaging import MovingAverage, moving_average

DECAY = 0.5
STEPS = 8


class Walk(pl.LightningModule):
    """One weight that each step lowers by 1 (plain SGD on the weight itself), behind a batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.norm = nn.BatchNorm1d(1, momentum=0.5, affine=False)
        self.generator = torch.Generator()
        self.validated: list[float] = []
        self.means: list[float] = []

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        self.norm(batch)
        assert self.norm.running_mean is not None
        self.means.append(float(self.norm.running_mean))
        return self.weight * 1.0

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.validated.append(float(self.weight))
        self.log("score", self.weight.detach() * 1.0)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def by_hand(values: list[float], decay: float = DECAY) -> list[float]:
    """The average after each step: the first value, then `kept` of the old and the rest of the new."""
    averages = [values[0]]
    for updates, value in enumerate(values[1:], start=1):
        kept = min(decay, (1 + updates) / (10 + updates))
        averages.append(kept * averages[-1] + (1 - kept) * value)
    return averages


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Walk, pl.Trainer, Path]:
    """A walk of 8 steps with a validation after every second one."""
    folder = tmp_path_factory.mktemp("walk")
    saved = ModelCheckpoint(folder, filename="last")
    module, callbacks = Walk(), [MovingAverage(DECAY), saved]
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=STEPS, num_sanity_val_steps=0, logger=False, callbacks=callbacks,
        enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    values = torch.from_numpy(np.random.default_rng(0).normal(3, 1, (4, 5, 1)).astype(np.float32))
    loaders = [DataLoader(list(values[:n]), batch_size=None) for n in (2, 1)]  # type: ignore[arg-type]
    trainer.fit(module, *loaders)
    return module, trainer, folder


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated.*"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*"),
]


def test_validation_sees_the_average_and_training_goes_on_from_the_weights(walked: Any) -> None:
    module, _, _ = walked
    averages = by_hand([-float(step) for step in range(1, STEPS + 1)])
    assert module.validated[: STEPS // 2] == pytest.approx(averages[1::2])


def test_a_checkpoint_has_the_averages_of_weights_and_statistics_and_the_weights_at_hand(walked: Any) -> None:
    module, _, folder = walked
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    averages = by_hand([-float(step) for step in range(1, STEPS + 1)])
    assert float(saved["state_dict"]["weight"]) == pytest.approx(averages[-1])
    assert float(saved["state_dict"]["norm.running_mean"]) == pytest.approx(by_hand(module.means)[-1])
    assert int(saved["state_dict"]["norm.num_batches_tracked"]) == STEPS
    assert float(saved["current_model_state"]["weight"]) == -STEPS


def test_the_module_ends_with_the_averages_and_a_later_validation_is_of_what_it_holds(walked: Any) -> None:
    module, trainer, _ = walked
    assert module.weight.item() == pytest.approx(by_hand([-float(step) for step in range(1, STEPS + 1)])[-1])
    module.load_state_dict(module.state_dict() | {"weight": torch.tensor(42.0)})
    loader: Any = DataLoader([torch.zeros(5, 1)], batch_size=None)  # type: ignore[arg-type]
    trainer.validate(module, loader, verbose=False)
    assert module.validated[-1] == 42


def test_a_constant_stays_exactly_what_it_is() -> None:
    taps = torch.rand(1000)
    average = taps.clone()
    for updates in range(1, 50):
        average = moving_average(0.999, average, taps, torch.tensor(updates))
    assert torch.equal(average, taps)


def test_the_decay_rises_to_its_limit() -> None:
    zero, one = torch.zeros(()), torch.ones(())
    kept = [1 - float(moving_average(0.9, zero, one, torch.tensor(n))) for n in (1, 8, 80, 81, 1000)]
    np.testing.assert_allclose(kept, [2 / 11, 0.5, 0.9, 0.9, 0.9], atol=1e-6)


def test_counters_are_not_averaged() -> None:
    assert int(moving_average(0.9, torch.tensor(3), torch.tensor(7), torch.tensor(50))) == 7
