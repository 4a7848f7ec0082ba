"""What a script calls: one function for files and for models in memory, with the card in any form."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import eseg_export
import pytest
import torch
import typer
from eseg_export import package
from eseg_export.card import Card
from eseg_export.finished import read_package
from eseg_export.words import Story

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import CheckpointError, ConfigError, InputError, OutputError

STATEMENTS = {"name": "Membranes of the fly brain", "license": "mit", "authors": [{"name": "Ada Example"}]}
HEAVY = ("torch", "numpy", "bioimageio", "matplotlib")


@dataclass(frozen=True)
class Model:
    """A model in memory, as `eseg_zoo` has one."""

    checkpoint: Checkpoint


def imported_by(statement: str) -> set[str]:
    """The packages in the memory of a fresh process after `statement`."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_models_and_cards_may_be_paths_texts_and_objects(
    checkpoint: Checkpoint, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Checkpoint, Story]] = []

    def make(checkpoint: Checkpoint, story: Story, folder: Path, *_: object) -> package.Package:
        made.append((checkpoint, story))
        (folder / "package.zip").write_bytes(b"made")
        return package.Package(folder / "package.zip", (), (), [])

    monkeypatch.setattr(package, "_make", make)
    path = tmp_path / "card.yaml"
    path.write_text("{name: Membranes of the fly brain, license: mit, authors: [{name: Ada Example}]}")
    cards: tuple[Any, ...] = (str(path), path, STATEMENTS, Card.model_validate(STATEMENTS))
    models: tuple[Any, ...] = (str(model_path), model_path, checkpoint, Model(checkpoint))
    for number, (model, card) in enumerate(zip(models, cards, strict=True)):
        finished = eseg_export.export(model, str(tmp_path / f"{number}.zip"), card=card)
        assert finished.path == tmp_path / f"{number}.zip"
        assert finished.path.read_bytes() == b"made"
    for found, story in made:
        assert (story.card.license, story.card.authors[0].name) == ("MIT", "Ada Example")
        assert story.card == made[0][1].card
        assert found.training == checkpoint.training
        for name, weights in checkpoint.segmenter_state.items():
            assert torch.equal(found.segmenter_state[name], weights), name


@pytest.mark.usefixtures("without_zoo_tests")
def test_a_model_in_memory_becomes_a_package(checkpoint: Checkpoint, tmp_path: Path) -> None:
    finished = eseg_export.export(Model(checkpoint), tmp_path / "model.zip", card=STATEMENTS)
    assert read_package(finished.path).rdf["name"] == STATEMENTS["name"]
    assert [what.split(",")[0] for what in finished.missing[:1]] == ["maintainers"]


def test_a_model_in_memory_needs_a_place_for_its_package(checkpoint: Checkpoint) -> None:
    for model in (checkpoint, Model(checkpoint)):
        with pytest.raises(OutputError, match="out is not given; a model in memory needs it"):
            eseg_export.export(model)


@pytest.mark.parametrize("model", [{"weights": 1}, 3, None, Model(checkpoint=None)])  # type: ignore[arg-type]
def test_what_is_no_model_is_refused_with_its_type(model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"model is of type {type(model).__name__}; it must be a path"):
        eseg_export.export(model, tmp_path / "model.zip")


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        ({"licence": "MIT"}, r"card: licence is not a setting; did you mean license\?"),
        ({"version": "first"}, r"card: version: .*'first'"),
        (["MIT"], r"card is of type list; it must be a path, a mapping or a Card"),
    ],
)
def test_a_mistake_in_a_card_in_memory_names_the_key(
    checkpoint: Checkpoint, tmp_path: Path, card: Any, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        eseg_export.export(checkpoint, tmp_path / "model.zip", card=card)


def test_a_missing_file_is_the_checkpoints_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.pt does not exist"):
        eseg_export.export(str(tmp_path / "nothing.pt"))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_package_is_replaced_on_request_only(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"model\.zip exists already"):
        eseg_export.export(checkpoint, tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_bytes() == b"mine"


def test_the_version_is_that_of_the_distribution() -> None:
    assert eseg_export.__version__ == version("eseg_zoo")


def test_a_public_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'eseg_export' has no attribute 'exprot'"):
        _ = eseg_export.exprot


@pytest.mark.parametrize("module", ["eseg_export", "eseg_export.cli", "eseg_export.demo.cli"])
def test_importing_a_command_brings_nothing_heavy(module: str) -> None:
    assert imported_by(f"import {module}").isdisjoint(HEAVY)


@pytest.mark.slow
def test_what_is_heavy_comes_with_the_function() -> None:
    assert set(HEAVY) <= imported_by("from eseg_export import export")


@pytest.mark.parametrize("name", ["export", "demo"])
def test_a_command_can_stand_under_another_program(name: str) -> None:
    (entry,) = entry_points(group="eseg.commands", name=name)
    command = typer.main.get_command(entry.load())
    assert not hasattr(command, "commands")  # one command, no group of them
    assert command.name == name
    assert not any("completion" in str(option.name) for option in command.params)


@pytest.mark.parametrize("program", ["eseg-export", "eseg-demo"])
def test_a_program_completes_its_options(program: str) -> None:
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    asked = {"COMP_WORDS": f"{program} --for", "COMP_CWORD": "1", variable: "complete_bash"}
    done = subprocess.run(
        [shutil.which(program, path=sysconfig.get_path("scripts")) or program],
        env=os.environ | asked,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "--force" in done.stdout.split()
