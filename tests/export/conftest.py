"""One exported package for all tests that only look at it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from eseg_export import package
from eseg_export.package import Package, export

from eseg_zoo.checkpoint import Checkpoint

MakeCheckpoint = Callable[..., Checkpoint]
"""`random_checkpoint` of tests/conftest.py."""


@dataclass(frozen=True)
class Exported:
    package: Package
    folder: Path  # the unpacked zip
    rdf: dict[str, Any]


@pytest.fixture(scope="session")
def model_path(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    checkpoint.save(path)
    return path


@pytest.fixture(scope="session")
def exported(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    finished = export(model_path, folder / "package.zip")
    with zipfile.ZipFile(finished.path) as archive:
        archive.extractall(folder / "unpacked")
    rdf = yaml.safe_load((folder / "unpacked/rdf.yaml").read_text(encoding="utf-8"))
    return Exported(finished, folder / "unpacked", rdf)


@pytest.fixture
def without_zoo_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what surrounds them: `exported` has run them, and they take seconds."""
    monkeypatch.setattr(package, "run_zoo_tests", lambda _: None)
