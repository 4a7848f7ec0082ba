"""The command line: light, complete, and a thin layer over the API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import eseg_zoo
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.cli import app

STACK = np.random.default_rng(0).integers(0, 255, (3, 40, 56), dtype=np.uint8)
VERBS = [
    "init", "check", "settings", "train", "predict", "evaluate", "suggest", "report", "demo", "export", "upload",
]  # fmt: skip
LABELS = np.random.default_rng(1).integers(0, 4, STACK.shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    checkpoint.save(tmp_path / "model.pt")
    for name, array in {"image": STACK, "labels": LABELS}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", array, metadata={"axes": "ZYX"}, photometric="minisblack")
    return tmp_path


def call(*arguments: str | Path) -> str:
    """Return what a command prints to stdout."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_help_needs_no_heavy_import_and_shows_every_verb() -> None:
    code = (
        "import sys\nfrom eseg_zoo.cli import main\nsys.argv = ['eseg', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'lightning', 'bioimageio', 'matplotlib'} & set(sys.modules)))"
    )
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    *help_text, modules = done.stdout.splitlines()
    assert modules == "[]"
    verbs = re.findall(r"│ (\w+) +[A-Z]", "\n".join(help_text))
    assert verbs == VERBS


def test_the_version_is_told() -> None:
    assert call("--version").split() == ["eseg_zoo", eseg_zoo.__version__]


@pytest.mark.parametrize(
    "verb",
    ["init", "check", "settings", "train", "predict", "evaluate", "suggest", "report", "demo", "export", "upload"],
)
def test_every_verb_has_help(verb: str) -> None:
    assert "Usage" in call(verb, "--help")


def test_maps_of_the_command_are_those_of_the_api(folder: Path) -> None:
    printed = call(
        "predict", folder / "model.pt", folder / "image.tif", "--out", folder / "maps", "--probabilities", "--device",
        "cpu", "--slices", "0-1",
    )  # fmt: skip
    assert printed.split() == [str(folder / "maps" / f"image_{kind}.ome.tif") for kind in ("classes", "probabilities")]
    expected = eseg_zoo.load(folder / "model.pt").predict(folder / "image.tif", slices="0-1", device="cpu")
    found = tifffile.imread(folder / "maps" / "image_probabilities.ome.tif")
    np.testing.assert_array_equal(found, expected["probabilities"].transpose("z", "class", "y", "x"))


def test_several_images_are_checked_before_the_first_is_predicted(folder: Path) -> None:
    np.save(folder / "wrong.npy", STACK[0, 0])
    done = CliRunner().invoke(
        app,
        [
            "predict",
            *map(str, (folder / "model.pt", folder / "image.tif", folder / "wrong.npy")),
            "--out",
            str(folder / "maps"),
        ],
    )
    assert "wrong.npy" in str(done.exception)
    assert not (folder / "maps").exists()


def test_two_images_of_one_name_do_not_overwrite_each_other(folder: Path) -> None:
    np.save(folder / "image.npy", STACK)
    paths = [str(folder / name) for name in ("model.pt", "image.tif", "image.npy")]
    done = CliRunner().invoke(app, ["predict", *paths, "--out", str(folder / "maps")])
    assert "would have the same map" in str(done.exception)


def test_the_figures_of_the_command_are_those_of_the_api(folder: Path) -> None:
    call(
        "evaluate", folder / "model.pt", "--images", folder / "image.tif", "--labels", folder / "labels.tif", "--json",
        folder / "figures.json", "--device", "cpu",
    )  # fmt: skip
    expected = eseg_zoo.load(folder / "model.pt").evaluate(folder / "image.tif", folder / "labels.tif", device="cpu")
    assert json.loads((folder / "figures.json").read_text()) == json.loads(json.dumps(expected.figures()))
