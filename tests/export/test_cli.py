"""`eseg-export` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eseg_export.cli import app, main
from eseg_export.finished import read_package
from typer.testing import CliRunner

from eseg_zoo.errors import CheckpointError


@pytest.mark.usefixtures("without_zoo_tests")
def test_a_successful_export_ends_with_what_was_measured_and_what_runs_it(model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "package.zip"
    result = CliRunner().invoke(app, ["--ckpt", str(model_path), "--out", str(out)])
    assert result.exit_code == 0
    assert out.exists()
    for word in (
        "format",
        "max difference",
        "pytorch_state_dict",
        "torchscript",
        "onnx",
        "Missing for publication",
        "software",
        "deepImageJ",
        "QuPath",
        "runs with a limit",
    ):
        assert word in result.stdout
    assert "comparing" not in result.stdout
    assert "comparing" in result.stderr
    assert "arning" not in result.output


@pytest.mark.usefixtures("without_zoo_tests")
def test_an_evaluation_is_handed_on(model_path: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    names = ("membrane", "cytoplasm", "mito|chondrion")
    dice, pixels = dict.fromkeys(names, 0.5), dict.fromkeys(names, 7)
    figures.write_text(json.dumps({"mean_dice": 0.5, "dice": dice, "pixels": pixels}))
    out = tmp_path / "new/package.zip"
    result = CliRunner().invoke(
        app, ["--ckpt", str(model_path), "--out", str(out), "--evaluation", str(figures)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "| **mean** | **0.500** | 21 |" in read_package(out).files["README.md"].decode()


def test_an_error_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["eseg-export", "--ckpt", str(tmp_path / "nothing.pt")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1] == f"error: {tmp_path / 'nothing.pt'} does not exist in {tmp_path}"


def test_debug_shows_the_error_itself(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        CliRunner().invoke(app, ["--ckpt", str(tmp_path / "nothing.pt"), "--debug"], catch_exceptions=False)


def test_wrong_usage_is_exit_2() -> None:
    assert CliRunner().invoke(app, ["--checkpoint", "model.pt"]).exit_code == 2
    assert CliRunner().invoke(app, []).exit_code == 2
