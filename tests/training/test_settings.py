"""Every setting is read by a training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eseg_zoo.config import Run
from eseg_zoo.settings import Settings
from eseg_zoo.training.run import train
from training.runs import SEMI_SUPERVISED, TRAINING, run_in


def all_settings(model: type[Settings] = Run) -> Iterator[str]:
    """Yield `Section.setting` of each setting."""
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from all_settings(field.annotation)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """`Section.setting` of whatever is read, from now on."""
    names: set[str] = set()

    def note(self: Settings, name: str) -> Any:
        names.add(f"{type(self).__name__}.{name}")
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Settings, "__getattribute__", note)
    return names


def test_no_setting_is_without_a_reader(inputs: Path, read: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stalling = TRAINING | {"steps": 2, "epoch_steps": 1, "schedule": "plateau"}
    run = run_in(
        inputs,
        training=stalling,
        pretraining={"steps": 1},
        semi_supervised=SEMI_SUPERVISED | {"steps": 2, "radius": 1, "radius_patience": 1},
    )
    monkeypatch.setattr(Run, "with_paths", lambda self, change: self)  # it reads every path, and uses none
    read.clear()  # what was read to check them
    train(run)
    assert [name for name in all_settings() if name not in read | {"Run.preset"}] == []  # that is applied when loaded
