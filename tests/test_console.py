"""What a progress bar shows, and what a log gets in its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.progress import Progress

from eseg_zoo.console import Tenths, image_progress, volume_progress


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_one_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    tenths = Tenths("v.npy")
    for done in range(201):
        tenths.report(done, 200)
    assert lines_of(capsys) == [f"v.npy: {done} of 200 chunks" for done in range(20, 201, 20)]


@pytest.mark.parametrize(("done", "total"), [(130, 200), (3, 3), (0, 0)])
def test_a_prediction_that_goes_on_says_where_it_is(capsys: pytest.CaptureFixture[str], done: int, total: int) -> None:
    Tenths("v.npy").report(done, total)
    assert lines_of(capsys) == [f"v.npy: {done} of {total} chunks"]


def test_a_terminal_gets_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # how a terminal is told to Rich
    Tenths("v.npy").report(3, 3)
    assert not lines_of(capsys)


@pytest.mark.parametrize("make", [image_progress, volume_progress])
def test_a_bar_shows_the_name_of_a_file_as_it_is(
    make: Callable[[], Progress], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with make() as progress:
        progress.add_task("v[/a]:on:.npy")
    assert "v[/a]:on:.npy" in capsys.readouterr().err


def test_a_line_of_a_log_shows_the_name_of_a_file_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Tenths("v[/a]:on:.npy").report(3, 3)
    assert lines_of(capsys) == ["v[/a]:on:.npy: 3 of 3 chunks"]
