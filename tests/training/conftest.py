from __future__ import annotations

from pathlib import Path

import pytest

from training.runs import write_inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A folder with a small stack, its labels and its run file."""
    write_inputs(tmp_path)
    return tmp_path
