"""The notebook of the Python interface is that of its source, shows what its cells give, and its cells run."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from docs.pages import ROOT
from docs.running import run_python

MAKER = runpy.run_path(str(ROOT / "docs" / "make_notebook.py"))
NOTEBOOK: Path = MAKER["NOTEBOOK"]
MOST_BYTES = 300_000


def cells_of_notebook() -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return cells


def test_the_notebook_is_that_of_its_source() -> None:
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in cells_of_notebook()]
    assert found == MAKER["cells"](), "run python docs/make_notebook.py"


def test_the_notebook_was_run_from_top_to_bottom_without_an_error() -> None:
    code = [cell for cell in cells_of_notebook() if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert [one for cell in code for one in cell["outputs"] if one["output_type"] == "error"] == []


def test_the_notebook_is_small_and_names_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert [folder for folder in ("/home/", "/root/", "/work/", "/tmp/") if folder in text] == []


@pytest.mark.slow
def test_the_cells_of_the_notebook_run(tmp_path: Path) -> None:
    done = run_python("\n".join(text for kind, text in MAKER["cells"]() if kind == "code"), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.zip"}
