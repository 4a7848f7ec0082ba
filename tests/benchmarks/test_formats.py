"""The exported formats are timed in any runtime, and compared with `eseg predict`."""

from __future__ import annotations

from pathlib import Path

import pytest
from eseg_export.package import write_weights
from rich.console import Console

import formats
from eseg_zoo.checkpoint import Checkpoint


@pytest.mark.slow
def test_every_runtime_has_a_line_relative_to_predict(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "ROUNDS", 1)
    monkeypatch.setattr(formats, "CALLS", 1)
    checkpoint.save(tmp_path / "model.checkpoint")
    write_weights(checkpoint, tmp_path)
    every = list(formats.runtimes(tmp_path / "model.checkpoint", tmp_path, []))
    assert [runtime.name for runtime in every] == ["`eseg predict`", "TorchScript", "ONNX"]
    table = formats.measured(every, [16, 24], Console(quiet=True))
    assert table.row_count == 3
    columns = [list(column.cells) for column in table.columns]
    assert columns[3][0] == columns[5][0] == "1.00"
    assert all(float(str(cell)) > 0 for column in columns[2:] for cell in column)
