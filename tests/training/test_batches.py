"""What the stages see: where patches come from, what is hidden in them, and that the stream goes on after a stop."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from eseg_zoo.config import SMALLEST_RUN, Run
from eseg_zoo.data.patches import PatchGeometry
from eseg_zoo.data.sampling import AnchorSet, PatchSource
from eseg_zoo.data.statistics import Statistics
from eseg_zoo.training.batches import StepBatch, StepBatches, validation_batches
from eseg_zoo.training.data import read_training_data
from training.runs import run_in

PLAIN = {"symmetries": False, "contrast": 0, "brightness": 0, "noise": 0}
GEOMETRY = PatchGeometry((4, 4), (3, 3))


def run_with(**changes: Any) -> Run:
    settings = {"augmentation": PLAIN, "semi_supervised": {"cells": 3}, "mask": {"sides": [2, 3]}}
    return Run.model_validate(yaml.safe_load(SMALLEST_RUN) | settings | changes)


def batches_of(
    run: Run, images: list[np.ndarray], sections: list[int], *, labelled: int = 0, unlabelled: int = 0, steps: int = 5
) -> StepBatches:
    """Batches around two anchors of section 0."""
    anchors = AnchorSet(np.array([[0, 1, 2], [0, 3, 0]]), np.array([0, 1]), np.array([0, 1]))
    widest = run.unlabelled_region(GEOMETRY.region)
    source = PatchSource.of(images, GEOMETRY, Statistics(np.zeros(1), np.ones(1)), widest=widest)
    return StepBatches(source, sections, anchors, run, steps=steps, labelled=labelled, unlabelled=unlabelled)


def noise(count: int, side: int = 20) -> list[np.ndarray]:
    return [np.random.default_rng(i).normal(size=(1, side, side + i)) for i in range(count)]


def tensors(batch: StepBatch) -> list[Tensor]:
    parts = [*(batch.labelled or [])]
    if batch.unlabelled:
        parts += [batch.unlabelled.clean, *batch.unlabelled.student]
    return parts


def same(first: list[StepBatch], second: list[StepBatch]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, two in pairs for a, b in zip(tensors(one), tensors(two), strict=True))


# --------------------------------------------------------------------------------------------------------- labelled


def test_labelled_batches_are_class_balanced_and_hide_the_wanted_share(inputs: Path) -> None:
    run = run_in(inputs, mask={"size": 3, "probability": 0.5})
    data = read_training_data(run)
    source = PatchSource.of(
        data.images, PatchGeometry((8, 8), (4, 4)), data.statistics, widest=run.unlabelled_region((8, 8))
    )
    batches = list(StepBatches(source, data.training_sections, data.training, run, steps=6, labelled=8))
    assert len(batches) == 6
    assert all(batch.unlabelled is None for batch in batches)
    labelled = [batch.labelled for batch in batches if batch.labelled]
    assert all(np.bincount(batch.labels).tolist() == [4, 4] for batch in labelled)
    hidden = torch.cat([batch.hidden.sum((1, 2, 3)) for batch in labelled])
    assert set(hidden.tolist()) == {0.0, 9.0}
    # 48 patches at a share of one half: 6 standard deviations are 21.
    assert 3 <= int((hidden > 0).sum()) <= 45
    held_out = validation_batches(source, data.validation, run)
    assert sum(len(batch.labels) for batch in held_out) == len(data.validation)
    assert all(not batch.hidden.any() for batch in held_out)


def test_augmenting_draws_the_same_anchors_and_places() -> None:
    changes = ({}, {"augmentation": PLAIN | {"noise": 0.5, "zoom": 0.1}})
    plain, noisy = (list(batches_of(run_with(**c), noise(2), [0, 1], labelled=4, unlabelled=2)) for c in changes)
    for one, other in zip(plain, noisy, strict=True):
        assert one.labelled and other.labelled and one.unlabelled and other.unlabelled  # noqa: PT018
        assert torch.equal(one.labelled.position, other.labelled.position)
        assert torch.equal(one.labelled.labels, other.labelled.labels)
        assert not torch.equal(one.labelled.patches, other.labelled.patches)
        assert torch.equal(one.unlabelled.clean, other.unlabelled.clean)
        assert torch.equal(one.unlabelled.student.hidden, other.unlabelled.student.hidden)
        assert not torch.equal(one.unlabelled.student.patches, other.unlabelled.student.patches)


# ------------------------------------------------------------------------------------------------------- unlabelled


def test_unlabelled_patches_come_from_every_training_section_and_no_other() -> None:
    images = [np.full((1, 9, 9), float(i)) for i in range(5)]  # the grey tells the section; labels are in 0 alone
    batches = list(batches_of(run_with(), images, [0, 2, 3], unlabelled=20))
    found = [batch.unlabelled.clean.flatten(1).unique().tolist() for batch in batches if batch.unlabelled]
    assert {grey for greys in found for grey in greys} == {0.0, 2.0, 3.0}
    assert all(batch.labelled is None for batch in batches)


def test_validation_slices_are_no_training_sections_and_unlabelled_ones_are(inputs: Path) -> None:
    import tifffile

    labels = tifffile.imread(inputs / "labels.tif")
    labels[1] = 0
    tifffile.imwrite(inputs / "labels.tif", labels, photometric="minisblack")
    data = read_training_data(run_in(inputs, slices={"training": "0-1", "validation": "2-2"}))
    assert data.training_sections == [0, 1]
    assert set(data.training.places[:, 0]) == {0}


def test_the_teacher_sees_everything_and_the_student_the_same_places_with_a_share_hidden() -> None:
    run = run_with(mask={"share": 0.4, "sides": [1, 2]})
    batches = batches_of(run, noise(2), [0, 1], unlabelled=40)
    shares = []
    for batch in batches:
        assert batch.unlabelled
        clean, student = batch.unlabelled
        assert clean.shape == (40, 1, 18, 18)  # 3 cells of 4 pixels, and the margin
        assert torch.equal(student.patches, clean)  # without augmentation; what is hidden is taken away by the stage
        assert torch.equal(student.target, clean[..., 3:15, 3:15])
        assert student.hidden.shape == clean.shape
        assert set(student.hidden.unique().tolist()) == {0.0, 1.0}
        assert (student.labels == -1).all()
        shares.append(float(student.hidden.mean()))
    assert np.mean(shares) == np.clip(np.mean(shares), 0.37, 0.43)  # 200 patches of at least 81 squares each


def test_a_patch_has_squares_of_one_of_the_sides() -> None:
    batches = batches_of(run_with(mask={"share": 0.5, "sides": [2, 5]}), noise(1, 30), [0], unlabelled=20)
    sides = set()
    for batch in batches:
        assert batch.unlabelled
        for mask in batch.unlabelled.student.hidden[:, 0].numpy():
            # Changes along a row lie on a grid: all at one remainder of the side.
            changes = np.flatnonzero(np.diff(mask, axis=1).any(0)) + 1
            fitting = {side for side in (2, 5) if len(set((changes % side).tolist())) <= 1}
            assert fitting
            sides |= fitting if len(fitting) == 1 else set()
    assert sides == {2, 5}


def test_a_share_of_zero_hides_nothing() -> None:
    (batch,) = batches_of(run_with(mask={"share": 0}), noise(1), [0], unlabelled=9, steps=1)
    assert batch.unlabelled
    assert not batch.unlabelled.student.hidden.any()


def test_clean_patches_are_cut_from_the_images() -> None:
    images = noise(2)
    (batch,) = batches_of(run_with(), images, [1], unlabelled=6, steps=1)
    assert batch.unlabelled
    padded = np.pad(images[1][0], 15, "symmetric").astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (18, 18))
    for patch in batch.unlabelled.clean[:, 0].numpy():
        assert (windows == patch).all((2, 3)).sum() >= 1


def test_the_stream_never_moves_the_teachers_labels() -> None:
    """Zoom and elastic changes are for labelled patches: of an unlabelled one the student sees the teacher's shape."""
    run = run_with(augmentation=PLAIN | {"zoom": 0.2, "elastic": 5})
    (batch,) = batches_of(run, noise(2), [0, 1], labelled=4, unlabelled=4, steps=1)
    assert batch.unlabelled
    assert batch.labelled
    assert torch.equal(batch.unlabelled.student.patches, batch.unlabelled.clean)


