from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import eseg_zoo
import loop
from conftest import random_checkpoint, texture
from loop import Round, learn_in_rounds, read_round
from loop_report import draw_curves, make_tables
from materials import Labelled, Material, read_material
from rows import Row

CLASSES = {1: "dark", 2: "middle", 3: "bright"}
ROW = Row("suggest", "toy", None, 0, 0, {"steps": 100, "rounds": [6, 9, 12]})


def toy() -> Material:
    """Two images of textures whose classes are how bright they are."""
    images = [texture((1, 2, 64, 72), 0).numpy()[0], texture((1, 1, 72, 64), 1).numpy()[0]]
    truth = [np.digitize(image, [100, 150]).astype(np.uint8) + 1 for image in images]
    return Material("toy", CLASSES, Labelled(images, truth), Labelled(images[1:], truth[1:]))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Labelled pixels of each training that was asked for; each gives a network with random weights."""
    seen: list[int] = []

    def train(
        learnt: Labelled, labels: Any, classes: dict[int, str], row: Row, before: eseg_zoo.Model | None
    ) -> eseg_zoo.Model:
        assert before is None or len(seen) > 0
        assert all(
            ((plane == 0) | (plane == truth)).all() for plane, (_, truth) in zip(labels, learnt.planes, strict=True)
        )
        seen.append(sum(int((plane > 0).sum()) for plane in labels))
        return eseg_zoo.Model(random_checkpoint(seed=len(seen)))

    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(loop, "read_material", lambda folder: toy())
    return seen


@pytest.mark.parametrize("strategy", loop.STRATEGIES)
def test_strokes_grow_from_round_to_round_and_finished_rounds_are_not_made_again(
    tmp_path: Path, trainings: list[int], strategy: str
) -> None:
    row = Row(strategy, "toy", None, 0, 0, ROW.settings)
    outcome = learn_in_rounds(tmp_path, row, tmp_path / row.key)
    assert len(trainings) == 3
    assert trainings == sorted(trainings)
    rounds = loop._rounds_of(row, tmp_path)
    assert [one.strokes for one in rounds] == [6, 9, 12]
    assert [one.labelled_pixels for one in rounds] == trainings
    assert [sum(one.by_class.values()) for one in rounds] == [6, 9, 12]
    assert rounds[0].by_class == dict.fromkeys(CLASSES.values(), 2)
    assert outcome.corrected == rounds[-1].network.corrected
    assert all(set(one.forest.corrected) == set(CLASSES.values()) for one in rounds)
    (tmp_path / row.key / "012" / "round.json").unlink()
    assert learn_in_rounds(tmp_path, row, tmp_path / row.key).labelled_pixels == outcome.labelled_pixels
    assert len(trainings) == 4, "the strokes of the round that was lost are the same"
    assert trainings[3] == trainings[2]


def test_the_first_round_is_made_once_for_all_strategies(tmp_path: Path, trainings: list[int]) -> None:
    for strategy in loop.STRATEGIES:
        row = Row(strategy, "toy", None, 0, 0, {"steps": 100, "rounds": [6]})
        learn_in_rounds(tmp_path, row, tmp_path / row.key)
    assert len(trainings) == 1


def test_tables_and_curves_have_what_is_finished(tmp_path: Path, trainings: list[int]) -> None:
    rows = [Row(strategy, "toy", None, 0, 0, ROW.settings) for strategy in ("random", "error")]
    learn_in_rounds(tmp_path, rows[0], tmp_path / rows[0].key)
    found = {row: loop._rounds_of(row, tmp_path) for row in rows}
    dice, strokes = make_tables(found)
    cells = {tuple(line[:3]): line for line in dice.lines}
    last: Round = found[rows[0]][-1]
    mean = np.mean(list(last.network.corrected.values()))
    assert cells["ε-Seg", "random", "12"][3].startswith(f"{mean:.3f}")
    assert ("random forest", "error", "6") in cells, "the first round counts for all"
    assert ("random forest", "error", "9") not in cells
    assert [line[:2] for line in strokes.lines][:3] == [["random", "6"], ["random", "9"], ["random", "12"]]
    draw_curves(found, tmp_path / "loop.png")
    assert (tmp_path / "loop.png").stat().st_size > 10_000


def test_a_round_of_fewer_strokes_than_were_asked_for_is_in_the_same_line(tmp_path: Path, trainings: list[int]) -> None:
    rows = [Row("error", "toy", None, seed, seed, ROW.settings) for seed in (0, 1)]
    for row in rows:
        learn_in_rounds(tmp_path, row, tmp_path / row.key)
    found = {row: loop._rounds_of(row, tmp_path) for row in rows}
    found[rows[1]][2] = replace(found[rows[1]][2], strokes=11, labelled_pixels=0)
    dice, strokes = make_tables(found)
    assert [line[2] for line in dice.lines] == ["6", "6", "9", "9", "12", "12"]
    assert strokes.lines[2][2] == f"{found[rows[0]][2].labelled_pixels / 2:.0f}"


def test_a_round_is_read_as_it_was_written(tmp_path: Path, trainings: list[int]) -> None:
    learn_in_rounds(tmp_path, ROW, tmp_path / ROW.key)
    record = tmp_path / ROW.key / "009" / "round.json"
    assert read_round(record) == loop._rounds_of(ROW, tmp_path)[1]


def test_data_sets_are_known_by_their_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the three"):
        read_material(tmp_path)
    for name in ("raw", "labels_dense"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.ones((24, 8, 8), np.uint8), photometric="minisblack")
    nuclei = read_material(tmp_path)
    assert (nuclei.name, len(nuclei.learnt.planes), len(nuclei.unseen.planes)) == ("nuclei", 16, 8)
    for number in (9, 10, 11):
        tifffile.imwrite(
            tmp_path / f"rat3_data{number}.ome.tif", np.ones((8, number), np.uint8), photometric="minisblack"
        )
        tifffile.imwrite(
            tmp_path / f"rat3_data{number}_dense.tif", np.ones((8, number), np.uint8), photometric="minisblack"
        )
    axons = read_material(tmp_path)
    assert [image.shape for image in axons.learnt.images] == [(1, 8, 9), (1, 8, 10)]
    assert [image.shape for image in axons.unseen.images] == [(1, 8, 11)]
