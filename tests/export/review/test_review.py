"""The validator's levels, the whole review of a zip, and the command that prints it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Literal

import pytest
import yaml
from bioimageio.spec import InvalidDescr, ValidationContext, load_description
from eseg_export.cli import app
from eseg_export.finished import RDF, FinishedPackage
from eseg_export.review.answers import State
from eseg_export.review.checklist import review
from eseg_export.review.printing import lines_of
from eseg_export.review.validator import LEVELS, validate
from typer.testing import CliRunner

from eseg_zoo.errors import ExportError

from ..conftest import Exported
from .conftest import Edit, edited

NUMBERS: dict[str, Literal[20, 30, 35, 50]] = {"error": 50, "alert": 35, "warning": 30, "info": 20}


def zipped(package: FinishedPackage, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**package.files, RDF: yaml.safe_dump(package.rdf).encode()}.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("worst", ["alert", "warning", "info", "nothing"])
def test_levels_are_passed_as_the_validator_passes_them(complete: FinishedPackage, tmp_path: Path, worst: str) -> None:
    changes: dict[str, Edit] = {
        "alert": lambda rdf, _: rdf.pop("license"),
        "warning": lambda rdf, _: rdf["weights"]["onnx"].pop("parent"),
        "info": lambda rdf, _: rdf.update(name="a" * 70),
        "nothing": lambda rdf, _: None,
    }
    path = zipped(edited(complete, changes[worst]), tmp_path / "model.zip")
    passed = []
    for level in LEVELS:
        with (
            path.open("rb") as file,
            zipfile.ZipFile(file) as archive,
            ValidationContext(perform_io_checks=False, warning_level=NUMBERS[level]),
        ):
            if not isinstance(load_description(archive), InvalidDescr):
                passed.append(level)
    assert validate(path).passed == passed
    assert {remark.level for remark in validate(path).remarks} == ({worst} if worst != "nothing" else set())


def test_an_error_passes_no_level_and_names_its_field(complete: FinishedPackage, tmp_path: Path) -> None:
    path = zipped(edited(complete, lambda rdf, _: rdf.update(license="mine")), tmp_path / "model.zip")
    found = validate(path)
    assert found.passed == []
    assert {remark.field.split(".")[0] for remark in found.remarks if remark.level == "error"} == {"license"}
    assert {remark.fix for remark in found.remarks} == {"license in the card"}


def test_a_field_that_no_card_sets_has_a_fix_too(complete: FinishedPackage, tmp_path: Path) -> None:
    path = zipped(edited(complete, lambda rdf, _: rdf.update(timestamp="yesterday")), tmp_path / "model.zip")
    assert all("export it again" in remark.fix for remark in validate(path).remarks)


@pytest.mark.parametrize("rdf", [{}, {"type": "model"}, {"format_version": "9.9.9"}])
def test_any_description_is_reviewed(rdf: dict[str, object], tmp_path: Path) -> None:
    found = review(zipped(FinishedPackage(rdf, {}), tmp_path / "model.zip"))
    assert found.validation.passed == []
    assert all(len(line.splitlines()) <= 1 for line in lines_of(found))


def test_a_description_that_the_validator_cannot_read_is_one_line(tmp_path: Path) -> None:
    path = zipped(FinishedPackage({"type": 7, "format_version": []}, {}), tmp_path / "model.zip")
    with pytest.raises(ExportError, match=r"^bioimageio cannot read model.zip: [^\n]+$"):
        review(path)


def test_a_package_alone_is_reviewed_and_left_as_it_is(exported: Exported) -> None:
    path = exported.package.path
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    result = CliRunner().invoke(app, ["--review", str(path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == list(lines_of(review(path)))
    assert "passes error; does not pass alert, warning, info" in result.stdout
    assert "missing  license: an SPDX identifier" in result.stdout
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


@pytest.mark.usefixtures("without_zoo_tests")
def test_an_export_ends_with_its_review(model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zip"
    result = CliRunner().invoke(app, ["--ckpt", str(model_path), "--out", str(out), "--review"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "passed every test" in result.stdout
    assert "\n".join(lines_of(review(out))) in result.stdout
    assert "Missing for publication" not in result.stdout


def test_each_thing_that_is_not_ok_is_printed_with_its_fix(exported: Exported) -> None:
    found = review(exported.package.path)
    lines = [line.strip() for line in lines_of(found)]
    open_ = [item for item, answer in found.answers if answer.state is not State.OK]
    assert [line for line in lines if line.startswith("fix: ")][-len(open_) :] == [f"fix: {item.fix}" for item in open_]


@pytest.mark.parametrize("arguments", [["model.zip"], ["--review"], ["--review", "model.zip", "--ckpt", "model.pt"]])
def test_an_unclear_command_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_what_is_no_package_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(ExportError, match="not a readable zip"):
        CliRunner().invoke(app, ["--review", str(path)], catch_exceptions=False)