# -------------------------------------------------------------------------------------------------- random streams


def test_restoring_goes_on_with_the_identical_stream() -> None:
    run = run_with(augmentation={})
    whole = list(batches_of(run, noise(2), [0, 1], labelled=4, unlabelled=2, steps=6))
    stopped = batches_of(run, noise(2), [0, 1], labelled=4, unlabelled=2, steps=3)
    assert same(list(stopped), whole[:3])
    state = stopped.state()
    list(stopped)
    resumed = batches_of(run, noise(2), [0, 1], labelled=4, unlabelled=2, steps=3)
    list(islice(resumed, 1))
    resumed.restore(state)
    assert same(list(resumed), whole[3:])
    assert not same(list(resumed), whole[3:])


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_every_process_goes_on_with_its_own_stream_from_the_state_of_the_first(
    monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    run = run_with(augmentation={})

    def process(number: int) -> StepBatches:
        monkeypatch.setattr("eseg_zoo.training.batches.place", lambda: (number, 3))
        return batches_of(run, noise(2), [0, 1], labelled=2, unlabelled=2, steps=3)

    first = process(0)
    list(first)
    state = first.state()
    whole = process(rank)
    epochs = [list(whole) for _ in range(3)]
    assert not same(epochs[0], epochs[1])
    resumed = process(rank)
    resumed.restore(state)
    assert same([*resumed, *resumed], epochs[1] + epochs[2])


def test_the_state_can_be_saved_without_code(tmp_path: Path) -> None:
    batches = batches_of(run_with(), noise(1), [0], labelled=2)
    torch.save(batches.state(), tmp_path / "state.pt")
    batches.restore(torch.load(tmp_path / "state.pt", weights_only=True))


def test_streams_follow_the_seed() -> None:
    first, again, other = (
        list(batches_of(run_with(seed=seed), noise(1), [0], labelled=4, unlabelled=2)) for seed in (0, 0, 1)
    )
    assert same(first, again)
    assert not same(first, other)
