"""Augmentation of intensities follows from the images, unless the run says otherwise."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import eseg_zoo
from eseg_zoo.config import Run
from eseg_zoo.patches.survey import Differences
from eseg_zoo.training.likeness import with_likeness


def run_of(**settings: Any) -> Run:
    given = {"images": "a.tif", "labels": "b.tif", "classes": {1: "a", 2: "b"}, "out": "out", **settings}
    return Run.checked(given, "test")


@pytest.mark.parametrize(
    ("differences", "contrast", "brightness"),
    [
        (Differences(0.02, 0.01), 0.2, 0.3),
        (Differences(0.1, 0.15), 0.2, 0.3),
        (Differences(0.25, 0.15), 0.5, 0.3),
        (Differences(0.02, 0.25), 0.2, 0.5),
        (Differences(3.0, 3.0), 0.8, 1.0),
    ],
)
def test_patches_differ_by_twice_what_the_images_do_within_limits(
    differences: Differences, contrast: float, brightness: float
) -> None:
    found = with_likeness(run_of(), differences).augmentation
    assert (found.contrast, found.brightness) == (contrast, brightness)


def test_what_the_run_gives_stays_and_what_is_changed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = with_likeness(run_of(augmentation={"contrast": 0.1, "noise": 0}), Differences(0.3, 0.3)).augmentation
    assert (found.contrast, found.brightness, found.noise) == (0.1, 0.6, 0)
    assert "augmentation.brightness is 0.6" in caplog.text
    assert "contrast is" not in caplog.text


def test_the_published_training_stays_as_published() -> None:
    run = run_of(preset="paper")
    assert with_likeness(run, Differences(0.3, 0.3)) is run


@pytest.mark.parametrize("gains", [(1, 1, 1), (1, 2, 3)])
def test_a_model_remembers_the_augmentation_that_its_images_asked_for(gains: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).normal(100, 20, (64, 64))
    images = np.stack([gain * noise for gain in gains]).astype(np.float32)
    labels = np.zeros(images.shape, np.uint8)
    labels[:, 5:60:9, 5:30:9], labels[:, 5:60:9, 35:60:9] = 1, 2
    model = eseg_zoo.train(
        images, labels, classes={1: "left", 2: "right"}, axes="zyx", preset="small",
        network={"width": 4, "latents": 2}, training={"steps": 1}, semi_supervised={"steps": 0},
    )  # fmt: skip
    found = model.checkpoint.settings["augmentation"]
    assert (found["contrast"] > 0.2) == (found["brightness"] > 0.3) == (gains != (1, 1, 1))
