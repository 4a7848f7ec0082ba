"""The order of an upload: a staged draft, its files, and on demand the wish for a review."""

from __future__ import annotations

from typing import Protocol

from eseg_export.upload.package import CheckedPackage
from eseg_export.upload.protocol import ArtifactService
from eseg_export.upload.state import UploadState
from eseg_zoo.errors import UploadError


class Listener(Protocol):
    """Who hears how far the upload is."""

    def tell(self, text: str) -> None:
        """Hear a line."""

    def sent(self, done: int, total: int) -> None:
        """Hear how many bytes of the package are on their way."""


def upload(
    package: CheckedPackage,
    service: ArtifactService,
    state: UploadState,
    listener: Listener,
    *,
    submit: bool,
) -> str:
    """Send what the service does not have yet, and return the id of the draft; `state` is removed when all is done.

    Raises `UploadError` in one line, which says how to go on where the draft is there.
    """
    if state.is_resumed and state.artifact_id is None:
        listener.tell(_maybe_twice(package, service))
    artifact_id = state.artifact_id or _draft(package, service, state, listener)
    try:
        _send_files(artifact_id, package, service, state, listener)
        if submit:
            service.submit(artifact_id, package.manifest)
    except UploadError as error:
        there = sum(state.has(file) for file in package.files)
        raise UploadError(
            f"{error}. The draft {artifact_id} has {there} of {len(package.files)} files; the same command goes on"
            + (f", or begins anew once {state.path} is removed" if state.path else "")
        ) from error
    state.forget()
    return artifact_id


def _draft(package: CheckedPackage, service: ArtifactService, state: UploadState, listener: Listener) -> str:
    """Return the id of a new draft, or of the model that gets a new version."""
    if update := state.content.update:
        service.stage_version(update, package.manifest)
        artifact_id = update
    else:
        reviewers = service.reviewers()
        if not reviewers:
            listener.tell("the collection names no reviewers: nobody but you can change the draft")
        state.begin()
        artifact_id, is_doubtful = service.create(package.manifest, reviewers)
        if is_doubtful:
            listener.tell(_maybe_twice(package, service))
    state.remember_draft(artifact_id)
    return artifact_id


def _send_files(
    artifact_id: str, package: CheckedPackage, service: ArtifactService, state: UploadState, listener: Listener
) -> None:
    missing = [file for file in package.files if not state.has(file)]
    before = package.size - sum(file.size for file in missing)
    there = len(package.files) - len(missing)
    if there:
        listener.tell(f"going on with the draft {artifact_id}, which has {there} of {len(package.files)} files")
    for number, file in enumerate(missing, start=there + 1):

        def sent(done: int, before: int = before) -> None:
            listener.sent(before + done, package.size)

        service.send(artifact_id, file, sent)
        state.remember_file(file)
        before += file.size
        listener.tell(f"sent {file.name} ({number} of {len(package.files)})")


def _maybe_twice(package: CheckedPackage, service: ArtifactService) -> str:
    return (
        f"the answer to a draft that was asked for is lost: an empty one named {package.name} may be at"
        f" {service.connection.host}; remove it there"
    )
