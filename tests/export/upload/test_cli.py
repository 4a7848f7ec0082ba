"""`eseg-upload` as a person meets it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from eseg_export import verify
from eseg_export.finished import read_package
from eseg_export.upload.cli import app, main
from typer.testing import CliRunner

from eseg_zoo.errors import EsegError, StoppedError, UploadError

from .server import TOKEN, Fault, StandIn, standing_in

WEIGHTS = "weights.onnx"
PROGRAM = [sys.executable, "-c", "from eseg_export.upload.cli import main; main()"]


@pytest.fixture(autouse=True)
def no_token_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPHA_TOKEN", raising=False)
    monkeypatch.setitem(sys.modules, "keyring", None)


@pytest.fixture
def tested(finished_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that passes every test, in a folder of its own; the zoo's tests, which take seconds, are left out."""
    monkeypatch.setattr(verify, "run_zoo_tests", lambda _: None)
    return Path(shutil.copy(finished_package, tmp_path / "model.zip"))


def call(*arguments: str | Path, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def failed(*arguments: str | Path, stdin: str | None = None) -> EsegError:
    error = call(*arguments, stdin=stdin).exception
    assert isinstance(error, EsegError)
    return error


def test_an_upload_ends_with_the_id_of_the_draft(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPHA_TOKEN", TOKEN)
    with standing_in() as service:
        done = call(tested, "--server", service.url, "--yes", "--submit")
        assert done.exit_code == 0, done.output
        assert service.violations == []
    assert done.stdout == "bioimage-io/calm-otter-0\n"
    assert service.artifacts["bioimage-io/calm-otter-0"].files == read_package(tested).files
    assert f"what is reached is kept in {tested}." in done.stderr
    assert TOKEN not in done.output
    assert [path.name for path in tested.parent.iterdir()] == ["model.zip"]


def test_what_is_published_is_shown_with_its_licence_before(tested: Path) -> None:
    shown = call(tested, "--dry-run").stderr
    for word in ("Small model, version 1.2.0", "Jane Doe", "licence: CC-BY-4.0", "https://hypha.aicell.io"):
        assert word in shown
    assert f"{len(read_package(tested).files)} files" in shown
    for name in read_package(tested).files:
        assert name in shown


# ------------------------------------------------------------------------------------------------- asking


def test_without_a_terminal_it_needs_yes(tested: Path) -> None:
    assert (
        str(failed(tested)) == "nobody can be asked here, as this is no terminal: give --yes to upload without asking"
    )


def test_without_a_terminal_it_needs_a_token(tested: Path) -> None:
    assert str(failed(tested, "--yes")) == "there is no token, and nobody can be asked for it here: set HYPHA_TOKEN"


def attended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program believe that somebody sits there."""
    monkeypatch.setattr("eseg_export.upload.cli._is_attended", lambda: True)


def test_a_person_who_says_no_uploads_nothing(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attended(monkeypatch)
    with standing_in() as service:
        for answer in ("n\n", "\n"):
            error = failed(tested, "--server", service.url, stdin=answer)
            assert isinstance(error, StoppedError)
            assert str(error) == "nothing was uploaded"
        assert service.log == []


def test_a_person_is_asked_for_consent_and_for_the_token_which_stays_unseen(
    tested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attended(monkeypatch)
    with standing_in() as service:
        done = call(tested, "--server", service.url, stdin=f"y\n{TOKEN}\n")
        assert done.exit_code == 0, done.output
    assert "Upload it?" in done.stderr
    assert TOKEN not in done.output


# ------------------------------------------------------------------------------------------------- dry run


def sent_requests(printed: str) -> list[tuple[str, str]]:
    return re.findall(r"^(POST|PUT) (\S+)$", printed, re.MULTILINE)


def test_a_dry_run_prints_the_requests_of_the_upload_and_sends_none(
    tested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing_in() as service:
        done = call(tested, "--server", service.url, "--dry-run", "--submit")
        assert done.exit_code == 0, done.output
        assert service.log == []
        monkeypatch.setenv("HYPHA_TOKEN", TOKEN)
        call(tested, "--server", service.url, "--yes", "--submit")
    printed = [(kind, address.rpartition("/")[2]) for kind, address in sent_requests(done.stdout)]
    really = [("PUT", file) if kind == "PUT" else ("POST", kind) for kind, file in service.log]
    assert printed == really
    assert done.stdout.endswith("nothing was sent\n")
    assert [path.name for path in tested.parent.iterdir()] == ["model.zip"]


def test_a_dry_run_prints_headers_and_bodies(tested: Path) -> None:
    printed = call(tested, "--dry-run").stdout
    parts = re.split(r"^(?=POST|PUT)", printed, flags=re.MULTILINE)[1:]
    assert all("authorization: Bearer (your token)" in part for part in parts if part.startswith("POST"))
    assert not any("authorization" in part for part in parts if part.startswith("PUT"))
    create = json.loads(next(part for part in parts if "/create\n" in part).partition("\n\n")[2])
    assert create["manifest"] == read_package(tested).rdf | {"status": "draft"}
    assert create["stage"] is True
    weights = next(part for part in parts if part.startswith("PUT") and f"/{WEIGHTS}\n" in part)
    assert "content-type: \n" in weights
    assert f"content-length: {len(read_package(tested).files[WEIGHTS])}\n" in weights


def test_a_dry_run_of_an_update_prints_its_edit(tested: Path) -> None:
    printed = call(tested, "--dry-run", "--update", "affable-shark").stdout
    assert '"artifact_id": "bioimage-io/affable-shark"' in printed
    assert '"version": "new"' in printed
    assert "/create" not in printed


# ------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("name", ["a b", "../x/y", "a/b/c", "x\ny"])
def test_an_update_is_of_an_id(tested: Path, name: str) -> None:
    assert "it must be the id of a model, such as affable-shark" in str(failed(tested, "--dry-run", "--update", name))


def test_a_server_in_the_clear_is_refused_before_the_package_is_read() -> None:
    assert "must begin with https" in str(failed("no.zip", "--server", "http://example.org", "--dry-run"))


def test_there_is_no_option_for_the_token() -> None:
    assert call("model.zip", "--token", "secret").exit_code == 2
    assert "--token" not in call("--help").stdout


def test_help_is_quick() -> None:
    code = (
        "import sys\nfrom eseg_export.upload.cli import main\nsys.argv = ['eseg-upload', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'httpx', 'bioimageio', 'keyring'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# ------------------------------------------------------------------------------------------------- no leak, no harm


def test_not_even_the_traceback_of_debug_has_the_token(
    tested: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPHA_TOKEN", TOKEN)
    for fault in (
        Fault("create", status=401, body=f"no {TOKEN}".encode()),
        Fault("PUT", status=403),
        Fault("read", status=200),
    ):
        with standing_in(fault) as service:
            monkeypatch.setattr("sys.argv", ["eseg-upload", str(tested), "--server", service.url, "--yes", "--debug"])
            with pytest.raises(UploadError) as caught:
                main()
        assert TOKEN not in "".join(traceback.format_exception(caught.value))
    shown = capfd.readouterr()
    assert TOKEN not in shown.out + shown.err


def start(package: Path, service: StandIn) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, str(package), "--server", service.url, "--yes"],
        env={**os.environ, "HYPHA_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_command_that_is_killed_in_the_weights_goes_on_when_it_is_started_again(
    finished_package: Path, tmp_path: Path
) -> None:
    package = Path(shutil.copy(finished_package, tmp_path / "model.zip"))
    with standing_in(Fault("PUT", file=WEIGHTS, close_after=50_000, is_silent=True)) as service:
        first = start(package, service)
        try:
            assert service.waiting.wait(300)
            seen = Path(f"/proc/{first.pid}/cmdline")
            assert not seen.exists() or TOKEN.encode() not in seen.read_bytes()
        finally:
            first.send_signal(signal.SIGKILL)
            told = first.communicate()
        (state,) = tmp_path.glob("model.zip.*.upload")
        finished = set(json.loads(state.read_text())["finished"])
        second = start(package, service)
        shown = second.communicate(timeout=300)
        assert second.returncode == 0, shown[1]
        assert service.violations == []
    assert WEIGHTS not in finished
    assert len(finished) > 5
    sent = [file for kind, file in service.log if kind == "PUT"]
    assert sorted(sent) == sorted([*read_package(package).files, WEIGHTS])
    assert len(service.artifacts) == 1
    assert f"which has {len(finished)} of {len(read_package(package).files)} files" in shown[1]
    assert not any(TOKEN in text for text in (*told, *shown))
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
