"""What `eseg evaluate` counts, writes and refuses."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import yaml

from .commands import Outcome, assert_one_line, run_file, strokes


def test_evaluating_unlabelled_images_is_refused(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    tifffile.imwrite(folder / "labels.tif", np.zeros_like(strokes()))
    outcome = eseg("evaluate", trained, "--images", folder / "image.tif", "--labels", folder / "labels.tif")
    assert_one_line(outcome, "labels.tif", "no pixel is labelled")


def test_evaluation_counts_labelled_pixels_only(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    figures = folder / "figures.json"
    outcome = eseg(
        "evaluate", trained, "--images", folder / "image.tif", "--labels", folder / "labels.tif", "--json", figures
    )
    assert outcome.code == 0, outcome.err
    content = yaml.safe_load(io.StringIO(figures.read_text()))
    assert content["pixels"] == {"membrane": 8, "cytoplasm": 8}
    assert np.sum(content["confusion"]) == 16
    assert set(content["dice"]) == {"membrane", "cytoplasm"}


def test_evaluation_draws_the_reliability_plot(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    files = ("--images", folder / "image.tif", "--labels", folder / "labels.tif")
    outcome = eseg("evaluate", trained, *files, "--reliability", folder / "plot.png")
    assert outcome.code == 0, outcome.err
    assert "expected calibration error" in outcome.out
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert_one_line(eseg("evaluate", trained, *files, "--reliability", folder / "plot.png"), "exists already")
    outcome = eseg("evaluate", trained, *files, "--reliability", folder / "plot.txt")
    assert_one_line(outcome, "plot.txt", ".pdf, .png, .svg")


def test_evaluation_takes_the_unlabelled_value_of_training(eseg: Callable[..., Outcome], folder: Path) -> None:
    tifffile.imwrite(folder / "labels.tif", np.where(strokes() == 0, 255, strokes()))
    assert eseg("train", run_file(folder, unlabelled=255)).code == 0
    figures = folder / "figures.json"
    model = folder / "out" / "model.pt"
    files = ("--images", folder / "image.tif", "--labels", folder / "labels.tif", "--json", figures)
    assert eseg("evaluate", model, *files).code == 0
    assert sum(yaml.safe_load(figures.read_text())["pixels"].values()) == 16
