"""A file that is no whole checkpoint is refused, and its code is never run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from .commands import Outcome, assert_one_line


class RunsCode:
    """Unpickling it creates the file `proof`."""

    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.proof), "w"))


def a_text(path: Path) -> None:
    path.write_text("no checkpoint at all")


def a_pickle_with_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(RunsCode(path.with_name("proof"))))


def a_torch_file_with_code(path: Path) -> None:
    torch.save(RunsCode(path.with_name("proof")), path)


def another_torch_file(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("make", [a_text, a_pickle_with_code, a_torch_file_with_code, another_torch_file, nothing])
def test_what_is_no_checkpoint_is_refused_and_never_executed(
    eseg: Callable[..., Outcome], folder: Path, make: Callable[[Path], None]
) -> None:
    model = folder / "model.pt"
    make(model)
    assert_one_line(eseg("predict", model, folder / "image.tif", "--out", folder / "maps"), "model.pt", "checkpoint")
    assert not (folder / "proof").exists()
    assert not (folder / "maps").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(
    eseg: Callable[..., Outcome], folder: Path, trained: Path, share: float
) -> None:
    content = trained.read_bytes()
    model = folder / "model.pt"
    model.write_bytes(content[: int(share * len(content))])
    assert_one_line(eseg("predict", model, folder / "image.tif", "--out", folder / "maps"), "truncated")
