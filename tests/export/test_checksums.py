"""A package that was changed after its export is told, whichever file it is."""

from __future__ import annotations

import hashlib
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from eseg_export.checksums import refuse_changed, with_checksums
from eseg_export.finished import FinishedPackage, read_package

from eseg_zoo.errors import ExportError

from .conftest import Exported

RDF = {"name": "a", "description": "0" * 64, "config": {"eseg": {"steps": 3}, "other": 1}, "links": ["last"]}
FILES = {"README.md": b"# Title\n", "weights.pt": b"weights" * 99, "empty.txt": b""}


@pytest.fixture
def content() -> dict[str, bytes]:
    return with_checksums(RDF, FILES)


def told(content: dict[str, bytes]) -> str:
    with pytest.raises(ExportError) as caught:
        refuse_changed(FinishedPackage.of(content))
    return str(caught.value)


def test_an_exported_package_is_as_it_was_exported(exported: Exported) -> None:
    refuse_changed(read_package(exported.package.path))


def test_every_file_of_an_export_has_its_checksum(exported: Exported) -> None:
    recorded = exported.rdf["config"]["eseg"]["sha256"]
    assert set(recorded) == {path.name for path in exported.folder.iterdir()}
    for name in set(recorded) - {"rdf.yaml"}:
        assert recorded[name] == hashlib.sha256((exported.folder / name).read_bytes()).hexdigest()


def test_the_description_records_itself_with_zeros_in_the_place_of_the_record(content: dict[str, bytes]) -> None:
    recorded = FinishedPackage.of(content).rdf["config"]["eseg"]["sha256"]["rdf.yaml"]
    zeroed = content["rdf.yaml"].replace(recorded.encode(), b"0" * 64)
    assert hashlib.sha256(zeroed).hexdigest() == recorded


def test_the_description_that_is_given_stays_as_it_is(content: dict[str, bytes]) -> None:
    assert RDF["config"] == {"eseg": {"steps": 3}, "other": 1}
    refuse_changed(FinishedPackage.of(content))


@pytest.mark.parametrize("name", ["rdf.yaml", "README.md", "weights.pt", "empty.txt"])
@pytest.mark.parametrize("addition", [b"\n", b"# a comment"])
def test_a_byte_more_in_any_file_is_told(content: dict[str, bytes], name: str, addition: bytes) -> None:
    message = told(content | {name: content[name] + addition})
    assert message == f"the package is not as it was exported: {name} was changed; export the model again"


def test_every_single_byte_of_the_description_counts(content: dict[str, bytes]) -> None:
    text = content["rdf.yaml"]
    for place in range(len(text)):
        changed = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
        with pytest.raises(ExportError):
            refuse_changed(FinishedPackage.of(content | {"rdf.yaml": changed}))


def test_all_that_is_missing_added_and_changed_is_named(content: dict[str, bytes]) -> None:
    del content["README.md"]
    message = told(content | {"notes.txt": b"new", "weights.pt": b""})
    assert "README.md is missing, notes.txt was added, weights.pt was changed" in message


@pytest.mark.parametrize(
    "rdf", [b"name: a", b"config: 1", b"config: {eseg: {}}", b"config: {eseg: {sha256: [a]}}",
            b"config: {eseg: {sha256: {rdf.yaml: 3}}}", b"config: {eseg: {sha256: {1: a}}}"],
)  # fmt: skip
def test_a_package_without_a_list_of_checksums_is_of_others(rdf: bytes) -> None:
    assert "has no list of checksums" in told({"rdf.yaml": rdf})


def test_packing_it_again_changes_nothing(exported: Exported, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:
        for path in sorted(exported.folder.iterdir()):
            archive.write(path, path.name)
    refuse_changed(read_package(tmp_path / "again.zip"))


@pytest.mark.parametrize("name", ["../rdf.yaml", "/etc/passwd", "a//b", "C:x", "a\\b", "./a", "a\nb"])
def test_a_name_that_leads_out_of_the_package_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(ExportError, match=r"p\.zip has a file in it whose name leads elsewhere"):
        read_package(tmp_path / "p.zip")


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("rdf.yaml", b"name: a")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("rdf.yaml", b"name: b")
    with pytest.raises(ExportError, match=r"p\.zip has 'rdf\.yaml' in it more than once"):
        read_package(tmp_path / "p.zip")


def test_a_zip_that_is_damaged_anywhere_is_one_line(exported: Exported, tmp_path: Path) -> None:
    whole = exported.package.path.read_bytes()
    for number, place in enumerate([0, 30, 40, 500, len(whole) // 2, len(whole) - 300, len(whole) - 20]):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(ExportError):  # a byte that means nothing to a reader may differ
            refuse_changed(read_package(path))
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExportError, match=r"cut\.zip is not a readable zip"):
        read_package(tmp_path / "cut.zip")
