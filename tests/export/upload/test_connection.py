"""Which servers are spoken to, and that their certificates are looked at."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from eseg_export.upload.connection import Connection, checked_server
from eseg_export.upload.patience import Patience
from pydantic import SecretStr

from eseg_zoo.errors import UploadError

from .conftest import Uploader
from .server import standing_in


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine that nobody has signed, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    key, signed = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", signed, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return signed, key


def serving(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_a_certificate_that_nobody_signed_ends_the_upload_at_once(
    uploader: Uploader, certificate: tuple[Path, Path]
) -> None:
    with standing_in(certificate=serving(certificate)) as service:
        with pytest.raises(UploadError, match=r"the certificate of 127\.0\.0\.1:\d+ cannot be trusted \(self.signed"):
            uploader(service.url)
        assert service.log == []
    assert uploader.waits == []


def test_a_certificate_that_is_trusted_is_taken(certificate: tuple[Path, Path]) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    with standing_in(certificate=serving(certificate)) as service:
        connection = Connection(service.url, SecretStr("wrong"), certificates=trusting, patience=Patience(tries=1))
        with connection:
            answer = connection.post("/public/services/artifact-manager/read", b"{}", what="look")
    assert answer.status == 401


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://hypha.aicell.io", "https://hypha.aicell.io"),
        ("https://example.org/hypha/", "https://example.org/hypha"),
        ("https://example.org:8443", "https://example.org:8443"),
        ("http://127.0.0.1:9520", "http://127.0.0.1:9520"),
        ("http://localhost:9520/", "http://localhost:9520"),
        ("http://[::1]:9520", "http://[::1]:9520"),
    ],
)
def test_a_server_is_spoken_to_by_https_or_on_this_machine(given: str, taken: str) -> None:
    assert checked_server(given) == taken


@pytest.mark.parametrize(
    "given",
    ["http://example.org", "http://localhost.example.org", "http://127.0.0.1.example.org", "http://192.168.0.1",
     "http://2130706433"],
)  # fmt: skip
def test_plain_http_to_another_machine_is_refused(given: str) -> None:
    with pytest.raises(UploadError, match=f"--server is '{given}'; it must begin with https"):
        checked_server(given)


@pytest.mark.parametrize(
    "given",
    ["", "example.org", "ftp://example.org", "https://", "https://a:b", "https://example.org:0", "https://\x00",
     f"https://{'a' * 70}.org", "https://me:secret@example.org", "https://example.org/?token=secret",
     "https://example.org/#secret"],
)  # fmt: skip
def test_what_is_no_address_of_a_server_is_refused_without_its_secrets(given: str) -> None:
    with pytest.raises(UploadError, match="--server is") as caught:
        checked_server(given)
    assert "secret" not in str(caught.value)
