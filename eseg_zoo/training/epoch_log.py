"""The log of a training: a row of `metrics.csv` for each epoch of all stages, and TensorBoard's files where wanted."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Timer

from eseg_zoo.config import TrainingSettings
from eseg_zoo.errors import ConfigError
from eseg_zoo.metrics_file import COLUMNS, METRICS, metrics_text, read_metrics
from eseg_zoo.training.callbacks import is_whole_epoch
from eseg_zoo.training.durable import written_whole
from eseg_zoo.training.folder import TENSORBOARD
from eseg_zoo.training.plans import STAGES


@dataclass(frozen=True)
class Before:
    """What the stages before one took."""

    steps: int
    seconds: float


def require_tensorboard(settings: TrainingSettings) -> None:
    """Raise `ConfigError` where TensorBoard is asked for and not installed."""
    if settings.tensorboard and find_spec("tensorboard") is None:
        raise ConfigError(
            "training.tensorboard is true, but tensorboard is not installed: pip install tensorboard, or leave it out; "
            f"{METRICS} has the same figures"
        )


class EpochLog(Callback):
    """Adds a row to the log at the end of each epoch, before its checkpoint is written.

    So every epoch that a checkpoint is of has its row. A stage that goes on drops the rows after its checkpoint, one
    that starts again all of its own, and those of a later stage go with its folder: the log is what it would be without
    an interruption. The whole file is written anew each time, beside its target and renamed: it is small, and whoever
    reads it never sees a part of a row.
    """

    def __init__(self, out: Path, stage: str, before: Before, *, tensorboard: bool):
        self.out, self.stage, self.before, self.tensorboard = out, stage, before, tensorboard
        self.rows: list[dict[str, Any]] = []
        self.board: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        reached = self.before.steps + trainer.global_step
        there = read_metrics(self.out)
        self.rows = [row for row in there if self._stays(row, reached)]
        if self.rows != there:
            self._write()
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # it is an extra

            # TensorBoard hides what an earlier file has from this step on.
            folder, first = str(self.out / TENSORBOARD), reached + 1
            self.board = SummaryWriter(folder, purge_step=first)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = trainer.callback_metrics  # means over the processes: each of them takes part
        if not trainer.is_global_zero or not is_whole_epoch(trainer, pl_module):
            return
        (timer,) = (one for one in trainer.callbacks if isinstance(one, Timer))  # type: ignore[attr-defined]
        step, seconds = self.before.steps + trainer.global_step, self.before.seconds + timer.time_elapsed()
        place = (self.stage, step, trainer.current_epoch + 1, round(seconds, 3))
        found = {name: float(value) for name, value in figures.items()}
        self.rows.append(dict(zip(COLUMNS, place, strict=True)) | found)
        self.rows.sort(key=lambda row: STAGES.index(row["stage"]))  # a later stage may be over, and this one done again
        self._write()
        if self.board:
            for name, value in found.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _stays(self, row: dict[str, Any], reached: int) -> bool:
        """Say whether a row is of what the training has, when this stage begins after so many steps."""
        stage = row["stage"]
        if stage == self.stage:
            return bool(row["step"] <= reached)
        return stage in STAGES and (self.out / stage).is_dir()

    def _write(self) -> None:
        with written_whole(self.out / METRICS) as temporary:
            temporary.write_text(metrics_text(self.rows), encoding="utf-8")

    def _close(self) -> None:
        if self.board:
            self.board.close()
            self.board = None
