from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tasks import count_calls

import rows
from rows import Outcome, Row, complete, read_outcomes, result_path

ROW = Row("network", "points", 5, 0, 0, {"loss": {"alpha": 0}, "training": {"steps": 60}})


@pytest.fixture
def quiet() -> Console:
    return Console(quiet=True)


def calls(out: Path, row: Row) -> int:
    return len((out / row.key / "calls").read_text())


def test_every_difference_between_rows_gives_another_file() -> None:
    others = [
        replace(ROW, learner="unet"),
        replace(ROW, labels="scribbles"),
        replace(ROW, per_class=None),
        replace(ROW, draw=1),
        replace(ROW, seed=1),
        replace(ROW, settings={"loss": {"alpha": 0}, "training": {"steps": 61}}),
    ]
    assert len({row.key for row in [ROW, *others]}) == 7


def test_the_order_of_settings_does_not_matter() -> None:
    assert replace(ROW, settings={"training": {"steps": 60}, "loss": {"alpha": 0}}).key == ROW.key


def test_finished_rows_are_not_made_again_and_failed_ones_are(tmp_path: Path, quiet: Console) -> None:
    wanted = [replace(ROW, seed=seed) for seed in range(3)]
    (tmp_path / "broken").touch()
    assert complete(wanted, count_calls, tmp_path, jobs=2, console=quiet) == [wanted[1]]
    assert "this row is broken" in (tmp_path / wanted[1].key / "log.txt").read_text()
    assert set(read_outcomes(wanted, tmp_path)) == {wanted[0], wanted[2]}
    (tmp_path / "broken").unlink()
    assert complete(wanted, count_calls, tmp_path, jobs=2, console=quiet) == []
    assert [calls(tmp_path, row) for row in wanted] == [1, 2, 1]
    assert complete(wanted, count_calls, tmp_path, jobs=1, console=quiet) == []
    assert [calls(tmp_path, row) for row in wanted] == [1, 2, 1]


def test_the_file_of_a_row_holds_the_row_and_what_came_of_it(tmp_path: Path, quiet: Console) -> None:
    complete([ROW], count_calls, tmp_path, jobs=1, console=quiet)
    record = json.loads(result_path(tmp_path, ROW).read_text())
    assert record["row"]["settings"] == ROW.settings
    assert record["row"]["per_class"] == 5
    outcome = read_outcomes([ROW], tmp_path)[ROW]
    assert (outcome.mean_argmax, outcome.mean_corrected) == (0.5, 0.75)
    assert outcome == Outcome({"a": 0.25, "b": 0.75}, {"a": 0.5, "b": 1.0}, 1.5, 0)
    assert (tmp_path / ROW.key / "log.txt").read_text() == "at work\n"


SLEEPER = """
import signal, sys, time
from pathlib import Path
from rich.console import Console
from rows import Outcome, Row, complete

def sleep(row, folder):
    (folder / "started").touch()
    try:
        time.sleep(60 if row.seed else 0)
    except KeyboardInterrupt:
        pass  # as a training that ends early and writes what it has
    return Outcome({"a": 1.0}, {"a": 1.0}, 0.0, 0)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs are started without
    wanted = [Row("network", "points", None, 0, seed) for seed in (0, 1)]
    complete(wanted, sleep, Path(sys.argv[1]), jobs=1, console=Console())
"""


@pytest.mark.skipif(os.name != "posix", reason="signals to a group of processes are POSIX")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_row_that_was_interrupted_leaves_no_outcome(tmp_path: Path, how: str) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(rows.__file__).parent)}
    command: list[str | Path] = [sys.executable, script, tmp_path / "out"]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    done, cut = (Row("network", "points", None, 0, seed) for seed in (0, 1))
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / cut.key / "started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.Signals[how])  # the whole foreground group, as Ctrl-C does
    process.wait(60)
    time.sleep(0.5)
    assert set(read_outcomes([done, cut], tmp_path / "out")) == {done}
