"""The description for QuPath: valid in format 0.4, the same model as rdf.yaml, and counted as QuPath counts."""

from __future__ import annotations

import copy
from hashlib import sha256
from typing import Any

import pytest
import yaml
from bioimageio.spec import ValidationContext
from bioimageio.spec.model import v0_4
from eseg_export.qupath import QUPATH, qupath_description, write_qupath

from eseg_zoo.errors import ExportError

from .conftest import Exported


@pytest.fixture(scope="module")
def described(exported: Exported) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((exported.folder / QUPATH).read_text(encoding="utf-8"))
    return loaded


def test_the_zoos_format_0_4_accepts_it_and_its_files_are_there(exported: Exported, described: dict[str, Any]) -> None:
    with ValidationContext(perform_io_checks=False):
        model = v0_4.ModelDescr.model_validate(described)
    assert list(model.weights.available_formats) == ["torchscript"]
    named = {key: described[f"{key}s"] for key in ("test_input", "test_output", "sample_input", "sample_output")}
    files = [*(name for names in named.values() for name in names), described["documentation"], *described["covers"]]
    assert all((exported.folder / name).exists() for name in files)
    torchscript = described["weights"]["torchscript"]
    assert torchscript["sha256"] == sha256((exported.folder / torchscript["source"]).read_bytes()).hexdigest()


def test_it_restores_the_halo(exported: Exported, described: dict[str, Any]) -> None:
    assert described["outputs"][0]["halo"] == [0, 0, 64, 64]
    assert described["inputs"][0]["shape"] == {"min": [1, 1, 136, 136], "step": [0, 0, 1, 1]}


def test_it_says_nothing_that_rdf_yaml_does_not_say(exported: Exported, described: dict[str, Any]) -> None:
    assert described == qupath_description(exported.rdf)


def test_packages_keep_it(exported: Exported) -> None:
    assert QUPATH in [entry["source"] for entry in exported.rdf["attachments"]]


@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 3, 7, 10])
def test_qupath_counts_the_classes_right_by_both_of_its_formulas(exported: Exported, inputs: int, classes: int) -> None:
    rdf = copy.deepcopy(exported.rdf)
    rdf["inputs"][0]["axes"][1]["channel_names"] = [f"i{i}" for i in range(inputs)]
    rdf["outputs"][0]["axes"][1]["channel_names"] = [f"c{i}" for i in range(classes)]
    shape = qupath_description(rdf)["outputs"][0]["shape"]
    for offsets in (1, 2):  # BioimageIoTools adds the offset once, the parser of shapes twice
        assert round(inputs * shape["scale"][1] + offsets * shape["offset"][1]) == classes


def test_class_names_are_told_in_their_order(described: dict[str, Any]) -> None:
    assert described["outputs"][0]["description"].endswith("0 membrane, 1 cytoplasm, 2 mito_chondrion.")


def test_authors_and_licence_that_nobody_stated_are_said_to_be_so(described: dict[str, Any]) -> None:
    assert described["authors"] == [{"name": "not stated"}]
    assert described["license"] == "not stated"


def test_a_description_that_the_format_refuses_is_an_error(exported: Exported) -> None:
    rdf = copy.deepcopy(exported.rdf)
    rdf["outputs"][0]["axes"][2]["halo"] = 68
    with pytest.raises(ExportError, match=r"the zoo's format 0\.4 refuses model_qupath\.yaml: .*too small"):
        write_qupath(rdf)
