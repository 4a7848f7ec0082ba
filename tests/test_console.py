"""What a progress bar shows, and what a log gets in its place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from eseg_zoo.console import Tenths, TrainingBars, part_progress, shown
from eseg_zoo.progress import Progress
from eseg_zoo.threads import wait_without_spinning


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_one_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    tenths = Tenths("v.npy")
    for done in range(201):
        tenths.report(done, 200)
    assert lines_of(capsys) == [f"v.npy: {done} of 200 tiles" for done in range(20, 201, 20)]


@pytest.mark.parametrize(("done", "total"), [(130, 200), (3, 3), (0, 0)])
def test_a_prediction_that_goes_on_says_where_it_is(capsys: pytest.CaptureFixture[str], done: int, total: int) -> None:
    Tenths("v.npy").report(done, total)
    assert lines_of(capsys) == [f"v.npy: {done} of {total} tiles"]


def test_a_terminal_gets_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # how a terminal is told to Rich
    Tenths("v.npy").report(3, 3)
    assert not lines_of(capsys)


def test_a_bar_shows_the_name_of_a_file_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with part_progress() as progress:
        progress.add_task("v[/a]:on:.npy")
    assert "v[/a]:on:.npy" in capsys.readouterr().err


def test_a_line_of_a_log_shows_the_name_of_a_file_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Tenths("v[/a]:on:.npy").report(3, 3)
    assert lines_of(capsys) == ["v[/a]:on:.npy: 3 of 3 tiles"]


def news(done: int, *, is_validated: bool = False, **figures: float) -> Progress:
    return Progress("semi_supervised", done, 200, figures, is_validated)


def test_a_log_of_a_training_gets_one_line_for_each_validation(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBars() as bars:
        for done in range(1, 201):
            bars(news(done, loss=1 / done))
            if done % 100 == 0:
                bars(news(done, is_validated=True, loss=1 / done, dice=0.8 - done / 1000, best=0.75))
    first, second = lines_of(capsys)
    for line, facts in ((first, ("100/200", "0.010", "0.700")), (second, ("200/200", "0.005", "0.600"))):
        assert line.startswith("semi-supervised")
        assert all(fact in line for fact in (*facts, "best 0.750")), line


def test_a_validation_without_held_out_labels_tells_the_loss_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBars() as bars:
        bars(news(100, is_validated=True, loss=0.5))
    (line,) = lines_of(capsys)
    assert line.endswith("100/200  loss 0.500")


def test_a_terminal_gets_a_bar_for_each_stage_with_steps_loss_and_dice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with TrainingBars() as bars:
        bars(Progress("supervised", 50, 50, {"loss": 0.25}))
        bars(news(150, is_validated=True, loss=0.125, dice=0.5, best=0.625))
        shown = [(task.description, task.completed, task.total) for task in bars.bars.tasks]
    assert shown == [("supervised", 50, 50), ("semi-supervised", 150, 200)]
    last = capsys.readouterr().err
    for fact in ("50/50", "150/200", "loss 0.250", "loss 0.125", "validation Dice 0.500", "best 0.625"):
        assert fact in last


@pytest.mark.parametrize(("figure", "text"), [(0.25, "0.250"), (None, "-"), (float("nan"), "-"), (float("inf"), "-")])
def test_a_figure_that_is_no_number_is_a_dash(figure: float | None, text: str) -> None:
    assert shown(figure) == text


def test_a_training_never_shows_nan(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBars() as bars:
        bars(news(100, is_validated=True, loss=float("nan"), dice=float("nan"), best=0.0))
    assert "nan" not in capsys.readouterr().err


# --------------------------------------------------------------------------------------- what surrounds the programs


def in_a_program(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code as a program of the project runs: under `run_app`."""
    program = f"import sys\nfrom eseg_zoo.console import plain_console, run_app\ndef app():\n{code}\nrun_app(app)"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False,
        env=os.environ | environment, encoding="cp1252" if "PYTHONIOENCODING" in environment else "utf-8",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["ε-Seg", "mitochondrium \u7dda", "file_\udce9.tif"], ids=ascii)
def test_what_a_pipe_cannot_have_is_escaped(text: str) -> None:
    """As on Windows, where a pipe has no ε; and a file's name may not even be text."""
    code = f"    plain_console().print({text!a})\n    plain_console(stderr=True).print({text!a})"
    for environment in ({"PYTHONIOENCODING": "cp1252"}, {"PYTHONUTF8": "1"}):
        done = in_a_program(code, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout == done.stderr != ""


def test_an_error_with_a_letter_that_the_pipe_lacks_is_one_line() -> None:
    done = in_a_program(
        "    from eseg_zoo.errors import EsegError\n    raise EsegError('ε')", PYTHONIOENCODING="cp1252"
    )
    assert (done.returncode, done.stderr.strip()) == (1, "error: \\u03b5")


def test_help_is_shown_in_a_pipe_of_windows() -> None:
    code = "from eseg_zoo.cli import main; import sys; sys.argv = ['eseg', '--help']; main()"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"-Seg models from a few labelled pixels" in done.stdout


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "module://not.there", "nonsense"])
def test_no_choice_of_a_matplotlib_backend_stops_a_program(backend: str) -> None:
    code = "    import matplotlib.pyplot\n    print(matplotlib.pyplot.figure() and matplotlib.get_backend())"
    done = in_a_program(code, MPLBACKEND=backend)
    assert (done.returncode, done.stdout.strip().lower()) == (0, "agg"), done.stderr


def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    wait_without_spinning()
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.delenv("GOMP_SPINCOUNT")
    with monkeypatch.context() as changed:
        changed.setattr(os, "environ", dict(os.environ))
        wait_without_spinning()
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_the_policy_is_set_before_torch_is_imported() -> None:
    code = "    import os\n    print('torch' in sys.modules, os.environ.get('OMP_WAIT_POLICY'))"
    assert in_a_program(code).stdout.split() == ["False", "PASSIVE"]
