"""A small package, made without a network, and an upload that waits for nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from eseg_export.checksums import with_checksums
from eseg_export.finished import FinishedPackage
from eseg_export.package import export
from eseg_export.upload import run
from eseg_export.upload.connection import Connection
from eseg_export.upload.package import CheckedPackage, described
from eseg_export.upload.patience import Patience
from eseg_export.upload.protocol import ArtifactService
from eseg_export.upload.state import upload_state
from pydantic import SecretStr

from .server import TOKEN, StandIn

CARD = {"name": "Small model", "authors": [{"name": "Jane Doe"}], "license": "CC-BY-4.0", "version": "1.2.0"}
RDF = {
    "name": "Small model", "version": "1.2.0", "license": "CC-BY-4.0", "authors": [{"name": "Jane Doe"}],
    "weights": {"onnx": {"source": "weights.onnx"}}, "covers": ["cover.png"], "documentation": "README.md",
    "config": {"eseg": {}},
}  # fmt: skip
FILES = {"README.md": b"# Small\n", "cover.png": b"\x89PNG\r\n" * 9, "weights.onnx": bytes(range(256)) * 1024}


@dataclass
class Heard:
    """A listener that keeps what it heard."""

    lines: list[str] = field(default_factory=list)
    bytes_sent: list[tuple[int, int]] = field(default_factory=list)

    def tell(self, text: str) -> None:
        self.lines.append(text)

    def sent(self, done: int, total: int) -> None:
        self.bytes_sent.append((done, total))


@dataclass
class Uploader:
    """Uploads one package as the command does, with a patience whose waits are only written down."""

    package: CheckedPackage
    heard: Heard = field(default_factory=Heard)
    waits: list[float] = field(default_factory=list)

    def __call__(
        self, server: str, *, token: str = TOKEN, update: str | None = None, submit: bool = False, **patience: Any
    ) -> str:
        given = Patience(**{"sleep": self.waits.append, "draws": random.Random(0), "answering": 5.0, **patience})
        with (
            upload_state(self.package, server, update) as state,
            Connection(server, SecretStr(token), patience=given, tell=self.heard.tell) as connection,
        ):
            return run.upload(self.package, ArtifactService(connection), state, self.heard, submit=submit)


@pytest.fixture
def package(tmp_path: Path) -> CheckedPackage:
    return described(tmp_path / "small.zip", FinishedPackage.of(with_checksums(RDF, FILES)))


@pytest.fixture
def uploader(package: CheckedPackage) -> Uploader:
    return Uploader(package)


@pytest.fixture(scope="session")
def finished_package(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that passes every test."""
    return export(model_path, tmp_path_factory.mktemp("finished") / "model.zip", card=CARD).path


LeftBeside = Callable[[], list[str]]


@pytest.fixture
def left_beside(tmp_path: Path) -> LeftBeside:
    """The names of what an upload left beside the package."""
    return lambda: sorted(path.name for path in tmp_path.iterdir())


def is_whole(service: StandIn, artifact_id: str, package: CheckedPackage) -> bool:
    """Say whether the service has every file of the package, byte for byte, and nothing that it must not see."""
    assert service.violations == []
    return service.artifacts[artifact_id].files == {file.name: file.content for file in package.files}
