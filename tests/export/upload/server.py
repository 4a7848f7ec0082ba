"""A stand-in for the artifact service and its storage, on this machine: it keeps the protocol's order, and can fail.

What the client must never do is written to `violations`, for the test to look at.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COLLECTION = "bioimage-io/bioimage.io"
TOKEN = "token-of-the-owner.abc123"
OTHER_TOKEN = "token-of-somebody-else.def456"
USERS = {TOKEN: "owner", OTHER_TOKEN: "somebody"}
REVIEWERS = {
    "github|reviewer": "rw+",
    "auth0|second": "rw",
    "auth0|admin": "*",
    "*": "rw",
    "@": ["somebody"],
    "r1": "r",
}


@dataclass
class Artifact:
    """A model at the service."""

    owner: str
    manifest: dict[str, Any]
    permissions: dict[str, str]
    is_staged: bool = True
    version: str | None = None
    expected: dict[str, int] = field(default_factory=dict)  # download_weight by file_path
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of one kind."""

    kind: str  # a method of the service, or PUT
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    close_after: int | None = None  # bytes of a file, or 0 for an answer that never comes
    is_silent: bool = False  # no answer until the end of the test
    is_done_first: bool = False  # the request is obeyed, and only its answer is lost
    file: str | None = None  # of PUT
    times: int = 1


