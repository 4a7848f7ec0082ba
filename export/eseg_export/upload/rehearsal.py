"""`--dry-run`: the very requests of an upload, printed instead of sent, and answered by made-up answers."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx

from eseg_export.upload.connection import Connection
from eseg_export.upload.package import CheckedPackage
from eseg_export.upload.protocol import WORKSPACE, ArtifactService
from eseg_export.upload.run import Listener, upload
from eseg_export.upload.state import Content, UploadState

_ID = f"{WORKSPACE}/ID-FROM-THE-ANSWER-TO-CREATE"
_REVIEWER = "REVIEWER-FROM-THE-ANSWER-TO-READ"
_STORAGE = "https://address-from-the-answer-to-put-file.invalid"  # a name that never exists
_ANSWERS = {"read": {"config": {"permissions": {_REVIEWER: "rw+"}}}, "create": {"id": _ID}, "edit": {}}
_OF_EVERY_REQUEST = {"accept", "connection", "user-agent", "host"}  # headers of httpx that say nothing here


def rehearse(
    package: CheckedPackage,
    server: str,
    listener: Listener,
    show: Callable[[str], None],
    *,
    update: str | None,
    submit: bool,
) -> None:
    """Let `show` have the text of every request that an upload would send, in its order; nothing is sent."""

    def answer(request: httpx.Request) -> httpx.Response:
        content = request.read()
        show(_text(request, content))
        if request.method == "PUT":
            return httpx.Response(200)
        method = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json=_ANSWERS[method] if method in _ANSWERS else f"{_STORAGE}/{_file(content)}")

    state = UploadState(Content(server=server, package=package.digest, update=update))
    with Connection(server, None, transport=httpx.MockTransport(answer)) as connection:
        upload(package, ArtifactService(connection), state, listener, submit=submit)


def _file(content: bytes) -> str:
    """Return the file that a call of `put_file` is about."""
    return str(json.loads(content)["file_path"])


def _text(request: httpx.Request, content: bytes) -> str:
    """Return a request as it is printed: method and address, headers, and the body or its size."""
    headers = [f"{name}: {value}" for name, value in request.headers.items() if name not in _OF_EVERY_REQUEST]
    if request.method == "PUT":
        body = f"({len(content):,} bytes, as they are in the package)"
    else:
        headers.append("authorization: Bearer (your token)")
        body = json.dumps(json.loads(content), indent=2, ensure_ascii=False)
    return "\n".join((f"{request.method} {request.url}", *headers, "", body, ""))
