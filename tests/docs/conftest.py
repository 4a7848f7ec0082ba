"""The files that pages name, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from docs.inputs import write_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that pages name; copy it before anything is written."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


@pytest.fixture
def reader(inputs: Path, tmp_path: Path) -> Path:
    """The folder of a reader: a copy of the files that pages name."""
    folder = tmp_path / "reader"
    shutil.copytree(inputs, folder)
    return folder
