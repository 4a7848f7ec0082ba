"""The calls of the artifact service, typed. docs/upload.md says where each is known from.

Nothing here commits or publishes: curators do that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from eseg_export.upload.connection import Answer, Connection, stated_detail
from eseg_export.upload.credentials import TOKEN_VARIABLE
from eseg_export.upload.package import PackageFile
from eseg_zoo.errors import UploadError, shown

SERVER = "https://hypha.aicell.io"
COLLECTION = "bioimage-io/bioimage.io"
WORKSPACE = "bioimage-io"
_SERVICE = "/public/services/artifact-manager/"
_ALIAS = "{animal_adjective}-{animal}"  # the service fills it in
# What a member of the collection may do who is a reviewer, and what a reviewer may do with a model.
_REVIEWER_CODES = frozenset(("rw", "rw+"))
_REVIEWER_MAY = "rw+"
_EVERYBODY = frozenset(("*", "@"))
_ID = re.compile(r"[\w.~-]{1,128}/[\w.~-]{1,128}")
_LONGEST_SAID = 200  # characters
_ADVICE = {
    401: f"it does not accept the token, which may be wrong or too old; make a new one there, and set {TOKEN_VARIABLE}",
    403: "the account of this token may not do that; a model is changed by its owners alone",
    404: "it knows nothing of that; was the draft or model removed, and is the --server right?",
    409: "that exists there already; go on with --update ID if it is yours, or state another version or name in the"
    " card and export again",
    413: "it is too large for the service",
}
_STORAGE_ADVICE = _ADVICE | dict.fromkeys(
    (401, 403), "the storage does not take the address that the service gave for it"
)

Status = Literal["draft", "in-review"]


class ArtifactService:
    """The service at the other end of a connection."""

    def __init__(self, connection: Connection):
        self.connection = connection

    def reviewers(self) -> list[str]:
        """Return the ids of the collection's reviewers, who may change a draft."""
        what = f"read the reviewers of {COLLECTION}"
        found, answer = self._call("read", {"artifact_id": COLLECTION}, what)
        config = found.get("config") if isinstance(found, dict) else None
        permissions = config.get("permissions") if isinstance(config, dict) else None
        if not isinstance(permissions, dict):
            raise self._unexpected(answer, f"who reviews {COLLECTION}")
        codes = {who: code for who, code in permissions.items() if isinstance(code, str) and who not in _EVERYBODY}
        return sorted(who for who, code in codes.items() if code in _REVIEWER_CODES)

    def create(self, manifest: Mapping[str, Any], reviewers: list[str]) -> tuple[str, bool]:
        """Make a staged draft; return its id, and whether an earlier try may have left another, empty one."""
        found, answer = self._call(
            "create",
            {
                "parent_id": COLLECTION,
                "alias": _ALIAS,
                "type": "model",
                "manifest": _with_status(manifest, "draft"),
                "config": {"permissions": dict.fromkeys(reviewers, _REVIEWER_MAY)},
                "stage": True,
                "overwrite": False,
            },
            "make a draft",
        )
        created = found.get("id") if isinstance(found, dict) else None
        if not isinstance(created, str) or not _ID.fullmatch(created):
            raise self._unexpected(answer, "which draft it made")
        return created, answer.is_doubtful

    def stage_version(self, artifact_id: str, manifest: Mapping[str, Any]) -> None:
        """Stage a new version of a model that exists; what is published of it stays as it is."""
        body = {
            "artifact_id": artifact_id,
            "manifest": _with_status(manifest, "draft"),
            "stage": True,
            "version": "new",
        }
        self._call("edit", body, f"stage a new version of {artifact_id}")

    def send(self, artifact_id: str, file: PackageFile, sent: Callable[[int], None]) -> None:
        """Send one file of a draft byte for byte."""
        what = f"send {file.name}"

        def url() -> str:
            body = {"artifact_id": artifact_id, "file_path": file.name, "download_weight": int(file.is_weights)}
            found, answer = self._call("put_file", body, what)
            if not isinstance(found, str):
                raise self._unexpected(answer, f"where to {what}")
            return found

        self._refuse_failure(self.connection.put(url, file.content, what=what, sent=sent), what, _STORAGE_ADVICE)

    def submit(self, artifact_id: str, manifest: Mapping[str, Any]) -> None:
        """Ask for a review of a draft."""
        body = {"artifact_id": artifact_id, "manifest": _with_status(manifest, "in-review"), "stage": True}
        self._call("edit", body, f"ask for a review of {artifact_id}")

    def _call(self, method: str, body: Mapping[str, Any], what: str) -> tuple[Any, Answer]:
        """Return what a method of the service returns, and how it was answered."""
        answer = self.connection.post(f"{_SERVICE}{method}", json.dumps(body, allow_nan=False).encode(), what=what)
        self._refuse_failure(answer, what)
        try:
            return json.loads(answer.body), answer
        except (ValueError, RecursionError) as error:
            raise UploadError(
                f"cannot {what}: {answer.host} answers by something that is not JSON, {self._shown(answer.body)};"
                " is it the right --server?"
            ) from error

    def _refuse_failure(self, answer: Answer, what: str, advices: Mapping[int, str] = _ADVICE) -> None:
        """Raise `UploadError`, with what to do, for an answer that is not a success."""
        if 200 <= answer.status < 300:
            return
        if 300 <= answer.status < 400:
            raise UploadError(self._redirected(answer, what))
        said = stated_detail(answer.body).encode("utf-8", "replace") or answer.body
        told = f"; it said {self._shown(said)}" if said.strip() else ""
        advice = advices.get(answer.status, "it refuses")
        raise UploadError(f"cannot {what} at {answer.host} ({answer.status}): {advice}{told}")

    def _unexpected(self, answer: Answer, lacking: str) -> UploadError:
        return UploadError(f"{answer.host} does not say {lacking}; it said {self._shown(answer.body)}")

    def _redirected(self, answer: Answer, what: str) -> str:
        location = answer.location or "nowhere"
        begins = self._shown(location.partition("?")[0].encode("utf-8", "replace"))
        is_plain = location.startswith("http:")
        why = "refused, as that is not HTTPS" if is_plain else "not followed; is that the right --server?"
        return f"cannot {what}: {answer.host} leads on to {begins}, {why}"

    def _shown(self, said: bytes) -> str:
        """Return the beginning of what the server said as one line of printable text, without the token."""
        text = self.connection.without_token(said.decode("utf-8", "replace"))[: 16 * _LONGEST_SAID]
        text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return repr(text if len(text) <= _LONGEST_SAID else f"{text[: _LONGEST_SAID - 3]}...")


def checked_id(text: str) -> str:
    """Return the full id of a model in the zoo; raises `UploadError` for what is none."""
    full = text if "/" in text else f"{WORKSPACE}/{text}"
    if not _ID.fullmatch(full):
        raise UploadError(f"--update is {shown(text)}; it must be the id of a model, such as affable-shark")
    return full


def _with_status(manifest: Mapping[str, Any], status: Status) -> dict[str, Any]:
    """Return the manifest: the content of rdf.yaml, and the status, which the file itself must not have."""
    return {**manifest, "status": status}
