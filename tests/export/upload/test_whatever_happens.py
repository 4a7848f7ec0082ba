"""Whatever the server does, an upload ends with a whole draft or with one of our lines."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from eseg_export.checksums import with_checksums
from eseg_export.finished import FinishedPackage
from eseg_export.upload.package import described
from hypothesis import given, settings
from hypothesis import strategies as st

from eseg_zoo.errors import UploadError

from .conftest import FILES, RDF, Uploader, is_whole
from .server import TOKEN, Fault, standing_in

PACKAGE = described(Path("small.zip"), FinishedPackage.of(with_checksums(RDF, FILES)))

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["https://a.invalid/", "bioimage-io/x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "detail", "config", "permissions", "*", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
bodies = st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000)
headers = st.dictionaries(
    st.sampled_from(["Retry-After", "Location", "Content-Encoding", "Set-Cookie", "WWW-Authenticate"]),
    st.sampled_from(["1", "99999999999", "-1", "gzip", "br", "x=y", "http://a.invalid/", "https://[", "\xff", ""]),
    max_size=3,
)
answers = st.builds(
    Fault,
    kind=st.sampled_from(["read", "create", "put_file", "PUT", "edit"]),
    status=st.sampled_from([200, 201, 204, 206, 300, 301, 304, 307, 400, 401, 403, 404, 409, 413, 418, 429, 451, 500,
                            502, 503, 504, 599, 600, 999]),
    body=bodies,
    headers=headers,
    times=st.integers(1, 9),
)  # fmt: skip
breaks = st.builds(
    Fault,
    kind=st.sampled_from(["read", "create", "put_file", "PUT", "edit"]),
    close_after=st.sampled_from([0, 1, 70_000, 200_000]),
    status=st.sampled_from([None, None, 413, 500]),  # before the file is whole
    is_done_first=st.booleans(),
    times=st.integers(1, 9),
)


def outcome(uploader: Uploader, server: str, *, submit: bool) -> tuple[str | None, str]:
    """Return the id of the draft, or the line with which the upload ends."""
    try:
        return uploader(server, submit=submit), ""
    except UploadError as error:
        return None, str(error)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(faults=st.lists(answers | breaks, max_size=4), submit=st.booleans())
def test_an_upload_ends_with_a_whole_draft_or_one_line(faults: list[Fault], submit: bool) -> None:
    is_lying = any(fault.status is not None and 200 <= fault.status < 300 for fault in faults)
    with tempfile.TemporaryDirectory() as folder, standing_in(*faults) as service:
        artifact_id, line = outcome(
            Uploader(replace(PACKAGE, path=Path(folder) / "small.zip")), service.url, submit=submit
        )
        left = list(Path(folder).iterdir())
        if artifact_id is not None:
            assert left == []
            assert is_lying or is_whole(service, artifact_id, PACKAGE)
    assert line.isprintable()  # without line breaks
    assert TOKEN not in line
    assert [told for told in service.violations if "token" in told or "publish" in told or "is called" in told] == []


def test_the_log_of_libraries_never_has_the_token(uploader: Uploader, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), standing_in(Fault("PUT", status=503)) as service:
        uploader(service.url, submit=True)
    assert "put_file" in caplog.text
    assert TOKEN not in caplog.text