class StandIn:
    """The service; `log` has every request as kind and file, `received` the bytes of each file that came whole."""

    def __init__(self, faults: list[Fault], largest_file: int = 1 << 30):
        self.faults, self.largest_file = faults, largest_file
        self.artifacts: dict[str, Artifact] = {}
        self.log: list[tuple[str, str]] = []
        self.received: list[str] = []
        self.violations: list[str] = []
        self.permits: dict[str, tuple[str, str]] = {}  # the secret in an address: artifact and file
        self.ended = threading.Event()
        self.waiting = threading.Event()  # a silent fault has been reached
        self.lock = threading.Lock()
        self.url = ""

    def fault(self, kind: str, file: str = "") -> Fault | None:
        """Return what is to go wrong with this request."""
        with self.lock:
            for fault in self.faults:
                if fault.kind == kind and fault.file in (None, file) and fault.times:
                    fault.times -= 1
                    return fault
        return None

    def call(self, method: str, user: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Return status and answer of a method, as the service does it."""
        with self.lock:
            methods: dict[str, Callable[[str, dict[str, Any]], tuple[int, Any]]] = {
                "read": self._read, "create": self._create, "put_file": self._put_file, "edit": self._edit,
            }  # fmt: skip
            if method not in methods:
                self.violations.append(f"{method} is called")
                return 404, {"success": False, "detail": f"KeyError: no method {method}"}
            return methods[method](user, body)

    def _read(self, user: str, body: dict[str, Any]) -> tuple[int, Any]:
        if body != {"artifact_id": COLLECTION}:
            return 404, {"detail": "KeyError: unknown"}
        return 200, {"id": COLLECTION, "config": {"permissions": REVIEWERS}}

    def _create(self, user: str, body: dict[str, Any]) -> tuple[int, Any]:
        expected = {"parent_id", "alias", "type", "manifest", "config", "stage", "overwrite"}
        if set(body) != expected or body["parent_id"] != COLLECTION or body["stage"] is not True:
            self.violations.append(f"create with {sorted(body)}")
            return 400, {"detail": "ValueError: wrong arguments"}
        if body["alias"] != "{animal_adjective}-{animal}" or body["overwrite"] is not False:
            self.violations.append(f"create with alias {body['alias']}")
        if body["manifest"].get("status") != "draft":
            self.violations.append("create without the status of a draft")
        name = f"bioimage-io/calm-otter-{len(self.artifacts)}"
        self.artifacts[name] = Artifact(user, body["manifest"], body["config"]["permissions"])
        return 200, {"id": name, "manifest": body["manifest"]}

    def _owned(self, user: str, artifact_id: str) -> tuple[int, Any] | Artifact:
        artifact = self.artifacts.get(artifact_id)
        if artifact is None:
            return 404, {"success": False, "detail": f"KeyError: Artifact with ID '{artifact_id}' does not exist."}
        if artifact.owner != user:
            return 403, {"success": False, "detail": "User does not have permission"}
        return artifact

    def _put_file(self, user: str, body: dict[str, Any]) -> tuple[int, Any]:
        artifact = self._owned(user, body["artifact_id"])
        if not isinstance(artifact, Artifact):
            return artifact
        if not artifact.is_staged:
            return 500, {"success": False, "detail": "AssertionError: Artifact must be in staging mode."}
        artifact.expected[body["file_path"]] = body["download_weight"]
        secret = secrets.token_hex(8)
        self.permits[secret] = (body["artifact_id"], body["file_path"])
        return 200, f"{self.url}/storage/{body['file_path']}?X-Signature={secret}"

    def _edit(self, user: str, body: dict[str, Any]) -> tuple[int, Any]:
        artifact = self._owned(user, body["artifact_id"])
        if not isinstance(artifact, Artifact):
            return artifact
        if body.get("stage") is not True or "config" in body:
            self.violations.append("edit would publish, or change the permissions")
        if body.get("version") not in (None, "new"):
            return 400, {"detail": "ValueError: Invalid version"}
        if body["manifest"]["status"] == "in-review" and self._lacking(artifact):
            self.violations.append(f"a review without {self._lacking(artifact)}")
        artifact.is_staged, artifact.manifest = True, body["manifest"]
        artifact.version = body.get("version") or artifact.version
        return 200, {"id": body["artifact_id"]}

    def _lacking(self, artifact: Artifact) -> list[str]:
        """Return the files of the manifest that are missing, or other than it says."""
        wanted = artifact.manifest["config"]["eseg"]["sha256"]
        found = {name: hashlib.sha256(content).hexdigest() for name, content in artifact.files.items()}
        return [name for name in wanted if name not in found or (name != "rdf.yaml" and found[name] != wanted[name])]

    def store(self, secret: str, content: bytes) -> int:
        """Take a file; return the status."""
        with self.lock:
            if secret not in self.permits:
                return 403
            artifact, name = self.permits[secret]
            if name in self.artifacts[artifact].files:
                self.violations.append(f"{name} is sent twice")
            self.artifacts[artifact].files[name] = content
            self.received.append(name)
            return 200


class Handler(BaseHTTPRequestHandler):
    """HTTP for one `StandIn`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written apart, and would wait for each other
    service: StandIn

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        """A call of the service."""
        method = self.path.rpartition("/")[2]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.service.log.append((method, str(body.get("file_path", ""))))
        if self.path != f"/public/services/artifact-manager/{method}":
            self.service.violations.append(self.path)
        fault = self.service.fault(method)
        if fault and not fault.is_done_first:
            self._fail(fault)
            return
        user = USERS.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if user is None:
            self._answer(401, {"success": False, "detail": f"unknown token {self.headers.get('Authorization')}"})
            return
        status, answer = self.service.call(method, user, body)
        if fault:
            self._fail(fault)
        else:
            self._answer(status, answer)

    def do_PUT(self) -> None:
        """A file."""
        name = self.path.removeprefix("/storage/").partition("?")[0]
        self.service.log.append(("PUT", name))
        if "Authorization" in self.headers or "Cookie" in self.headers:
            self.service.violations.append("the token goes to the storage")
        if self.headers.get("Content-Type") != "" or "Content-Length" not in self.headers:
            self.service.violations.append(f"Content-Type is {self.headers.get('Content-Type')}")
        size = int(self.headers["Content-Length"])
        fault = self.service.fault("PUT", name)
        if fault:
            self.rfile.read(size if fault.close_after is None else min(fault.close_after, size))
            self._fail(fault)
            return
        content = self.rfile.read(size)
        if size > self.service.largest_file:
            self._answer(413, None)
            return
        if len(content) != size:
            self.close_connection = True
            return
        status = self.service.store(self.path.partition("X-Signature=")[2], content)
        self._answer(status, None)

    def _fail(self, fault: Fault) -> None:
        if fault.is_silent:
            self.service.waiting.set()
            self.service.ended.wait(60)
        if fault.status is None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        self.wfile.write(fault.body)

    def _answer(self, status: int, answer: Any) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = False  # they are joined at the end

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what is tested."""


@contextmanager
def standing_in(*faults: Fault, certificate: ssl.SSLContext | None = None, **settings: int) -> Iterator[StandIn]:
    """Run the service in a thread while the context lasts."""
    service = StandIn(list(faults), **settings)
    handler = type("BoundHandler", (Handler,), {"service": service, "timeout": 10})
    server = _Quiet(("127.0.0.1", 0), handler)
    if certificate:
        server.socket = certificate.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    service.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        service.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
