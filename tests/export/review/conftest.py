"""A package with all that reviewers ask for, made of one that has nothing but what the export does by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from eseg_export.finished import FinishedPackage, read_package
from eseg_export.qupath import QUPATH, write_qupath

from ..conftest import Exported

Plain = dict[str, Any]
Edit = Callable[[Plain, dict[str, bytes]], object]

STATED = {
    "name": "Neuron segmentation in EM of the fly (2D)",
    "description": "Segments ssTEM sections of the fly nerve cord.",
    "authors": [{"name": "Jane Doe", "affiliation": "Somewhere", "orcid": "0000-0002-1825-0097"}],
    "maintainers": [{"name": "Jane Doe", "github_user": "jdoe"}],
    "license": "CC-BY-4.0",
    "cite": [{"text": "Doe (2020). Flies.", "doi": "10.1234/flies"}],
    "tags": ["drosophila"],
    "version": "1.0.0",
    "git_repo": "https://example.org/flies",
}
TEXTS = {"training_data": "A cord, at https://example.org/cord", "intended_use": "Cords.", "limits": "Legs."}


def edited(package: FinishedPackage, edit: Edit) -> FinishedPackage:
    rdf, files = copy.deepcopy(package.rdf), dict(package.files)
    edit(rdf, files)
    return FinishedPackage(rdf, files)


@pytest.fixture(scope="session")
def bare(exported: Exported) -> FinishedPackage:
    return read_package(exported.package.path)


@pytest.fixture(scope="session")
def complete(bare: FinishedPackage) -> FinishedPackage:
    def fill(rdf: Plain, files: dict[str, bytes]) -> None:
        both = {key: [*rdf.get(key, []), *STATED[key]] for key in ("cite", "tags")}
        rdf.update(STATED | both)
        own = rdf["config"]["eseg"]
        own["card"] = STATED | TEXTS
        own["evaluation"] = {"mean_dice": 0.5, "dice": {"membrane": 0.5}, "pixels": {"membrane": 1234}}
        own["reproducibility"]["mismatched_per_million"]["tf32"]["default"] = 0.0
        files[QUPATH] = write_qupath(rdf)
        (attached,) = [entry for entry in rdf["attachments"] if entry["source"] == QUPATH]
        attached["sha256"] = sha256(files[QUPATH]).hexdigest()

    return edited(bare, fill)
