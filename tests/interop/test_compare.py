"""The table tells the truth: what is missing is skipped, what is wrong or silent has failed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from eseg_zoo.checkpoint import Checkpoint
from interop import consumers, environments
from interop.cases import Subject, package_cases
from interop.compare import LIMIT, Array, Result, Row, Verdict, compare, exit_code, summary, table
from interop.consumers import Consumer
from interop.environments import Missing, find_python, run, this_python, virtual_environment

ANSWER = np.linspace(0, 1, 2 * 6 * 8, dtype=np.float32).reshape(1, 2, 6, 8)


@pytest.fixture
def subject(checkpoint: Checkpoint, tmp_path: Path) -> Subject:
    np.save(tmp_path / "test_input.npy", checkpoint.sample[None, :, :40, :48].float().numpy())
    return Subject("tiny", checkpoint, tmp_path / "model.zip", tmp_path)


def row(result: Result) -> Row:
    return Row("consumer", "1.0", "model", result, 1e-7, "because")


def test_an_equal_answer_passes_with_its_largest_difference() -> None:
    verdict = compare({"a": ANSWER + np.float32(3e-6), "b": ANSWER}, {"a": ANSWER, "b": ANSWER})
    assert verdict.result is Result.PASSED
    assert verdict.difference == pytest.approx(3e-6, rel=0.05)


@pytest.mark.parametrize("wrong", [10 * LIMIT, np.nan])
def test_a_planted_wrong_number_fails_wherever_it_is(wrong: float) -> None:
    planted = ANSWER.copy()
    planted[0, 1, 5, 7] += wrong
    verdict = compare({"first": planted, "second": ANSWER}, {"first": ANSWER, "second": ANSWER})
    assert verdict.result is Result.FAILED
    assert verdict.difference == pytest.approx(wrong, rel=0.01, nan_ok=True)
    assert "first differs by" in verdict.reason
    assert f"the limit is {LIMIT:g}" in verdict.reason


@pytest.mark.parametrize("found", [{}, {"b": ANSWER}, {"a": ANSWER, "b": ANSWER}])
def test_a_missing_or_further_answer_fails(found: dict[str, Array]) -> None:
    assert compare(found, {"a": ANSWER}).result is Result.FAILED


def test_nothing_asked_is_not_passed() -> None:
    assert compare({}, {}).result is Result.FAILED


def test_a_tile_is_compared_without_its_halo() -> None:
    tile = np.pad(ANSWER, [(0, 0), (0, 0), (3, 3), (2, 2)], constant_values=9)
    assert compare({"a": tile}, {"a": ANSWER}).result is Result.PASSED


@pytest.mark.parametrize("shape", [(1, 2, 5, 8), (1, 2, 7, 8), (1, 4, 6, 8), (3, 2, 6, 8), (2, 6, 8)])
def test_another_shape_fails(shape: tuple[int, ...]) -> None:
    assert compare({"a": np.zeros(shape, np.float32)}, {"a": ANSWER}).result is Result.FAILED


def test_a_missing_consumer_is_skipped_with_the_reason_and_never_asked(subject: Subject) -> None:
    def ask(*_: object) -> Verdict:
        raise AssertionError("a missing consumer was asked")

    found = Consumer("engine", Missing("no wheel"), ask).row(subject)
    assert (found.result, found.difference, found.reason) == (Result.SKIPPED, None, "no wheel")


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ("raise SystemExit('no such operator')", "no such operator"),
        ("pass", "wrote nothing"),
        ("import time; time.sleep(60)", "no answer within 2 seconds"),
    ],
)
def test_an_installed_consumer_without_an_answer_has_failed(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: str, reason: str
) -> None:
    (tmp_path / "libtorch.py").write_text(probe)
    monkeypatch.setattr(consumers, "PROBES", tmp_path)
    monkeypatch.setattr(consumers, "TIMEOUT", 2)
    monkeypatch.setattr(consumers, "network_cases", package_cases)
    found = Consumer("engine", this_python("1"), consumers.ask_libtorch).row(subject)
    assert (found.result, found.reason) == (Result.FAILED, reason)


def test_exit_code_is_0_only_without_failure_and_with_a_proof() -> None:
    passed, failed, skipped = row(Result.PASSED), row(Result.FAILED), row(Result.SKIPPED)
    assert exit_code([passed, skipped]) == 0
    assert exit_code([passed, failed, skipped]) == 1
    assert exit_code([skipped]) == exit_code([]) == 1
    assert summary([passed, failed, skipped, passed]) == "2 passed, 1 failed, 1 skipped"


def test_the_table_shows_result_difference_and_reason() -> None:
    console = Console(width=120)
    with console.capture() as shown:
        console.print(table([row(Result.PASSED), row(Result.FAILED), Row("x", "", "m", Result.SKIPPED, None, "[why]")]))
    for word in ("passed", "failed", "skipped", "1.0e-07", "because", "[why]"):
        assert word in shown.get()


@pytest.mark.skipif(os.name != "posix", reason="it needs programs that do nothing")
def test_a_failing_installation_is_missing_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine.txt").write_text("engine==1.0\n")
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    for python in (Path("/bin/false"), Path("/bin/true")):  # no environment comes out of either
        assert isinstance(virtual_environment("engine", tmp_path / "kept", "1.0", python=python), Missing)
        assert not (tmp_path / "kept/engine/.ready").exists()


def test_an_unknown_python_is_missing() -> None:
    assert isinstance(find_python("3.99"), Missing)


def test_a_command_that_is_not_there_ends_like_one_that_failed(tmp_path: Path) -> None:
    assert run([tmp_path / "nothing"], seconds=5).code == 127
