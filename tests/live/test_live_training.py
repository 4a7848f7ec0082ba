from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import eseg_zoo
from eseg_zoo.api import Model
from eseg_zoo.errors import ConfigError, InputError, StoppedError
from eseg_zoo.live.training import LiveTraining, start_training

CLASSES = {1: "dark", 4: "bright"}
# A tiny network, and steps without end as far as a test is concerned.
SETTINGS: dict[str, Any] = {
    "axes": "zyx",
    "preset": "small",
    "network": {"filters": [8, 8, 8], "latents": 4},
    "training": {"steps": 90, "accelerator": "cpu", "learning_rate": 5e-3},
    "semi_supervised": {"steps": 100_000, "labelled": 4, "unlabelled": 1, "cells": 2},
}
SHORT = {"training": SETTINGS["training"] | {"steps": 3}, "semi_supervised": {"steps": 0}}


def image() -> NDArray[np.uint8]:
    """Two slices whose left half is dark and right half bright."""
    pixels = np.random.default_rng(0).normal(90, 10, (2, 64, 64))
    pixels[:, :, 32:] += 60
    return pixels.astype(np.uint8)


def labels(*, bright: int = 4) -> NDArray[np.uint8]:
    painted = np.zeros((2, 64, 64), np.uint8)
    for row in (10, 26, 42):
        painted[0, row, 8:12], painted[0, row, 50:54] = 1, bright
    return painted


def start(**changes: Any) -> LiveTraining:
    given: dict[str, Any] = {"classes": CLASSES, **SETTINGS, **changes}
    return start_training(image(), labels(), **given)


def test_maps_are_there_while_it_trains_and_are_those_of_the_model_that_stop_returns() -> None:
    with start() as live:
        maps = live.preview({"z": 1}, what=["classes", "probabilities", "uncertainty"]).result(600)
        states: list[str] = [live.progress.state]
        model = live.stop()
    assert [*states, live.progress.state] == ["training", "stopped"]
    assert maps.attrs["step"] >= 80
    assert maps.classes.dims == ("y", "x")
    assert maps.probabilities.dims == ("class", "y", "x")
    truth = np.broadcast_to(np.where(np.arange(64) >= 32, 4, 1), (64, 64))
    assert (maps.classes.values == truth)[:, np.r_[0:28, 36:64]].mean() > 0.9
    again = model.predict(image()).classes.values[1]
    assert (again == maps.classes.values).mean() > 0.9


def test_a_region_shows_what_the_whole_map_shows_there() -> None:
    with start(**SHORT) as live:
        live.wait(600)
        whole = live.preview({}, what=["probabilities"]).result(600)
        region = {"z": slice(1, 2), "y": slice(13, 50), "x": slice(5, 64)}
        part = live.preview(region, what=["probabilities"]).result(600)
        model = live.stop()
    assert part.probabilities.shape == (2, 1, 37, 59)
    assert [part[axis].values[0] for axis in "zyx"] == [1, 13, 5]
    expected = whole.probabilities.sel(z=part.z, y=part.y, x=part.x)
    np.testing.assert_allclose(part.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(whole.probabilities, model.predict(image()).probabilities, atol=1e-5)


def test_what_an_image_does_not_have_is_one_line_and_the_training_goes_on() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"region": {"z": 2}}, r"the region has z 2; images\[0\] has z 0 to 1"),
        ({"region": {"t": 0}}, "the region has the axis 't'; images"),
        ({"region": {"y": slice(60, 70)}}, "the region has y slice"),
        ({"region": {}, "image": 1}, "image is 1; the training has images 0 to 0"),
        ({"region": {}, "what": ["colours"]}, "what is 'colours'; it must be some of classes"),
    ]
    with start(**SHORT) as live:
        for asked, message in wrong:
            with pytest.raises(InputError, match=message) as caught:
                live.preview(**asked).result(600)
            assert "\n" not in str(caught.value)
        assert live.wait(600).state == "finished"


def test_new_labels_and_a_new_class_are_learnt_between_steps() -> None:
    with start() as live:
        live.model().result(600)
        before = live.progress.step
        live.set_labels(labels(bright=9), classes={9: "bright", 1: "dark"}).result(600)
        maps = live.preview({"z": 1}).result(600)
        assert live.progress.step >= before
        assert maps.attrs["classes"] == {9: "bright", 1: "dark"}
        truth = np.broadcast_to(np.where(np.arange(64) >= 32, 9, 1), (64, 64))
        assert (maps.classes.values == truth)[:, np.r_[0:28, 36:64]].mean() > 0.9
        more = labels()
        more[1, 20, 5:15] = 7
        live.set_labels(more, classes=CLASSES | {7: "odd"}).result(600)
        model = live.stop()
    assert [one.name for one in model.classes] == ["dark", "bright", "odd"]
    assert model.checkpoint.training.labelled_pixels == {"dark": 12, "bright": 12, "odd": 10}


