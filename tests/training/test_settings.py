"""Every setting is read by a training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eseg_zoo.config import Run
from eseg_zoo.settings import Settings, section_of
from eseg_zoo.training.run import train_run
from training.runs import SEMI_SUPERVISED, TRAINING, run_in


def all_settings(model: type[Settings] = Run) -> Iterator[str]:
    """Yield `Section.setting` of each setting."""
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}"
        if section := section_of(field.annotation):
            yield from all_settings(section)


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
    short = {"training": TRAINING | {"steps": 2, "epoch_steps": 1}, "semi_supervised": SEMI_SUPERVISED | {"steps": 2}}
    default = run_in(inputs, **short)
    paper = run_in(inputs, **short, preset="paper", out="paper", paper={"radius_patience": 1})
    monkeypatch.setattr(Run, "with_paths", lambda self, change: self)  # it reads every path, and uses none
    read.clear()  # what was read to check them
    train_run(default)
    of_the_paper = {name for name in all_settings() if name == "Run.paper" or name.startswith("PaperSettings.")}
    assert set(all_settings()) - read == of_the_paper
    train_run(paper)
    assert set(all_settings()) - read == set()
