"""One process writes a result; locks and leftovers of dead ones go, and nothing of anybody else ever does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eseg_zoo import hidden as hidden_names
from eseg_zoo.errors import OutputError
from eseg_zoo.hidden import LONGEST_NAME, fitting, hidden, is_running, machine
from eseg_zoo.output import clear_unfinished, refuse_inputs, replacing
from eseg_zoo.owner import Owner, owning


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def other_process() -> Iterator[int]:
    """The number of a process that runs until the test is over."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process.pid
    process.kill()
    process.wait()


def write_lock(target: Path, **changes: Any) -> Path:
    stated = {
        "kind": "eseg_zoo lock", "machine": machine(), "host": "here", "process": dead_process(), "token": "0",
        "started": time.time(),
    }  # fmt: skip
    lock = target.with_name(f".{target.name}.lock")
    lock.write_text(json.dumps(stated | changes))
    return lock


def refusal(target: Path) -> str:
    with pytest.raises(OutputError) as caught, owning(target):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------ locks


def test_a_result_has_one_owner_and_no_trace_is_left(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    with owning(target) as owner:
        owner.require()
        assert f"{target} is being written by another command, process {os.getpid()}" in refusal(target)
        owner.require()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    write_lock(tmp_path / "model.pt")
    with owning(tmp_path / "model.pt") as owner:
        owner.require()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path, other_process: int) -> None:
    target, other = tmp_path / "model.zip", tmp_path / "other.zip"
    write_lock(target)
    for process in (dead_process(), other_process):
        tmp_path.joinpath(f".eseg-{machine()}-{process}-00000000.model.zip").mkdir()
    target.touch()
    lock = write_lock(other, process=other_process, started=psutil.Process(other_process).create_time())
    clear_unfinished(target)
    clear_unfinished(other)
    assert set(tmp_path.iterdir()) == {target, lock, tmp_path / f".eseg-{machine()}-{other_process}-00000000.model.zip"}


def test_who_holds_it_may_be_told_otherwise(tmp_path: Path, other_process: int) -> None:
    write_lock(tmp_path / "run.yaml", process=other_process, started=psutil.Process(other_process).create_time())
    told = f"run.yaml is being written by another window, process {other_process}; close it$"
    with pytest.raises(OutputError, match=told), owning(tmp_path / "run.yaml", by="another window", advice="close it"):
        pass


def test_a_later_process_of_the_same_number_does_not_hold_the_lock(tmp_path: Path, other_process: int) -> None:
    started = psutil.Process(other_process).create_time()
    write_lock(tmp_path / "model.pt", process=other_process, started=started)
    assert f"process {other_process}; wait for it" in refusal(tmp_path / "model.pt")
    write_lock(tmp_path / "model.pt", process=other_process, started=started - 3600)
    with owning(tmp_path / "model.pt"):
        pass


def test_the_lock_of_another_machine_is_kept_and_how_to_remove_it_is_said(tmp_path: Path) -> None:
    lock = write_lock(tmp_path / "model.pt", machine="00000000", host="node7")
    assert refusal(tmp_path / "model.pt").endswith(f"on node7; if that is gone, remove {lock}")
    assert lock.exists()


@pytest.mark.parametrize("kind", ["text", "folder", "link", "list", "deep", "other fields"])
def test_what_has_the_name_of_the_lock_and_is_none_stays(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / ".model.pt.lock"
    if kind == "folder":
        lock.mkdir()
    elif kind == "link":
        lock.symlink_to("nowhere")
    else:
        texts = {"text": "precious", "list": "[]", "deep": "[" * 4000, "other fields": '{"kind": "eseg_zoo lock"}'}
        lock.write_text(texts[kind])
    assert "is in the way" in refusal(tmp_path / "model.pt")
    assert os.path.lexists(lock)


def test_an_owner_whose_lock_is_removed_or_taken_over_may_not_write(tmp_path: Path) -> None:
    lock = tmp_path / ".model.pt.lock"
    with owning(tmp_path / "model.pt") as owner:
        lock.unlink()
        with pytest.raises(OutputError, match="removed or taken over"):
            owner.require()
        other = write_lock(tmp_path / "model.pt", token="another")
        with pytest.raises(OutputError, match="removed or taken over"):
            owner.require()
    assert other.exists()  # it is not ours to remove


def test_of_many_that_take_over_at_once_one_owns(tmp_path: Path) -> None:
    write_lock(tmp_path / "model.pt")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom eseg_zoo.errors import OutputError\n"
        "from eseg_zoo.owner import owning\n"
        "time.sleep(max(float(sys.argv[2]) - time.time(), 0))\n"
        "try:\n    with owning(Path(sys.argv[1])) as owner:\n        time.sleep(2)\n        owner.require()\n"
        "except OutputError:\n    sys.exit(1)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.pt"), str(time.time() + 1.5)]
    processes = [subprocess.Popen(command) for _ in range(6)]
    assert sorted(process.wait() for process in processes) == [0, 1, 1, 1, 1, 1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent" / "model.pt").endswith("cannot be written: No such file or directory")


def test_an_owner_travels(tmp_path: Path) -> None:
    import pickle

    with owning(tmp_path / "model.pt") as owner:
        copy = pickle.loads(pickle.dumps(owner))
        assert isinstance(copy, Owner)
        copy.require()


# ----------------------------------------------------------------------------------------------------- hidden names


def test_what_a_dead_process_left_is_cleared_and_nothing_else(tmp_path: Path, other_process: int) -> None:
    gone = dead_process()
    ours = [f".eseg-{machine()}-{gone}-0123abcd.maps.tif", f".eseg-{machine()}-{os.getpid()}-0123abcd.maps.tif"]
    kept = [
        f".eseg-{machine()}-{other_process}-0123abcd.maps.tif",  # it runs
        f".eseg-00000000-{gone}-0123abcd.maps.tif",  # another machine
        f".eseg-{machine()}-{gone}-0123abcd.other.tif",  # another result
        f".{gone}.maps.tif", "maps.tif.partial", "maps.tif.replaced", ".maps.tif",
    ]  # fmt: skip
    for name in [*ours, *kept]:
        (tmp_path / name).write_text("x")
    folder = tmp_path / f".eseg-{machine()}-{gone}-89abcdef.maps.tif"
    (folder / "inner").mkdir(parents=True)
    with replacing(tmp_path / "maps.tif", force=False) as temporary:
        temporary.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "maps.tif"])


