"""Nothing is overwritten unasked, and no half file is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from eseg_zoo.errors import OutputError
from eseg_zoo.output import make_folder, refuse_existing, replacing


def write_and_fail(target: Path, failure: BaseException) -> None:
    with replacing(target, force=True) as temporary:
        temporary.write_text("half")
        raise failure


def test_a_finished_file_appears_under_its_name_alone(tmp_path: Path) -> None:
    target = tmp_path / "map.ome.tif"
    with replacing(target, force=False) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        identity = temporary.stat().st_ino
        assert temporary.name.endswith(".ome.tif")  # writers go by the suffix
    assert target.read_text() == "whole"
    assert target.stat().st_ino == identity  # renamed, which cannot stop half-way, not copied
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    target.write_text("old")
    with pytest.raises(OutputError, match=r"model\.pt exists already; give --force to replace it"):
        refuse_existing(target, force=False)
    with pytest.raises(OutputError, match="exists already"), replacing(target, force=False):
        pytest.fail("the body must not run")
    assert target.read_text() == "old"


def test_force_replaces_an_existing_file(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    target.write_text("old")
    with replacing(target, force=True) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ValueError("a fault of ours")], ids=repr)
def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "model.pt"
    target.write_text("old")
    with pytest.raises(type(failure)):
        write_and_fail(target, failure)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_line_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write_and_fail(tmp_path / "a.zip", OSError(errno.ENOSPC, "No space left on device"))
    assert str(caught.value) == f"{tmp_path / 'a.zip'} cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "absent" / "a.txt"
    with pytest.raises(OutputError, match="cannot be written: No such file"), replacing(target, force=False) as name:
        name.write_text("x")


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    target = tmp_path / "file" / "a.txt"
    with pytest.raises(OutputError, match="cannot be written: Not a directory"), replacing(target, force=False) as name:
        name.write_text("x")


def test_a_folder_is_made_with_its_parents_and_may_exist(tmp_path: Path) -> None:
    make_folder(tmp_path / "runs" / "first")
    make_folder(tmp_path / "runs" / "first")
    assert (tmp_path / "runs" / "first").is_dir()


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("x")
    for folder in (tmp_path / "runs", tmp_path / "runs" / "first"):
        with pytest.raises(OutputError, match="cannot be made"):
            make_folder(folder)


def test_an_unwritable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(OutputError, match="cannot be written to"):
        make_folder(tmp_path)


def test_a_folder_that_may_be_written_to_but_not_entered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda _, right: not right & os.X_OK)
    with pytest.raises(OutputError, match="cannot be written to"):
        make_folder(tmp_path)
