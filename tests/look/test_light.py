"""Looking before a training waits for nothing that takes seconds to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from training.runs import write_inputs

HEAVY = ("torch", "lightning", "matplotlib", "skimage", "bioimageio", "onnx", "eseg_zoo.api")


@pytest.mark.parametrize("verb", ["init", "check", "settings"])
def test_a_verb_imports_neither_torch_nor_lightning(tmp_path: Path, verb: str) -> None:
    write_inputs(tmp_path)
    arguments = {
        "init": ["image.tif", "labels.tif", "--out", "new.yaml"],
        "check": ["run.yaml", "--json", "found.json"],
        "settings": ["training"],
    }
    code = (
        "import sys\nfrom eseg_zoo.cli import main\n"
        f"sys.argv = ['eseg', '{verb}', *{arguments[verb]}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"
