"""Running the blocks of a page in order, as a reader would, in a folder that has the files that pages name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from docs.pages import Block
from eseg_zoo.config import Run

PRESETS = Path(__file__).parent / "small_presets"
SECONDS = 900  # for one block; far beyond what it takes


def run_block(block: Block, folder: Path) -> None:
    """Do what a reader does with a block in `folder`; raises AssertionError where it fails."""
    if block.kind == "file":
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    elif block.kind == "settings":
        check_settings(block, folder)
    elif block.kind == "run":
        _run(block, folder)


def check_settings(block: Block, folder: Path) -> None:
    """Take settings that stand alone into a run, which refuses unknown keys and wrong values."""
    given = yaml.safe_load(block.text)
    assert isinstance(given, dict), f"{block.place} is no mapping"
    run = {
        "images": "raw.tif",
        "labels": "strokes.tif",
        "classes": {1: "a", 2: "b"},
        "preset": "small",
        "out": "runs/a",
    }
    Run.checked({**run, **given}, folder / "run.yaml")


def environment() -> dict[str, str]:
    """Return the environment of a reader: the programs of this Python, small presets, no screen."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own = {"PATH": programs, "PYTHONPATH": str(PRESETS), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own}


def run_python(text: str, folder: Path) -> subprocess.CompletedProcess[Any]:
    """Run a script in `folder`."""
    return _call([sys.executable, "-"], text, folder)


def _run(block: Block, folder: Path) -> None:
    if block.language == "python":
        done = run_python(block.text, folder)
    else:
        done = _call(["bash", "-euo", "pipefail"], block.text, folder)
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, f"{block.place} ended with {done.returncode}:\n{block.text}\n{said}"


def _call(program: list[str], text: str, folder: Path) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        program,
        input=text,
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )
