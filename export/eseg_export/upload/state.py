"""What an upload has reached, in a small file beside the package, so that the same command goes on after a break.

It holds the draft's id and the finished files with their sha256, and never the token. It is removed when all is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from eseg_export.upload.package import CheckedPackage, PackageFile
from eseg_zoo.errors import UploadError
from eseg_zoo.output import discard, fitting, followed, owning, replacing


class Content(BaseModel):
    """What is in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["eseg_zoo upload"] = "eseg_zoo upload"
    format: Literal[1] = 1
    server: str
    package: str
    """sha256 of `rdf.yaml`, which holds those of all other files."""
    update: str | None
    """The model that a new version was asked for."""
    artifact_id: str | None = None
    """The draft; None where it was asked for and no answer came."""
    finished: dict[str, str] = {}
    """The sha256 of the files that the service has, by name."""


class UploadState:
    """How far one upload is; without a path it is remembered in memory alone."""

    def __init__(self, content: Content, path: Path | None = None, *, is_resumed: bool = False):
        self.content, self.path, self.is_resumed = content, path, is_resumed

    @property
    def artifact_id(self) -> str | None:
        return self.content.artifact_id

    def has(self, file: PackageFile) -> bool:
        """Say whether the service has this file."""
        return self.content.finished.get(file.name) == file.sha256

    def begin(self) -> None:
        """Remember that a draft is being asked for."""
        self._save(self.content)

    def remember_draft(self, artifact_id: str) -> None:
        """Remember the draft that the files go to."""
        self._save(self.content.model_copy(update={"artifact_id": artifact_id}))

    def remember_file(self, file: PackageFile) -> None:
        """Remember that the service has a file."""
        finished = self.content.finished | {file.name: file.sha256}
        self._save(self.content.model_copy(update={"finished": finished}))

    def forget(self) -> None:
        """Remove the file."""
        if self.path is not None:
            discard(self.path)

    def _save(self, content: Content) -> None:
        self.content = content
        if self.path is not None:
            with replacing(self.path, force=True) as new:
                new.write_text(content.model_dump_json(indent=2), encoding="utf-8")


@contextmanager
def upload_state(package: CheckedPackage, server: str, update: str | None) -> Iterator[UploadState]:
    """Yield the state of this upload, new or as an earlier command left it; no other command may have it meanwhile.

    Raises `UploadError` for a damaged one, and `OutputError` where another command is uploading the same, or the folder
    of the package cannot be written to.
    """
    wanted = Content(server=server, package=package.digest, update=update)
    path = _path(package.path, wanted)
    with owning(path):
        yield UploadState(_read(path) or wanted, path, is_resumed=path.exists())


def _path(package: Path, content: Content) -> Path:
    """Return the file beside the package; package, server and model decide its name."""
    key = sha256("\n".join((content.package, content.server, content.update or "")).encode()).hexdigest()[:8]
    package = followed(package)
    return package.with_name(fitting(package.name, after=f".{key}.upload"))


def _read(path: Path) -> Content | None:
    """Return what an earlier command left, None where there is nothing."""
    try:
        return Content.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UploadError(f"{path} is damaged, so this upload cannot go on; remove it to begin anew") from error
