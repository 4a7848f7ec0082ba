"""Two exports of one checkpoint are one file, but for the date."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from eseg_export.finished import read_package
from eseg_export.package import export

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ConfigError

from .conftest import Exported, MakeCheckpoint

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.usefixtures("without_zoo_tests")
@pytest.mark.parametrize("dims", [2, 3])
def test_exports_are_the_same_bytes_whatever_the_threads_and_the_exports_before(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, dims: int
) -> None:
    before = torch.get_num_threads()
    try:
        for number, threads in enumerate((1, 2)):
            torch.set_num_threads(threads)
            export(make_checkpoint(dims), tmp_path / f"{number}.zip", date=NOON)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()


@pytest.mark.usefixtures("without_zoo_tests")
def test_the_date_changes_the_lines_that_state_it_and_no_other(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_package(export(checkpoint, tmp_path / "0.zip", date=NOON).path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    second = read_package(export(checkpoint, tmp_path / "1.zip").path)
    assert (first.rdf["timestamp"], second.rdf["timestamp"]) == (
        "2026-11-26T12:00:00+00:00",
        "2023-11-14T22:13:20+00:00",
    )
    changed = {name for name in first.files if first.files[name] != second.files[name]}
    assert changed == {"rdf.yaml", "model_qupath.yaml"}
    for name in changed:
        lines = zip(first.files[name].splitlines(), second.files[name].splitlines(), strict=True)
        different = [one.split(b":")[0].strip() for one, other in lines if one != other]
        # In rdf.yaml also the checksums of the other file, which states the date too, and of itself.
        checksums = [b"sha256", b"timestamp", b"rdf.yaml", b"model_qupath.yaml"]
        assert different == (checksums if name == "rdf.yaml" else [b"timestamp"])


def test_an_epoch_that_is_no_number_is_named(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH is yesterday; it must be the seconds since 1970"):
        export(checkpoint, tmp_path / "model.zip")


def test_measured_seconds_are_not_in_the_package(exported: Exported) -> None:
    assert all(measurement.seconds > 0 for measurement in exported.package.measured)
    assert "inference_time" not in exported.rdf["config"]["bioimageio"]
    assert "seconds per" not in (exported.folder / "README.md").read_text(encoding="utf-8")


def test_entries_of_the_zip_have_no_time_of_their_own(exported: Exported) -> None:
    with zipfile.ZipFile(exported.package.path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