def test_a_killed_program_leaves_what_the_next_one_clears(tmp_path: Path) -> None:
    target = tmp_path / "maps.tif"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom eseg_zoo.output import owning, replacing\n"
        "with owning(Path(sys.argv[1])), replacing(Path(sys.argv[1]), force=False) as file:\n"
        "    file.write_text('half')\n    print(flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(list(tmp_path.iterdir())) == 2
    with owning(target), replacing(target, force=False) as file:
        file.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["maps.tif"]


@pytest.mark.parametrize(
    ("before", "sent", "ended"),
    [
        ("SIG_DFL", ["SIGTERM"], "SIGTERM"),
        ("SIG_DFL", ["SIGHUP"], "SIGHUP"),
        ("SIG_IGN", ["SIGHUP", "SIGTERM"], "SIGTERM"),
    ],
    ids=["SIGTERM", "SIGHUP", "under nohup"],
)
def test_a_signal_ends_a_program_as_ctrl_c_does(tmp_path: Path, before: str, sent: list[str], ended: str) -> None:
    code = (
        "import signal, sys, time\nfrom pathlib import Path\nfrom eseg_zoo.console import run_app\n"
        "from eseg_zoo.output import owning, replacing\n"
        f"signal.signal(signal.SIGHUP, signal.{before})\n"  # nohup has it ignored
        "def app():\n"
        "    with owning(Path(sys.argv[1])), replacing(Path(sys.argv[1]), force=False) as file:\n"
        "        file.write_text('half')\n        print(flush=True)\n        time.sleep(600)\n"
        "run_app(app)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "maps.tif")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    for name in sent:
        process.send_signal(getattr(signal, name))
    assert process.wait() == 128 + getattr(signal, ended)
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 240 + ".ome.tif", "ä" * 120 + ".tif", "a" * 255, "\udcff" * 250 + ".pt", "a.b"])
def test_every_name_that_a_disk_takes_has_a_hidden_one(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with owning(target), replacing(target, force=False) as temporary:
        temporary.write_text("x")
        assert len(os.fsencode(temporary.name)) <= LONGEST_NAME
        assert target.suffix in ("", temporary.suffix)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_long_names_that_differ_stay_different() -> None:
    one, two = fitting("a" * 300 + "1.ome.tif", after=".partial"), fitting("a" * 300 + "2.ome.tif", after=".partial")
    assert one != two
    assert len(one) == LONGEST_NAME
    assert one.endswith(".ome.tif.partial")
    assert fitting("maps.tif", before=".", after=".lock") == ".maps.tif.lock"


def test_a_zombie_and_impossible_numbers_do_not_run() -> None:
    assert is_running(os.getpid())
    assert not any(is_running(number) for number in (10**30, -1, dead_process()))


def test_names_in_use_are_told_from_those_of_an_earlier_life(tmp_path: Path) -> None:
    with hidden(tmp_path / "a") as one, hidden(tmp_path / "a") as two:
        one.write_text("1")
        two.write_text("2")
        with hidden(tmp_path / "a"):
            assert one.exists()
            assert two.exists()
    assert not hidden_names._in_use


# ------------------------------------------------------------------------------------------------- what is in the way


@pytest.mark.parametrize("force", [False, True])
def test_a_file_never_replaces_a_folder_or_a_pipe(tmp_path: Path, force: bool) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with (
            pytest.raises(OutputError, match="never replaces" if force else "exists"),
            replacing(tmp_path / name, force=force),
        ):
            pass
        assert (tmp_path / name).exists()


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.txt").write_text("old")
    (tmp_path / "a.txt").symlink_to("disk/a.txt")
    with replacing(tmp_path / "a.txt", force=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "disk" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 300, "x\0y"])
def test_a_name_that_no_disk_takes_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot be written"), replacing(tmp_path / name, force=False):
        pass


def test_inputs_are_no_outputs(tmp_path: Path) -> None:
    (tmp_path / "raw.zarr" / "0").mkdir(parents=True)
    (tmp_path / "link.zarr").symlink_to("raw.zarr")
    refuse_inputs([tmp_path / "raw.zarr2"], [tmp_path / "raw.zarr"])
    for target, given, word in [
        ("raw.zarr", "raw.zarr", "is an input"),
        ("link.zarr", "raw.zarr", "is an input"),
        ("raw.zarr/maps.zarr", "link.zarr", "lies in"),
        ("raw.zarr", "raw.zarr/0", "has in it"),
    ]:
        with pytest.raises(OutputError, match=word):
            refuse_inputs([tmp_path / target], [tmp_path / given])
