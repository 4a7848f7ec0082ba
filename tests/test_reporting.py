"""The report of a training in its folder: written after the model, never at its cost, and again for older ones."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import tifffile
import torch
from html_page import Page
from training.runs import SEMI_SUPERVISED, TRAINING, write_inputs, write_run
from typer.testing import CliRunner

import eseg_zoo
from eseg_zoo import commands, reporting
from eseg_zoo.checkpoint import _MAGIC, Checkpoint, _plain
from eseg_zoo.cli import app
from eseg_zoo.config import load_run
from eseg_zoo.errors import CheckpointError, OutputError
from eseg_zoo.progress import Progress
from eseg_zoo.report import gather
from eseg_zoo.reporting import report_after, write_report

FORMAT_2 = Path(__file__).parent / "data/checkpoints/format2.pt"
LATER = ("strokes", "slices", "validation_strokes", "confusion", "reliability", "expected_dice", "machine", "command")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, and in `out` a training of both stages by the command."""
    folder = tmp_path_factory.mktemp("done")
    write_inputs(folder)
    run = write_run(folder, semi_supervised=SEMI_SUPERVISED)
    found = CliRunner().invoke(app, ["train", str(run)], catch_exceptions=False)
    assert found.exit_code == 0
    return folder


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(done, tmp_path / "copied"))


def report_of(folder: Path) -> Page:
    return Page((folder / "out" / "report.html").read_text(encoding="utf-8"))


def test_a_training_leaves_its_report_beside_the_model(done: Path) -> None:
    found, record = report_of(done), Checkpoint.load(done / "out/model.pt").training
    assert found.alts[0] == "Labels painted on image.tif, slice 0"
    assert f"{record.validation['mean_dice']:.3f}" in found.rows("mean")[0]
    assert f"eseg train {done / 'run.yaml'}" in found.text
    assert "18 of at most 18 steps" in found.text
    assert {"given", "found", "good", "training", "frequencies", "next"} <= found.ids
    assert record.machine in found.text


def test_strokes_and_the_confusion_on_held_out_labels_are_remembered(done: Path) -> None:
    record = Checkpoint.load(done / "out/model.pt").training
    for name in ("dark", "bright"):
        # Seven strokes of four pixels a slice and class; of these 21 two are held out.
        assert (record.strokes[name], record.labelled_pixels[name]) == (19, 4 * 19)
        assert (record.validation_strokes[name], record.validation_pixels[name]) == (2, 8)
        assert record.slices[name] == 3
    counts = record.confusion
    assert [sum(row) for row in counts] == [8, 8]
    for index, name in enumerate(("dark", "bright")):
        both = sum(counts[index]) + sum(row[index] for row in counts)
        assert record.validation[f"dice/{name}"] == pytest.approx(2 * counts[index][index] / both)
    assert all(sum(pixels for pixels, *_ in bins) == 16 for bins in record.reliability.values())


def test_a_training_from_python_with_arrays_has_a_report_with_pictures(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    model = eseg_zoo.train(tmp_path / "run.yaml")
    image, labels = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("image", "labels"))
    eseg_zoo.train(
        image, labels, out=tmp_path / "arrays", axes="zyx", classes={1: "dark", 4: "bright"}, preset="small",
        network={"filters": [8, 8, 8], "latents": 4}, training={"steps": 2, "batch_size": 4, "accelerator": "cpu"},
        semi_supervised={"steps": 0},
    )  # fmt: skip
    text = (tmp_path / "arrays/report.html").read_text(encoding="utf-8")
    assert Page(text).alts[0].startswith("Labels painted on images[0]")
    assert report_of(tmp_path).rows("command") == []
    assert model.checkpoint.training.command == ""