def test_labels_that_cannot_be_used_are_told_and_the_earlier_ones_stay() -> None:
    wrong, none = labels(), labels()
    wrong[0, 0, 0], none[:] = 5, 0
    with start() as live:
        with pytest.raises(InputError, match="has the label value 5 at z=0, y=0, x=0"):
            live.set_labels(wrong).result(600)
        with pytest.raises(InputError, match="no pixel is labelled"):
            live.set_labels(none).result(600)
        with pytest.raises(ConfigError, match="classes"):
            live.set_labels(labels(), classes={0: "nothing", 1: "dark"}).result(600)
        assert live.progress.state == "training"
        assert [one.value for one in live.stop().classes] == [1, 4]


def test_what_is_wrong_with_the_first_labels_is_told_by_all_that_is_asked() -> None:
    wrong = labels()
    wrong[0, 0, 0] = 5
    heard: list[str] = []
    live = start_training(image(), wrong, classes=CLASSES, changed=lambda now: heard.append(now.state), **SETTINGS)
    with live:
        for ask in (live.preview, live.model):
            with pytest.raises(InputError, match="has the label value 5"):
                ask().result(600)
        with pytest.raises(InputError, match="has the label value 5"):
            live.stop()
        with pytest.raises(InputError, match="has the label value 5"):
            live.wait()
    assert isinstance(live.progress.error, InputError)
    assert heard[-1] == "failed"


def test_settings_that_cannot_be_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match="preset is paper"):
        start(preset="paper", network={}, semi_supervised={})
    with pytest.raises(ConfigError, match="did you mean steps"):
        start(training={"stepps": 3})


def test_a_training_that_has_stopped_answers_nothing_more() -> None:
    live = start()
    live.model().result(600)
    waiting = live.preview({"z": 0})  # for weights that are worth a look
    live.stop()
    for answer in (waiting, live.preview({"z": 0})):
        with pytest.raises(StoppedError, match="the training was stopped"):
            answer.result(600)
    assert not any(thread.name == "eseg_zoo training" for thread in threading.enumerate())


def test_steps_wait_for_what_is_done_with_the_model() -> None:
    seen: list[int] = []

    def work(model: Model) -> str:
        seen.append(live.progress.step)
        seen.append(live.progress.step)
        return threading.current_thread().name + " " + ", ".join(one.name for one in model.classes)

    with start() as live:
        assert live.use_model(work).result(600) == "eseg_zoo training dark, bright"
    assert seen[0] == seen[1] >= 80


def test_a_training_that_nobody_waits_for_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read(*given: Any) -> Any:
        reading.set()
        go_on.wait()
        raise StoppedError("enough")

    monkeypatch.setattr("eseg_zoo.live.training.read_training_data", read)
    live = start()
    states: list[str] = []
    try:
        assert reading.wait(600)
        live.close(wait=False)
        states.append(live.progress.state)
    finally:
        go_on.set()
        live.close()
    assert [*states, live.progress.state] == ["reading", "stopped"]


def test_a_preview_can_be_taken_back() -> None:
    with start(**SHORT) as live:
        early = live.preview({"z": 0})
        assert early.cancel()
        assert live.preview({"z": 1}).result(600).sizes == {"y": 64, "x": 64}
        assert early.cancelled()


def test_when_all_steps_are_made_it_waits_for_labels() -> None:
    with start(**SHORT) as live:
        assert live.wait(600).state == "finished"
        assert (live.progress.step, live.progress.steps) == (3, 3)
        assert live.preview({"z": 0}).result(600).attrs["step"] == 3
        live.set_labels(labels()).result(600)
        assert live.wait(600).step == 6


def test_looking_changes_nothing_and_one_seed_gives_one_model() -> None:
    states = []
    for looks in (0, 3):
        with start(**SHORT | {"training": SHORT["training"] | {"steps": 12}}) as live:
            for _ in range(looks):
                live.model().result(600)
            live.wait(600)
            states.append(live.stop().checkpoint.segmenter_state)
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_it_goes_on_from_a_model_whose_classes_need_not_be_said() -> None:
    with start() as live:
        live.preview({"z": 0}).result(600)
        model = live.stop()
    settings = {key: value for key, value in SETTINGS.items() if key not in ("axes", "preset", "network")}
    with start_training(image(), labels(), start_from=model, **settings) as live:
        maps = live.preview({"z": 1}).result(600)
        assert maps.attrs["step"] < 80
        truth = np.broadcast_to(np.where(np.arange(64) >= 32, 4, 1), (64, 64))
        assert (maps.classes.values == truth)[:, np.r_[0:28, 36:64]].mean() > 0.9


def test_held_out_labels_judge_it_and_the_best_weights_are_kept() -> None:
    painted = np.zeros((2, 64, 64), np.uint8)
    for z in range(2):
        for row in range(4, 64, 6):
            painted[z, row, 6:16], painted[z, row, 48:58] = 1, 4
    with start_training(image(), painted, classes=CLASSES, **SETTINGS) as live:
        while "dice" not in live.progress.figures:
            live.model().result(600)
        assert 0 <= live.progress.figures["dice"] <= 1
        model: Model = live.stop()
    assert sum(model.checkpoint.training.validation_pixels.values()) >= 15


def test_lightning_is_not_imported(tmp_path: Path) -> None:
    import subprocess

    script = (
        "import sys, numpy as np, eseg_zoo\n"
        "eseg_zoo.start_training, eseg_zoo.LiveTraining\n"
        "print([name for name in sys.modules if 'lightning' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_offers_it() -> None:
    assert eseg_zoo.start_training is start_training
