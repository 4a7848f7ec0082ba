"""`eseg suggest`: what it writes, and what it refuses."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import roifile
import tifffile
from PIL import Image as Picture

from conftest import texture
from eseg_zoo import cli
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import EsegError


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with a model and a stack."""
    checkpoint.save(tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "raw.tif")
    return tmp_path


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(
        path, texture((1, 2, 100, 100), seed).numpy()[0], metadata={"axes": "ZYX"}, photometric="minisblack"
    )


def eseg(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run `eseg suggest`; an error of ours is raised, as with --debug."""
    monkeypatch.setattr(sys, "argv", ["eseg", "--debug", "suggest", *map(str, arguments), "--device", "cpu"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code in (0, None)


def test_points_rois_and_pictures_are_of_the_same_places(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (
        "model.pt",
        "raw.tif",
        "--count",
        3,
        "--out",
        "next.csv",
        "--rois",
        "rois/next.zip",
        "--pictures",
        "look",
    )
    eseg(monkeypatch, *command)
    files = ["next.csv", "rois/next.zip", "look/place_01.png", "look/place_02.png", "look/place_03.png"]
    assert capsys.readouterr().out.splitlines()[-5:] == files
    with open("next.csv", encoding="utf-8", newline="") as file:
        points = [[int(row[f"axis-{n}"]) for n in range(3)] for row in csv.DictReader(file)]
    rois = roifile.roiread("rois/next.zip")
    assert isinstance(rois, list)
    found = [[roi.position - 1, *np.asarray(roi.coordinates())[0, ::-1].astype(int).tolist()] for roi in rois]
    assert found == points
    for name in files[2:]:
        with Picture.open(name) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("RGB")).std() > 10
    with pytest.raises(EsegError, match=r"next\.csv exists already; give --force"):
        eseg(monkeypatch, *command)
    eseg(monkeypatch, *command, "--force")


def test_several_images_have_a_file_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder / "more.tif", seed=1)
    eseg(monkeypatch, "model.pt", "raw.tif", "more.tif", "--count", 6, "--out", "out/next.csv")
    ranks = []
    for name in ("raw", "more"):
        with open(f"out/next_{name}.csv", encoding="utf-8", newline="") as file:
            ranks += [int(row["rank"]) for row in csv.DictReader(file)]
    assert sorted(ranks) == [1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["next_more.csv", "next_raw.csv"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("raw.tif", "--out", "next.txt"), r"out is next\.txt; its name must end in \.csv"),
        (("raw.tif", "--out", "next.csv", "--rois", "next.roi"), r"rois is next\.roi; its name must end in \.zip"),
        (("raw.tif", "there/raw.tif", "--out", "next.csv"), r"several images would have the same file, next_raw\.csv"),
        (("raw.tif", "--out", "next.csv", "--labels", "nowhere.tif"), r"nowhere\.tif"),
        (("raw.tif", "--out", "next.csv", "--slices", "1-5"), "the slices 0-1"),
        (("raw.tif", "--out", "next.csv", "--pictures", "raw.tif"), r"raw\.tif"),
    ],
)
def test_what_does_not_fit_leaves_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    save(folder / "there" / "raw.tif")
    before = sorted(folder.rglob("*"))
    with pytest.raises(EsegError, match=expected):
        eseg(monkeypatch, "model.pt", *arguments)
    assert sorted(folder.rglob("*")) == before


def test_a_picture_of_a_place_in_a_volume_is_of_its_plane(make_checkpoint: object, tmp_path: Path) -> None:
    from eseg_zoo.api import Model
    from eseg_zoo.inference.network import Predictor
    from eseg_zoo.suggest.pictures import draw_place

    checkpoint = make_checkpoint(3, channels=2)  # type: ignore[operator]
    image = texture((2, 5, 80, 90), 3).numpy()
    (place,) = Model(checkpoint).suggest(image, axes="czyx", count=1)
    figure = draw_place(Predictor(checkpoint, device="cpu"), place)
    assert [panel.get_title() for panel in figure.axes[:3]] == ["image", "class map", "uncertainty"]
    assert place.tell() in str(figure.get_suptitle())
    shown = np.asarray(figure.axes[0].images[0].get_array())
    y, x = max(place.y - 64, 0) // 4 * 4, max(place.x - 64, 0) // 4 * 4
    plane = image[:, place.z, y : y + shown.shape[0], x : x + shown.shape[1]].astype(float)
    assert np.corrcoef(plane.mean(0).ravel(), shown.ravel())[0, 1] > 0.95
