"""The command in this process, a folder with a tiny image and its labels, a trained model and a random one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile

from eseg_zoo import cli
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import load_run
from eseg_zoo.training.run import train_run

from .commands import Outcome, run_file, stack, strokes


@pytest.fixture
def eseg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run `eseg ARGUMENTS` in this process, as its entry point does."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["eseg", *map(str, arguments)])
        try:
            cli.main()
            code: object = 0
        except SystemExit as stop:
            code = stop.code or 0
        shown = capsys.readouterr()
        assert isinstance(code, int)
        return Outcome(code, shown.out, shown.err)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "image.tif", stack())
    tifffile.imwrite(tmp_path / "labels.tif", strokes())
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    tifffile.imwrite(folder / "image.tif", stack())
    tifffile.imwrite(folder / "labels.tif", strokes())
    return train_run(load_run(run_file(folder)))


@pytest.fixture
def model(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    checkpoint.save(tmp_path / "random.pt")
    return tmp_path / "random.pt"
