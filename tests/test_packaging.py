"""What pyproject.toml ships is what the tree holds."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "eseg_zoo": "eseg_zoo",
    "eseg_export": "export/eseg_export",
    "eseg_export.rdf_templates": "rdf_templates",
    "eseg_napari": "plugin/eseg_napari",
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_in_the_tree() -> Iterator[tuple[str, Path]]:
    """Yield each package's name and folder; a folder is a package when it holds Python files."""
    for package, folder in FOLDERS.items():
        for inner in sorted({path.parent for path in (ROOT / folder).rglob("*.py")}):
            yield ".".join([package, *inner.relative_to(ROOT / folder).parts]), inner


def test_the_package_list_equals_the_tree(project: dict[str, Any]) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == {package for package, _ in packages_in_the_tree()}


def test_the_folders_of_the_packages_are_those_of_the_tree(project: dict[str, Any]) -> None:
    assert {"eseg_zoo": "eseg_zoo"} | project["tool"]["setuptools"]["package-dir"] == FOLDERS


def test_every_package_has_an_init() -> None:
    assert [package for package, folder in packages_in_the_tree() if not (folder / "__init__.py").is_file()] == []


def test_every_file_beside_the_code_is_shipped(project: dict[str, Any]) -> None:
    data = project["tool"]["setuptools"]["package-data"]
    for package, folder in packages_in_the_tree():
        for path in folder.iterdir():
            if path.is_file() and path.suffix not in {".py", ".pyc"}:
                assert any(fnmatch(path.name, pattern) for pattern in data.get(package, [])), path


def test_every_shipped_pattern_has_a_file(project: dict[str, Any]) -> None:
    folders = dict(packages_in_the_tree())
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            assert list(folders[package].glob(pattern)), (package, pattern)


def test_the_installed_packages_are_the_ones_of_this_tree() -> None:
    for package, folder in packages_in_the_tree():
        assert Path(str(resources.files(package))).resolve() == folder.resolve()


def test_the_citation_is_of_this_version_and_licence(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for key in ("version", "license"):
        assert citation[key] == project["project"][key], key
    newest = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert newest.groups() == (citation["version"], citation["date-released"])


def test_every_extra_but_those_that_are_tested_otherwise_is_installed_for_the_checks(project: dict[str, Any]) -> None:
    """The tests have stand-ins for `bioio` and the keyring of `upload`; those of `napari` run in other environments."""
    extras = set(project["project"]["optional-dependencies"]) - {"bioio", "upload", "napari"}
    for file in ("Makefile", ".github/workflows/ci.yml", "CONTRIBUTING.md"):
        found = re.search(r"--editable ['\"]\.\[([\w,]+)\]", (ROOT / file).read_text(encoding="utf-8"))
        assert found, file
        assert set(found[1].split(",")) == extras, file


def test_what_eseg_offers_beside_its_own_is_of_the_exporter(project: dict[str, Any]) -> None:
    for target in project["project"]["entry-points"]["eseg.commands"].values():
        module, app = target.split(":")
        assert module.startswith("eseg_export.")
        assert isinstance(getattr(__import__(module, fromlist=[app]), app), typer.Typer), target


def test_every_command_is_a_function(project: dict[str, Any]) -> None:
    for target in project["project"]["scripts"].values():
        module, function = target.split(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function)), target
