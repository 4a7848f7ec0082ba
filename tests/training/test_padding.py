"""Constant slices and borders are no tissue: training measures, draws and counts nothing there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eseg_zoo.calibration.correction import Correction, HeldOut
from eseg_zoo.calibration.strengths import Strengths
from eseg_zoo.config import Run
from eseg_zoo.errors import InputError
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.training.batches import StepBatches
from eseg_zoo.training.data import TrainingData, open_pairs, read_training_data
from eseg_zoo.training.finish import finish
from eseg_zoo.training.run import train_run

Array = NDArray[Any]
Window = tuple[slice, ...]

INSIDE = (slice(5, 45), slice(9, 57))  # y, x of the tissue in its frame
FRAME = (52, 60)
VOLUME = {"dims": 3, "filters": [4, 4], "latents": 2}


def tissue(seed: int, shape: Sequence[int] = (40, 48), *, dtype: Any = np.uint8) -> Array:
    """Noise from 60 to 199: no pixel has the value of any padding here."""
    return np.random.default_rng(seed).integers(60, 200, shape).astype(dtype)


def framed(inside: Array, value: float) -> Array:
    frame = np.full(FRAME, value, inside.dtype)
    frame[INSIDE] = inside
    return frame


def strokes(slices: int, start: tuple[int, int] = (0, 0), shape: tuple[int, int] = (40, 48)) -> Array:
    """Labels of both classes in every slice, at the same places of the tissue."""
    labels = np.zeros((slices, *shape), np.uint8)
    y, x = start
    for row in range(4, 36, 8):
        labels[:, y + row, x + 4 : x + 8], labels[:, y + row, x + 30 : x + 34] = 1, 2
    return labels


def padded_stack(value: float) -> tuple[Array, Array]:
    """Five slices, the second and the last of them empty, the others framed by one value; labels in the tissue."""
    slices = [framed(tissue(seed), value) for seed in range(3)]
    empty = np.full(FRAME, value, np.uint8)
    image = np.stack([slices[0], empty, slices[1], slices[2], empty])
    labels = strokes(5, (INSIDE[0].start, INSIDE[1].start), FRAME)
    labels[[1, 4]] = 0
    return image, labels


def bare_stack() -> tuple[Array, Array]:
    """The same tissue without its frame and without the empty slices."""
    return np.stack([tissue(seed) for seed in range(3)]), strokes(3)


def run_of(**changes: Any) -> Run:
    settings: dict[str, Any] = {
        "images": ["images[0]"],
        "labels": ["labels[0]"],
        "axes": "zyx",
        "classes": {1: "dark", 2: "bright"},
        "preset": "small",
        "out": "out",
        "network": {"filters": [6, 8], "latents": 3},
        "training": {"steps": 2, "batch_size": 4, "accelerator": "cpu"},
        "semi_supervised": {"steps": 0, "cells": 2},
        "augmentation": {"symmetries": False, "contrast": 0, "brightness": 0, "noise": 0},
    }
    return Run.model_validate(settings | changes)


def read(image: Array, labels: Array, **changes: Any) -> TrainingData:
    run = run_of(**changes)
    return read_training_data(run, open_pairs(run, [image], [labels]))


@pytest.fixture(params=[False, True], ids=["loaded", "read in parts"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr("eseg_zoo.training.data.free_memory", lambda: 100)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("value", [0, 255])
def test_statistics_are_those_of_the_tissue(value: int) -> None:
    image, labels = padded_stack(value)
    data = read(image, labels)
    inside = bare_stack()[0].astype(np.float64)
    np.testing.assert_allclose(data.statistics.mean, [inside.mean()])
    np.testing.assert_allclose(data.statistics.std, [inside.std()])
    assert [data.contents[number] for number in (0, 2, 3)] == [INSIDE] * 3
    assert data.training_sections == [0, 2, 3]


def test_slices_that_are_all_padding_are_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    read(*padded_stack(0))
    (line,) = [line for line in caplog.messages if "padding" in line]
    assert line.startswith("2 of 5 training slices are constant")
    caplog.clear()
    read(*bare_stack())
    assert not [line for line in caplog.messages if "constant" in line]


def test_the_labelled_share_is_that_of_the_slices_with_tissue() -> None:
    data = read(*padded_stack(0), training={"validation_fraction": 0})
    assert data.labelled_fraction == 3 * 4 * 4 * 2 / (3 * np.prod(FRAME))


@pytest.mark.usefixtures("either_way")
def test_a_volume_is_measured_within_its_padded_planes_and_borders() -> None:
    inside = np.stack([tissue(seed) for seed in range(4)])
    image = np.zeros((9, *FRAME), np.uint8)
    image[3:7, INSIDE[0], INSIDE[1]] = inside
    labels = np.zeros(image.shape, np.uint8)
    labels[3:7] = strokes(4, (INSIDE[0].start, INSIDE[1].start), FRAME)
    data = read(image, labels, network=VOLUME)
    assert data.contents == ((slice(3, 7), *INSIDE),)
    np.testing.assert_allclose(data.statistics.mean, [inside.mean()])
    np.testing.assert_allclose(data.statistics.std, [inside.std()])


@pytest.mark.usefixtures("either_way")
def test_unlabelled_patches_are_drawn_around_pixels_of_the_tissue_and_around_all_of_them() -> None:
    image, labels = padded_stack(0)
    data, run = read(image, labels), run_of()
    source = data.source(PatchGeometry((4, 4), (8, 8)))
    batches = StepBatches(source, data.training_sections, data.training, run, stage="any", unlabelled=400)
    drawn = []
    for number in range(3):
        unlabelled = batches[number].unlabelled
        assert unlabelled
        clean, position = unlabelled.clean[:, 0], unlabelled.student.position + 8
        drawn.append(clean[torch.arange(len(clean)), position[:, 0], position[:, 1]])
    values = torch.cat(drawn).numpy() * data.statistics.std + data.statistics.mean
    assert values.min() > 59  # padding is 0
    assert len(np.unique(values.round())) > 130  # of 140


def test_the_pixels_that_unlabelled_patches_are_drawn_around_are_evenly_those_of_the_contents() -> None:
    data = read(*padded_stack(0))
    source = data.source(PatchGeometry((4, 4), (8, 8)))
    places = source.draw_anywhere(data.training_sections, 20_000, np.random.default_rng(0)).places
    assert set(places[:, 0].tolist()) == {0, 2, 3}
    for axis, part in enumerate(INSIDE, start=1):
        found, counts = np.unique(places[:, axis], return_counts=True)
        assert found.tolist() == list(range(part.start, part.stop))
        assert counts.min() > 0.7 * counts.mean()  # 400 and more each: 6 standard deviations


@pytest.fixture
def seen_by_em(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float32]]:
    """The logits that the class frequencies are estimated from, of each finished training."""
    seen: list[NDArray[np.float32]] = []

    def note(held_out: HeldOut, unlabelled: list[NDArray[np.float32]], **_: Any) -> Correction:
        seen.append(np.concatenate(unlabelled))
        return Correction(1.0, np.zeros(2), np.full(2, 0.5), Strengths(*np.ones((4, 2))), 1)

    monkeypatch.setattr("eseg_zoo.training.finish.fit_correction", note)
    return seen


def frequencies_seen(data: TrainingData, run: Run) -> None:
    torch.manual_seed(0)
    architecture = run.network.architecture(channels=1, classes=2)
    finish(run, data, [], HVAE(architecture), architecture, steps=0, seconds=0)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("value", [0, 255])
def test_the_class_frequencies_of_a_padded_stack_are_those_of_its_tissue(
    seen_by_em: list[NDArray[np.float32]], value: int
) -> None:
    for image, labels in (padded_stack(value), bare_stack()):
        frequencies_seen(read(image, labels), run_of())
    padded, bare = seen_by_em
    assert bare.shape == (3 * 8 * 10, 2)  # every fifth pixel of 40 x 48 along each axis
    assert np.ptp(bare) > 0.01
    np.testing.assert_array_equal(padded, bare)


def test_the_class_frequencies_of_a_padded_volume_are_those_of_its_tissue(
    seen_by_em: list[NDArray[np.float32]],
) -> None:
    inside, labels = np.stack([tissue(seed) for seed in range(4)]), strokes(4)
    around = ((3, 2), (5, 7), (9, 3))
    for pad in (around, ((0, 0),) * 3):
        frequencies_seen(read(np.pad(inside, pad), np.pad(labels, pad), network=VOLUME), run_of(network=VOLUME))
    padded, bare = seen_by_em
    assert bare.shape == (2 * 14 * 16, 2)  # every third voxel of 4 x 40 x 48
    np.testing.assert_array_equal(padded, bare)


def test_a_padded_stack_trains_to_figures_of_its_tissue(tmp_path: Path) -> None:
    image, labels = padded_stack(0)
    run = run_of(out=tmp_path / "out", semi_supervised={"steps": 2, "labelled": 2, "unlabelled": 2, "cells": 2})
    model = torch.load(train_run(run, open_pairs(run, [image], [labels])), weights_only=True)
    assert model["segmenter_state"]["mean"].item() == pytest.approx(bare_stack()[0].mean(), rel=1e-6)


@pytest.mark.parametrize("slices", ["1-1", "4-4"])
def test_training_slices_without_any_tissue_are_refused(slices: str) -> None:
    image, labels = padded_stack(7)
    labels[:] = strokes(5, (5, 9), FRAME)
    with pytest.raises(InputError, match=r"constant \(7\): there is nothing to learn"):
        read(image, labels, slices={"training": slices})


def test_a_constant_channel_of_several_is_named() -> None:
    image = np.stack([bare_stack()[0], np.full((3, 40, 48), 3, np.uint8)], axis=1)
    with pytest.raises(InputError, match=r"channel 2 of 2 \(green\) of the images is constant \(3\)"):
        read(image, strokes(3), axes="zcyx", channels=["red", "green"])
