"""What may be sent: a package as it was exported, which passes every test and states authors and licence."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from eseg_export import verify
from eseg_export.checksums import with_checksums
from eseg_export.finished import FinishedPackage, read_package
from eseg_export.upload.package import described, read_checked

from eseg_zoo.errors import ExportError

from ..conftest import Exported
from .conftest import FILES, RDF


def ignore(_: object) -> None:
    """Hear nothing."""


def repacked(package: Path, target: Path, changes: dict[str, bytes]) -> Path:
    """Write a package with other content in some files."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in {**read_package(package).files, **changes}.items():
            archive.writestr(name, content)
    return target


@pytest.mark.slow
def test_an_exported_package_passes_every_test_again(finished_package: Path) -> None:
    told: list[str] = []
    package = read_checked(finished_package, told.append)
    assert (package.name, package.version, package.license) == ("Small model", "1.2.0", "CC-BY-4.0")
    assert package.authors == ["Jane Doe"]
    assert {file.name: file.content for file in package.files} == read_package(finished_package).files
    assert {file.name for file in package.files if file.is_weights} == {
        "weights.pt", "weights.onnx", "weights_state_dict.pt",
    }  # fmt: skip
    assert told == ["checking model.zip", "running the zoo's own tests on it"]


@pytest.mark.parametrize("name", ["rdf.yaml", "README.md", "weights.pt", "cover.png", "dense.py", "model_qupath.yaml"])
def test_a_package_that_was_changed_is_told_before_anything_of_it_is_run(
    finished_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(verify, "run_zoo_tests", lambda _: pytest.fail("the network of a changed package was run"))
    content = read_package(finished_package).files[name] + b"\n"
    changed = repacked(finished_package, tmp_path / "changed.zip", {name: content})
    with pytest.raises(ExportError, match=f"not as it was exported: {name} was changed"):
        read_checked(changed, ignore)


@pytest.mark.slow
def test_a_package_that_fails_a_test_of_the_zoo_is_not_taken(finished_package: Path, tmp_path: Path) -> None:
    """Its checksums are right, and so are the rules; the numbers are not."""
    finished = read_package(finished_package)
    output = finished.files["test_output.npy"]
    wrong = output[:-4000] + bytes(4000)
    rdf = finished.rdf
    rdf["outputs"][0]["test_tensor"]["sha256"] = hashlib.sha256(wrong).hexdigest()
    files = {name: content for name, content in finished.files.items() if name != "rdf.yaml"}
    made = with_checksums(rdf, files | {"test_output.npy": wrong})
    path = repacked(finished_package, tmp_path / "wrong.zip", made)
    with pytest.raises(ExportError, match="the zoo's own test of pytorch_state_dict says"):
        read_checked(path, ignore)


def test_a_package_that_breaks_a_rule_is_not_taken(finished_package: Path, tmp_path: Path) -> None:
    finished = read_package(finished_package)
    rdf = finished.rdf | {"documentation": {"source": "README.md"}}
    files = {name: content for name, content in finished.files.items() if name != "rdf.yaml"}
    path = repacked(finished_package, tmp_path / "faulty.zip", with_checksums(rdf, files))
    with pytest.raises(ExportError, match=r"documentation is a map .* \(stops ilastik"):
        read_checked(path, ignore)


def test_a_package_without_authors_and_licence_is_not_published(exported: Exported) -> None:
    with pytest.raises(ExportError, match=r"package\.zip states no authors, whom the zoo demands: state them"):
        read_checked(exported.package.path, ignore)


@pytest.mark.parametrize("authors", [None, [], {}, "Jane", ["Jane"], [{"affiliation": "x"}]])
def test_authors_have_names(authors: Any) -> None:
    package = FinishedPackage.of(with_checksums(RDF | {"authors": authors}, FILES))
    with pytest.raises(ExportError, match="states no authors"):
        described(Path("small.zip"), package)


def test_without_a_licence_nothing_is_published() -> None:
    package = FinishedPackage.of(with_checksums(RDF | {"license": None}, FILES))
    with pytest.raises(ExportError, match="states no licence: state one in the card, such as CC-BY-4"):
        described(Path("small.zip"), package)


@pytest.mark.parametrize("value", [b"2026-01-01", b".nan", b"!!binary aGVsbG8="])
def test_a_value_that_json_does_not_have_is_told(value: bytes) -> None:
    content = with_checksums(RDF, FILES)
    package = FinishedPackage.of(content | {"rdf.yaml": content["rdf.yaml"] + b"strange: " + value + b"\n"})
    with pytest.raises(ExportError, match="has a value that cannot be sent"):
        described(Path("small.zip"), package)


def test_a_path_where_nothing_lies_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "model.zip").touch()
    with pytest.raises(ExportError, match=r"modle\.zip does not exist in .*; did you mean model\.zip\?"):
        read_checked(tmp_path / "modle.zip", ignore)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 and no more", b"name: a model"])
def test_what_is_no_package_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"model\.zip is not a readable zip") as caught:
        read_checked(path, ignore)
    assert "\n" not in str(caught.value)
