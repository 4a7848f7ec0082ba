"""How long a training is follows from its preset, its labels and what it goes on from, unless the run says it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import eseg_zoo
from eseg_zoo.config import Run
from eseg_zoo.live.training import SUPERVISED_STEPS
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.survey import Differences
from eseg_zoo.training import length
from eseg_zoo.training.length import FEWEST, SHARE, suited_to_labels

ALIKE, UNLIKE = Differences(0.05, 0.1), Differences(0.05, 0.2)


def run_of(**settings: Any) -> Run:
    given = {"images": "a.tif", "labels": "b.tif", "classes": {1: "a", 2: "b"}, "out": "out", "preset": "small"}
    return Run.checked(given | settings, "test")


def points(count: int, *, pixels: int = 1) -> AnchorSet:
    """So many strokes of so many pixels in a row each."""
    y, x = np.mgrid[:count, :pixels]
    places = np.stack([np.zeros(y.size, int), 2 * y.ravel(), x.ravel()], axis=1)
    return AnchorSet.of(places, np.zeros(y.size, np.int64))


def steps_of(run: Run) -> tuple[int, int]:
    return run.training.steps, run.semi_supervised.steps


@pytest.mark.parametrize(
    ("labels", "differences", "total"),
    [
        (points(2), ALIKE, 900),
        (points(2), UNLIKE, 300),
        (points(200), UNLIKE, 800),
        (points(400), ALIKE, 1600),
        (points(60, pixels=8), ALIKE, 1920),
        (points(60, pixels=100), UNLIKE, 1920),
        (points(3000), UNLIKE, 3000),
    ],
)
def test_few_labels_are_looked_at_for_less_long_and_long_strokes_count_as_few(
    labels: AnchorSet, differences: Differences, total: int
) -> None:
    supervised, semi_supervised = steps_of(suited_to_labels(run_of(), labels, differences))
    assert supervised + semi_supervised == total
    assert semi_supervised == pytest.approx(2 * supervised, abs=2), "in the proportion of the preset"


def test_a_training_that_goes_on_takes_its_share_of_that() -> None:
    run = run_of(training={"steps": 0}, semi_supervised={"steps": round(SHARE * 3000)})
    assert steps_of(suited_to_labels(run, points(2), ALIKE, goes_on=True)) == (0, 252)
    assert suited_to_labels(run, points(3000), ALIKE, goes_on=True) is run


def test_steps_that_the_run_gives_stay_and_what_is_changed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert steps_of(suited_to_labels(run_of(training={"steps": 5000}), points(2), ALIKE))[0] == 5000
        assert "training.steps" not in caplog.text
        assert "semi_supervised.steps is 600" in caplog.text


def test_the_default_preset_is_shortened_too() -> None:
    assert steps_of(suited_to_labels(run_of(preset="default"), points(2), UNLIKE)) == (150, 150)


@pytest.mark.parametrize("settings", [{"preset": "paper"}, {"network": {"dims": 3}}])
def test_the_published_training_and_volumes_keep_their_length(settings: dict[str, Any]) -> None:
    run = run_of(**settings)
    assert suited_to_labels(run, points(2), UNLIKE) is run


TINY: dict[str, Any] = {"axes": "yx", "preset": "small", "network": {"width": 4, "latents": 2}}


def two_strokes() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    labels = np.zeros_like(image)
    labels[20, 10:20], labels[40, 10:20] = 1, 2
    return image, labels


def test_a_training_and_one_that_goes_on_from_it_are_as_long_as_their_labels_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(length, "FEWEST", 15)
    monkeypatch.setattr(length, "PER_LABEL", 0)
    model = eseg_zoo.train(*two_strokes(), classes={1: "a", 2: "b"}, training={"batch_size": 2}, **TINY)
    assert model.checkpoint.training.steps == 15
    assert model.train(*two_strokes(), axes="yx").checkpoint.training.steps == 4


def test_a_live_training_ends_where_few_labels_teach_no_more() -> None:
    with eseg_zoo.start_training(*two_strokes(), classes={1: "a", 2: "b"}, **TINY) as live:
        live.set_labels(two_strokes()[1]).result(600)
        steps = live.progress.steps
    assert steps - SUPERVISED_STEPS <= round(SHARE * FEWEST) + 2, "beside what was made before the labels came"
