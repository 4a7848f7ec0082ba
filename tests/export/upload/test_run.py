"""An upload against a stand-in for the service: what arrives, in which order, and what happens when it fails."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from eseg_export.upload.package import CheckedPackage
from eseg_export.upload.state import upload_state

from eseg_zoo.errors import EsegError, OutputError

from .conftest import LeftBeside, Uploader, is_whole
from .server import OTHER_TOKEN, REVIEWERS, TOKEN, Artifact, Fault, standing_in

WEIGHTS = "weights.onnx"


def failure(uploader: Uploader, server: str, **settings: object) -> str:
    """Return the one line with which an upload ends."""
    with pytest.raises(EsegError) as caught:
        uploader(server, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- the good way


def test_every_file_arrives_byte_for_byte_in_a_staged_draft(
    uploader: Uploader, package: CheckedPackage, left_beside: LeftBeside
) -> None:
    with standing_in() as service:
        artifact_id = uploader(service.url)
        assert is_whole(service, artifact_id, package)
        assert service.artifacts[artifact_id].manifest == {**package.manifest, "status": "draft"}
    assert left_beside() == []


def test_the_calls_come_in_the_order_of_the_protocol(uploader: Uploader) -> None:
    names = ["rdf.yaml", "README.md", "cover.png", WEIGHTS]
    with standing_in() as service:
        uploader(service.url, submit=True)
    files = [(kind, name) for name in names for kind in ("put_file", "PUT")]
    assert service.log == [("read", ""), ("create", ""), *files, ("edit", "")]


def test_reviewers_may_change_the_draft_and_readers_and_everybody_may_not(uploader: Uploader) -> None:
    with standing_in() as service:
        artifact_id = uploader(service.url)
    assert {"*", "@"} < set(REVIEWERS)
    assert service.artifacts[artifact_id].permissions == {"github|reviewer": "rw+", "auth0|second": "rw+"}


def test_only_weights_count_as_downloads(uploader: Uploader) -> None:
    with standing_in() as service:
        artifact_id = uploader(service.url)
    assert service.artifacts[artifact_id].expected == {"rdf.yaml": 0, "README.md": 0, "cover.png": 0, WEIGHTS: 1}


@pytest.mark.parametrize(("submit", "status"), [(False, "draft"), (True, "in-review")])
def test_a_review_is_asked_for_on_demand_alone(uploader: Uploader, submit: bool, status: str) -> None:
    with standing_in() as service:
        artifact_id = uploader(service.url, submit=submit)
        assert service.violations == []
    assert service.artifacts[artifact_id].manifest["status"] == status


def test_the_status_is_in_no_file(uploader: Uploader) -> None:
    with standing_in() as service:
        artifact_id = uploader(service.url, submit=True)
    assert all(b"in-review" not in content for content in service.artifacts[artifact_id].files.values())


def test_the_bytes_that_are_told_rise_to_the_size_of_the_package(uploader: Uploader, package: CheckedPackage) -> None:
    with standing_in() as service:
        uploader(service.url)
    done = [sent for sent, _ in uploader.heard.bytes_sent]
    assert done == sorted(done)
    assert uploader.heard.bytes_sent[-1] == (package.size, package.size)


# ------------------------------------------------------------------------------------------------- a new version


def test_an_update_stages_a_new_version_and_makes_no_draft(uploader: Uploader, package: CheckedPackage) -> None:
    with standing_in() as service:
        service.artifacts["bioimage-io/mine"] = Artifact("owner", {"name": "old"}, {}, is_staged=False)
        assert uploader(service.url, update="bioimage-io/mine", submit=True) == "bioimage-io/mine"
        assert is_whole(service, "bioimage-io/mine", package)
    assert list(service.artifacts) == ["bioimage-io/mine"]
    assert service.artifacts["bioimage-io/mine"].version == "new"
    assert [kind for kind, _ in service.log if kind in ("read", "create")] == []


def test_a_model_of_others_is_not_updated(uploader: Uploader, left_beside: LeftBeside) -> None:
    with standing_in() as service:
        service.artifacts["bioimage-io/theirs"] = Artifact("owner", {"name": "old"}, {})
        message = failure(uploader, service.url, update="bioimage-io/theirs", token=OTHER_TOKEN)
    assert f"cannot stage a new version of bioimage-io/theirs at {service.url[7:]} (403)" in message
    assert "a model is changed by its owners alone" in message
    assert service.artifacts["bioimage-io/theirs"].manifest == {"name": "old"}
    assert left_beside() == []


def test_a_model_that_is_not_there_is_told(uploader: Uploader) -> None:
    with standing_in() as service:
        assert "(404): it knows nothing of that" in failure(uploader, service.url, update="bioimage-io/none")


# ------------------------------------------------------------------------------------------------- broken, gone on


def test_an_upload_that_breaks_twice_in_the_weights_goes_on_within_one_command(
    uploader: Uploader, package: CheckedPackage
) -> None:
    with standing_in(Fault("PUT", file=WEIGHTS, close_after=100_000, times=2)) as service:
        assert is_whole(service, uploader(service.url), package)
    assert [name for kind, name in service.log if kind == "PUT"].count(WEIGHTS) == 3
    assert sorted(service.received) == sorted(file.name for file in package.files)
    assert len(uploader.waits) == 2


def test_the_same_command_goes_on_and_sends_no_finished_file_again(
    uploader: Uploader, package: CheckedPackage, left_beside: LeftBeside
) -> None:
    with standing_in(Fault("PUT", file=WEIGHTS, close_after=100_000, times=2)) as service:
        for _ in range(2):
            message = failure(uploader, service.url, tries=1)
            assert "cannot send weights.onnx at 127.0.0.1:" in message
            assert ", tried 1 times: the connection broke. The draft bioimage-io/calm-otter-0 " in message
            assert "has 3 of 4 files; the same command goes on, or begins anew once" in message
            assert len(left_beside()) == 1
        assert is_whole(service, uploader(service.url), package)
    assert len(service.artifacts) == 1
    assert [name for kind, name in service.log if kind == "PUT"] == [
        "rdf.yaml", "README.md", "cover.png", WEIGHTS, WEIGHTS, WEIGHTS,
    ]  # fmt: skip
    assert any("which has 3 of 4 files" in line for line in uploader.heard.lines)
    assert left_beside() == []


def test_a_command_that_broke_before_the_review_only_asks_for_it(uploader: Uploader) -> None:
    with standing_in(Fault("edit", status=503)) as service:
        failure(uploader, service.url, submit=True, tries=1)
        before = len(service.log)
        uploader(service.url, submit=True)
    assert service.log[before:] == [("edit", "")]


def test_the_state_holds_draft_and_files_and_no_token(
    uploader: Uploader, package: CheckedPackage, tmp_path: Path
) -> None:
    with standing_in(Fault("PUT", file=WEIGHTS, status=400)) as service:
        message = failure(uploader, service.url)
    (path,) = tmp_path.iterdir()
    assert str(path) in message
    assert json.loads(path.read_text()) == {
        "kind": "eseg_zoo upload", "format": 1, "server": service.url, "package": package.digest, "update": None,
        "artifact_id": "bioimage-io/calm-otter-0",
        "finished": {file.name: file.sha256 for file in package.files if file.name != WEIGHTS},
    }  # fmt: skip


def test_a_damaged_state_is_told_and_left(uploader: Uploader, tmp_path: Path) -> None:
    with standing_in(Fault("PUT", file=WEIGHTS, status=400)) as service:
        failure(uploader, service.url)
        (path,) = tmp_path.iterdir()
        for content in (b"{}", b"\xff", b"[]", path.read_bytes()[:-9], b'{"kind": "eseg_zoo upload", "format": 2}'):
            path.write_bytes(content)
            assert (
                failure(uploader, service.url)
                == f"{path} is damaged, so this upload cannot go on; remove it to begin anew"
            )
            assert path.read_bytes() == content


def test_two_commands_do_not_upload_one_package_at_once(uploader: Uploader, package: CheckedPackage) -> None:
    with (
        standing_in() as service,
        upload_state(package, service.url, None),
        pytest.raises(OutputError, match="another"),
    ):
        uploader(service.url)
    assert service.log == []


def test_another_server_gets_a_draft_of_its_own(uploader: Uploader, package: CheckedPackage) -> None:
    with standing_in(Fault("PUT", file=WEIGHTS, status=400)) as first, standing_in() as second:
        failure(uploader, first.url)
        assert is_whole(second, uploader(second.url), package)


def test_a_draft_that_was_removed_meanwhile_is_told_with_the_way_out(uploader: Uploader, tmp_path: Path) -> None:
    with standing_in(Fault("PUT", file=WEIGHTS, status=400)) as service:
        failure(uploader, service.url)
        service.artifacts.clear()
        message = failure(uploader, service.url)
    (path,) = tmp_path.iterdir()
    assert "(404): it knows nothing of that; was the draft or model removed" in message
    assert message.endswith(f"or begins anew once {path} is removed")


def test_a_draft_whose_answer_was_lost_is_told(uploader: Uploader, package: CheckedPackage) -> None:
    with standing_in(Fault("create", close_after=0, is_done_first=True)) as service:
        assert is_whole(service, uploader(service.url), package)
    assert len(service.artifacts) == 2
    assert sum("an empty one named Small model may be at" in line for line in uploader.heard.lines) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_draft_that_was_surely_not_made_is_no_matter(uploader: Uploader, status: int) -> None:
    with standing_in(Fault("create", status=status)) as service:
        uploader(service.url)
    assert len(service.artifacts) == 1
    assert not any("an empty one" in line for line in uploader.heard.lines)


def test_a_command_that_ended_while_the_draft_was_made_is_told_the_next_time(uploader: Uploader) -> None:
    with standing_in(Fault("create", close_after=0, is_done_first=True)) as service:
        failure(uploader, service.url, tries=1)
        uploader.heard.lines.clear()
        uploader(service.url)
    assert "an empty one named Small model may be at" in uploader.heard.lines[0]


# ------------------------------------------------------------------------------------------------- answers that fail


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("kind", ["read", "create", "put_file", "PUT", "edit"])
def test_a_server_that_stumbles_is_asked_again(uploader: Uploader, kind: str, status: int) -> None:
    with standing_in(Fault(kind, status=status, times=3)) as service:
        artifact_id = uploader(service.url, submit=True)
        assert is_whole(service, artifact_id, uploader.package)
    assert len(uploader.waits) == 3


@pytest.mark.parametrize("kind", ["read", "create", "put_file", "PUT", "edit"])
def test_a_broken_connection_is_made_again(uploader: Uploader, kind: str) -> None:
    with standing_in(Fault(kind, close_after=0, times=3)) as service:
        assert is_whole(service, uploader(service.url, submit=True), uploader.package)


@pytest.mark.parametrize("kind", ["read", "create", "put_file", "PUT", "edit"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418])
def test_a_refusal_is_one_line_and_not_asked_again(uploader: Uploader, kind: str, status: int) -> None:
    detail = json.dumps({"success": False, "detail": "for\nreasons"}).encode()
    with standing_in(Fault(kind, status=status, body=detail, times=99)) as service:
        message = failure(uploader, service.url, submit=True)
    assert f"({status}): " in message
    assert "it said 'for reasons'" in message
    assert [logged for logged, _ in service.log].count(kind) == 1
    assert uploader.waits == []


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "make a new one there, and set HYPHA_TOKEN"),
        (403, "a model is changed by its owners alone"),
        (409, "go on with --update ID if it is yours, or state another version or name in the card"),
        (413, "it is too large for the service"),
    ],
)
def test_a_refusal_says_what_to_do(uploader: Uploader, status: int, advice: str) -> None:
    with standing_in(Fault("create", status=status)) as service:
        assert advice in failure(uploader, service.url)


@pytest.mark.parametrize(
    ("detail", "status"),
    [
        ("FileExistsError: Artifact with alias 'a' already exists", 409),
        ("PermissionError: no", 403),
        ("RemoteException: ValueError: wrong", 400),
        ("AssertionError: Artifact must be in staging mode.", 400),
    ],
)
def test_an_exception_that_the_service_names_is_not_asked_for_again(
    uploader: Uploader, detail: str, status: int
) -> None:
    body = json.dumps({"success": False, "detail": detail}).encode()
    with standing_in(Fault("create", status=500, body=body, times=99)) as service:
        assert f"({status}): " in failure(uploader, service.url)
    assert uploader.waits == []


def test_a_storage_that_refuses_its_own_address_is_not_blamed_on_the_account(uploader: Uploader) -> None:
    with standing_in(Fault("PUT", status=403, body=b"<Error>expired</Error>")) as service:
        message = failure(uploader, service.url)
    assert "(403): the storage does not take the address that the service gave for it" in message
    assert "it said '<Error>expired</Error>'" in message


def test_a_wrong_token_is_told_and_never_repeated(uploader: Uploader) -> None:
    with standing_in() as service:
        message = failure(uploader, service.url, token="wrong-token-xyz")
    assert "does not accept the token" in message
    assert "it said 'unknown token Bearer ***'" in message
    assert "wrong-token-xyz" not in message


def test_a_file_that_is_too_large_is_told_by_its_name(uploader: Uploader) -> None:
    with standing_in(largest_file=100_000) as service:
        assert re.match(r"cannot send weights\.onnx at \S+ \(413\): it is too large", failure(uploader, service.url))


def test_after_the_last_try_the_line_says_how_often_and_why(uploader: Uploader) -> None:
    with standing_in(Fault("read", status=502, times=99)) as service:
        message = failure(uploader, service.url)
    assert message.endswith(", tried 8 times: it answers 502")
    assert message.startswith("cannot read the reviewers of bioimage-io/bioimage.io at ")
    assert len(uploader.waits) == 7


def test_nobody_at_the_address_is_told(uploader: Uploader) -> None:
    with standing_in() as service:
        pass
    assert failure(uploader, service.url, tries=2).endswith(", tried 2 times: no connection")


# ------------------------------------------------------------------------------------------------- waiting


def test_waits_double_and_are_partly_random(uploader: Uploader) -> None:
    with standing_in(Fault("read", status=500, times=99)) as service:
        failure(uploader, service.url)
    for wait, longest in zip(uploader.waits, [1, 2, 4, 8, 16, 32, 60], strict=True):
        assert longest / 2 <= wait <= longest
    assert len({wait / round(wait) for wait in uploader.waits}) > 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_when_to_come_back_is_obeyed(uploader: Uploader, status: int) -> None:
    with standing_in(Fault("PUT", status=status, headers={"Retry-After": "77"})) as service:
        uploader(service.url)
    assert uploader.waits == [77]


def test_a_date_to_come_back_at_is_understood(uploader: Uploader) -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    date = format_datetime(now + timedelta(seconds=90), usegmt=True)
    with standing_in(Fault("create", status=429, headers={"Retry-After": date})) as service:
        uploader(service.url, now=lambda: now)
    assert uploader.waits == [90]


@pytest.mark.parametrize("value", ["soon", "-5", "1e3", "", "٣", "Thu, 99 Foo 2026 99:99:99 GMT"])
def test_a_time_that_is_none_is_replaced_by_our_own(uploader: Uploader, value: str) -> None:
    with standing_in(Fault("create", status=429, headers={"Retry-After": value.encode().decode("latin-1")})) as service:
        uploader(service.url)
    assert 0.5 <= uploader.waits[0] <= 1


def test_a_server_that_asks_for_hours_ends_the_command(uploader: Uploader) -> None:
    with standing_in(Fault("create", status=429, headers={"Retry-After": "7200"})) as service:
        assert "asks to come back in 120 minutes" in failure(uploader, service.url)
    assert uploader.waits == []


@pytest.mark.parametrize("kind", ["read", "put_file", "PUT"])
def test_a_silent_server_is_asked_again(uploader: Uploader, kind: str) -> None:
    with standing_in(Fault(kind, is_silent=True)) as service:
        assert is_whole(service, uploader(service.url, answering=0.2), uploader.package)
    assert any("no answer in time; trying again" in line for line in uploader.heard.lines)


def test_an_answer_that_trickles_in_is_not_waited_for(uploader: Uploader) -> None:
    ticks = iter(range(0, 10_000, 200))
    with standing_in() as service:
        message = failure(uploader, service.url, tries=2, clock=lambda: float(next(ticks)), whole_answer=100.0)
    assert message.endswith(", tried 2 times: no answer in time")


# ------------------------------------------------------------------------------------------------- strange answers


@pytest.mark.parametrize("kind", ["read", "create", "put_file", "edit"])
def test_an_answer_that_is_not_json_is_told(uploader: Uploader, kind: str) -> None:
    page = f"<html>\n\x1b[31m Log in, {TOKEN} {'x' * 5000}".encode() + b"\xff"
    with standing_in(Fault(kind, status=200, body=page)) as service:
        message = failure(uploader, service.url, submit=True)
    assert "by something that is not JSON, '<html> [31m Log in, *** xxx" in message
    assert len(message) < 900


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"3", b'""', b"{}", b'{"id": 3}', b'{"id": "../../x"}', b'{"id": "a/b\\n"}']
)
def test_a_draft_without_an_id_is_told(uploader: Uploader, body: bytes) -> None:
    with standing_in(Fault("create", status=200, body=body)) as service:
        assert "does not say which draft it made" in failure(uploader, service.url)


@pytest.mark.parametrize("body", [b"null", b"[]", b'{"config": null}', b'{"config": {"permissions": []}}'])
def test_a_collection_without_permissions_is_told(uploader: Uploader, body: bytes) -> None:
    with standing_in(Fault("read", status=200, body=body)) as service:
        assert "does not say who reviews bioimage-io/bioimage.io" in failure(uploader, service.url)


def test_a_collection_without_reviewers_is_told_and_no_hindrance(uploader: Uploader) -> None:
    with standing_in(Fault("read", status=200, body=b'{"config": {"permissions": {"*": "r"}}}')) as service:
        uploader(service.url)
    assert any("names no reviewers" in line for line in uploader.heard.lines)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://storage.example.org/f?sig=secret", "to 'http://storage.example.org/f': refused, as that is not HTTPS"),
        ("ftp://127.0.0.1/f", "which is no address"),
        ("file:///etc/passwd", "which is no address"),
        ("https://me:password@example.org/f", "which is no address"),
        ("https://127.0.0.1:99999/f", "which is no address"),
        (f"https://{'a' * 70}.org/f", "which is no address"),
        ("https:///f", "which is no address"),
        ("", "which is no address"),
        ("\x00", "which is no address"),
    ],
)
def test_a_file_goes_to_no_address_but_a_safe_one(uploader: Uploader, address: str, told: str) -> None:
    with standing_in(Fault("put_file", status=200, body=json.dumps(address).encode(), times=9)) as service:
        message = failure(uploader, service.url)
    assert told in message
    assert "secret" not in message
    assert service.received == []


@pytest.mark.parametrize("kind", ["read", "create", "PUT"])
@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://example.org/x?key=secret", "on to 'http://example.org/x', refused, as that is not HTTPS"),
        ("https://example.org/", "on to 'https://example.org/', not followed"),
        ("/elsewhere", "on to '/elsewhere', not followed"),
    ],
)
def test_no_redirection_is_followed(uploader: Uploader, kind: str, location: str, told: str) -> None:
    with standing_in(Fault(kind, status=307, headers={"Location": location})) as service:
        message = failure(uploader, service.url)
    assert told in message
    assert "secret" not in message
