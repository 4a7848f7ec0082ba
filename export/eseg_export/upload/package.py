"""What is sent: a package that has passed every test once more, held in memory, where nobody changes it meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from eseg_export.finished import RDF, FinishedPackage
from eseg_zoo.errors import ExportError


@dataclass(frozen=True)
class PackageFile:
    """One file of the package, as it is sent."""

    name: str
    content: bytes = field(repr=False)
    is_weights: bool = False  # the service counts downloads by these

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()


@dataclass(frozen=True)
class CheckedPackage:
    """A package that may be published, with what is told of it before."""

    path: Path
    manifest: Mapping[str, Any]  # the content of rdf.yaml
    files: tuple[PackageFile, ...]
    unchecked: str | None = None  # what could not be checked without network

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        return str(self.manifest.get("version", "not stated"))

    @property
    def license(self) -> str:
        return str(self.manifest["license"])

    @property
    def authors(self) -> list[str]:
        return [str(author["name"]) for author in self.manifest["authors"]]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """The sha256 of `rdf.yaml`, which holds those of all other files."""
        return next(file.sha256 for file in self.files if file.name == RDF)


def read_checked(path: Path, tell: Callable[[str], None]) -> CheckedPackage:
    """Return the package in the zip `path`, after all tests of the export but the comparison with the checkpoint.

    Raises `ExportError` when it was changed after its export, breaks a rule of a consumer, states no author or licence,
    or fails a test of the zoo.
    """
    from eseg_export.checksums import refuse_changed
    from eseg_export.compatibility.verdicts import judge, refuse_faults
    from eseg_export.finished import read_package
    from eseg_export.verify import ask_github, run_zoo_tests  # torch and bioimageio take seconds

    tell(f"checking {path.name}")
    package = read_package(path)
    refuse_changed(package)  # first: what follows runs the network in it
    refuse_faults(judge(package))
    checked = described(path, package)
    unchecked = ask_github(_github_users(package.rdf))
    tell("running the zoo's own tests on it")
    run_zoo_tests(path)
    return CheckedPackage(checked.path, checked.manifest, checked.files, unchecked)


def described(path: Path, package: FinishedPackage) -> CheckedPackage:
    """Return what of a package is sent and shown; raises `ExportError` when nobody may or can publish it."""
    people = package.rdf.get("authors")
    if not isinstance(people, list) or not people or not all(isinstance(one, dict) and "name" in one for one in people):
        raise ExportError(
            f"{path.name} states no authors, whom the zoo demands: state them in the card and export again"
        )
    if not package.rdf.get("license"):
        raise ExportError(f"{path.name} states no licence: state one in the card, such as CC-BY-4.0, and export again")
    try:
        json.dumps(package.rdf, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportError(f"rdf.yaml in {path.name} has a value that cannot be sent: {error}") from error
    weights = {entry.get("source") for entry in package.weights.values()}
    files = tuple(PackageFile(name, content, name in weights) for name, content in package.files.items())
    return CheckedPackage(path, package.rdf, files)


def _github_users(rdf: Mapping[str, Any]) -> list[str]:
    people = [*(rdf.get("authors") or []), *(rdf.get("maintainers") or [])]
    named = (person.get("github_user") for person in people if isinstance(person, dict))
    return [str(user) for user in named if user]