def test_a_failing_picture_costs_a_training_its_report_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_inputs(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no picture\nfor you")

    monkeypatch.setattr(gather, "look", fail)
    with caplog.at_level(logging.INFO, "eseg_zoo"):
        model = eseg_zoo.train(tmp_path / "run.yaml")
    assert model.predict(tmp_path / "image.tif", device="cpu")
    assert (tmp_path / "out/model.pt").exists()
    assert not (tmp_path / "out/report.html").exists()
    (warning,) = [one.getMessage() for one in caplog.records if "report is not" in one.getMessage()]
    assert "RuntimeError: no picture)" in warning
    assert f"eseg report {tmp_path / 'out'}" in warning


def test_ctrl_c_during_the_report_keeps_the_model(
    copied: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reporting, "write_report", interrupt)
    report_after(copied / "out", force=True)
    assert "interrupted" in caplog.text


def test_a_report_of_somebody_else_is_not_replaced_unasked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_inputs(tmp_path)
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out/report.html"
    mine.write_text("mine")
    with caplog.at_level(logging.WARNING, "eseg_zoo"):
        eseg_zoo.train(tmp_path / "run.yaml")
    assert mine.read_text() == "mine"
    assert "exists already" in caplog.text
    eseg_zoo.train(tmp_path / "run.yaml", force=True)
    assert Page(mine.read_text(encoding="utf-8")).alts


def test_an_interrupted_training_says_how_it_goes_on_and_a_resumed_one_replaces_that(tmp_path: Path) -> None:
    write_inputs(tmp_path)

    def stop(progress: Progress) -> None:
        if progress.is_validated:
            progress.stop()

    eseg_zoo.train(tmp_path / "run.yaml", progress=stop)
    assert "eseg train RUN.yaml --resume" in report_of(tmp_path).text
    eseg_zoo.train(tmp_path / "run.yaml", resume=True)
    assert "--resume" not in report_of(tmp_path).text
    assert "12 of at most 12 steps" in report_of(tmp_path).text


def test_the_report_is_made_again_as_it_was(copied: Path) -> None:
    before = (copied / "out/report.html").read_text(encoding="utf-8")
    refused = CliRunner().invoke(app, ["report", str(copied / "out")])
    assert isinstance(refused.exception, OutputError)
    found = CliRunner().invoke(app, ["report", str(copied / "out"), "--force"], catch_exceptions=False)
    assert found.stdout.split() == [str(copied / "out/report.html")]
    assert report_of(copied).references == Page(before).references


def test_the_report_goes_to_another_file(copied: Path) -> None:
    target = copied / "shown" / "first.html"
    found = CliRunner().invoke(app, ["report", str(copied / "out"), "--out", str(target)], catch_exceptions=False)
    assert found.stdout.split() == [str(target)]
    assert Page(target.read_text(encoding="utf-8")).references


@pytest.mark.parametrize("name", ["image.tif", "labels.tif", "out/model.pt"])
def test_a_report_never_replaces_what_it_is_made_of(copied: Path, name: str) -> None:
    before = (copied / name).read_bytes()
    with pytest.raises(OutputError, match="is an input"):
        write_report(copied / "out", copied / name, force=True)
    assert (copied / name).read_bytes() == before


def test_without_its_images_a_report_has_no_pictures_and_says_so(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (copied / "image.tif").unlink()
    with caplog.at_level(logging.WARNING, "eseg_zoo"):
        write_report(copied / "out", force=True)
    (warning,) = caplog.messages
    assert "without pictures" in warning
    assert f"{copied / 'image.tif'} does not exist" in warning
    found = report_of(copied)
    assert f"There are no pictures: {copied / 'image.tif'} does not exist" in found.text
    assert all(reference.startswith("data:image/svg+xml") for reference in found.references)
    assert found.rows("dark")


def test_a_report_opens_the_images_without_saying_again_what_they_are(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "eseg_zoo"):
        write_report(copied / "out", force=True)
    assert caplog.messages == []


def test_models_of_earlier_formats_have_a_report(tmp_path: Path, done: Path) -> None:
    (tmp_path / "two").mkdir()
    shutil.copy(FORMAT_2, tmp_path / "two/model.pt")
    content = _plain(Checkpoint.load(done / "out/model.pt"))
    content["training"] = {key: value for key, value in content["training"].items() if key not in LATER}
    (tmp_path / "three").mkdir()
    torch.save({"magic": _MAGIC, "format": 3, **content}, tmp_path / "three/model.pt")
    for folder in ("two", "three"):
        found = Page(write_report(tmp_path / folder).read_text(encoding="utf-8"))
        assert "did not keep the confusion matrix" in found.text
        assert found.tables


def test_a_folder_without_a_model_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pt does not exist"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_of_several_processes_writes_a_report(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(write_run(copied, training=TRAINING | {"devices": 2}))
    written: list[Path] = []
    monkeypatch.setattr("eseg_zoo.training.run.train_run", lambda *_, **__: copied / "out/model.pt")
    monkeypatch.setattr(commands, "report_after", lambda out, **_: written.append(out))
    for is_first in (False, True):
        monkeypatch.setattr("eseg_zoo.training.processes.is_first", lambda is_first=is_first: is_first)
        commands.train_files(run, force=False, resume=False, command="")
    assert written == [copied / "out"]


def test_a_3d_training_has_a_report(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    eseg_zoo.train(
        tmp_path / "run.yaml", network={"dims": 3, "filters": [4, 6], "latents": 2},
        voxel_size={"z": 0.05, "y": 0.005, "x": 0.005}, training={"steps": 2, "batch_size": 2, "accelerator": "cpu"},
    )  # fmt: skip
    found = report_of(tmp_path)
    assert found.alts[0] == "Labels painted on image.tif, slice 0"
    assert "volumes" in found.tables[0][1]
    assert "0.05 µm" in found.text
