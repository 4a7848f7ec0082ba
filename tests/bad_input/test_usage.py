"""Wrong usage, tracebacks on request, and names that the terminal might take for markup."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .commands import Outcome, assert_one_line, run_file


def test_wrong_usage_exits_with_2_and_debug_shows_the_traceback(
    eseg: Callable[..., Outcome], folder: Path, trained: Path
) -> None:
    assert eseg("predict").code == 2
    shutil.rmtree(folder)
    with pytest.raises(Exception, match="does not exist"):
        eseg("--debug", "train", folder / "run.yaml")


def test_names_with_brackets_and_colons_are_shown_as_they_are(eseg: Callable[..., Outcome], folder: Path) -> None:
    image = (folder / "image.tif").rename(folder / "image[b].tif")
    run = run_file(folder, images=image.name, out="exp[a]", classes={1: "mito [/dark]", 2: ":on:"})
    trained = eseg("train", run)
    assert trained.code == 0, trained.err
    assert trained.out.splitlines()[-1] == str(folder / "exp[a]" / "model.pt")
    model, maps = folder / "exp[a]" / "model.pt", folder / "maps[c]"
    judged = eseg("evaluate", model, "--images", image, "--labels", folder / "labels.tif")
    for shown in (trained.out, judged.out):
        assert "mito [/dark]" in shown
        assert ":on:" in shown
    assert eseg("predict", model, image, "--out", maps).out.strip() == str(maps / "image[b]_classes.ome.tif")
    volume = folder / "map[d].zarr"
    assert eseg("predict", model, image, "--out", volume).out.strip() == str(volume)
    assert_one_line(eseg("train", folder / "[a]:on:.yaml"), f"error: {folder / '[a]:on:.yaml'} does not exist")
