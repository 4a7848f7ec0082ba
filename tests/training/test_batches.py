"""What the stages see: where patches come from, what is hidden in them, and that a batch follows from its number."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
import yaml
from in_memory import source_of_arrays
from torch import Tensor
from torch.utils.data import DataLoader

from eseg_zoo.config import Run
from eseg_zoo.example_run import SMALLEST_RUN
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.training.batches import EpochNumbers, StepBatch, StepBatches, Unlabelled, validation_batches
from eseg_zoo.training.data import read_training_data
from training.runs import run_in

PLAIN = {"symmetries": False, "contrast": 0, "brightness": 0, "noise": 0, "cutmix": 0}
GEOMETRY = PatchGeometry((4, 4), (3, 3))


def run_with(**changes: Any) -> Run:
    settings = {"augmentation": PLAIN, "semi_supervised": {"cells": 3}, "mask": {"sides": [2, 3]}}
    return Run.model_validate(yaml.safe_load(SMALLEST_RUN) | settings | changes)


def batches_of(
    run: Run,
    images: list[np.ndarray],
    sections: list[int],
    *,
    stage: str = "semi_supervised",
    labelled: int = 0,
    unlabelled: int = 0,
) -> StepBatches:
    """Batches around two anchors of section 0."""
    anchors = AnchorSet(np.array([[0, 1, 2], [0, 3, 0]]), np.array([0, 1]), np.array([0, 1]))
    source = source_of_arrays(images, GEOMETRY)
    return StepBatches(source, sections, anchors, run, stage=stage, labelled=labelled, unlabelled=unlabelled)


def first(batches: StepBatches, count: int = 5) -> list[StepBatch]:
    """The first batches of a stage."""
    return [batches[number] for number in range(count)]


def unlabelled_of(run: Run, images: list[np.ndarray], count: int) -> list[Unlabelled]:
    """The unlabelled patches of the first batches, so many in each."""
    batches = first(batches_of(run, images, list(range(len(images))), unlabelled=count))
    return [batch.unlabelled for batch in batches if batch.unlabelled]


def noise(count: int, side: int = 20) -> list[np.ndarray]:
    return [np.random.default_rng(i).normal(size=(1, side, side + i)) for i in range(count)]


def tensors(batch: StepBatch) -> list[Tensor]:
    parts = [*(batch.labelled or [])]
    if batch.unlabelled:
        parts += [batch.unlabelled.clean, *batch.unlabelled.student, batch.unlabelled.pasted]
    return parts


def same(found: list[StepBatch], expected: list[StepBatch]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(torch.equal(a, b) for one, two in pairs for a, b in zip(tensors(one), tensors(two), strict=True))


# --------------------------------------------------------------------------------------------------------- labelled


def test_labelled_batches_are_class_balanced_and_hide_the_wanted_share(inputs: Path) -> None:
    run = run_in(inputs, mask={"size": 3, "probability": 0.5})
    data = read_training_data(run)
    source = data.source(PatchGeometry((8, 8), (4, 4)))
    batches = first(StepBatches(source, data.training_sections, data.training, run, stage="supervised", labelled=8), 6)
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
    changes: tuple[dict[str, Any], ...] = ({}, {"augmentation": PLAIN | {"noise": 0.5, "zoom": 0.1}})
    plain, noisy = (first(batches_of(run_with(**c), noise(2), [0, 1], labelled=4, unlabelled=2)) for c in changes)
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
    batches = first(batches_of(run_with(), images, [0, 2, 3], unlabelled=20))
    found = [batch.unlabelled.clean.flatten(1).unique().tolist() for batch in batches if batch.unlabelled]
    assert {grey for greys in found for grey in greys} == {0.0, 2.0, 3.0}
    assert all(batch.labelled is None for batch in batches)


def test_validation_slices_are_no_training_sections_and_unlabelled_ones_are(inputs: Path) -> None:
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
    for batch in first(batches):
        assert batch.unlabelled
        clean, student, pasted = batch.unlabelled
        assert not pasted.any()
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
    for batch in first(batches):
        assert batch.unlabelled
        for mask in batch.unlabelled.student.hidden[:, 0].numpy():
            # Changes along a row lie on a grid: all at one remainder of the side.
            changes = np.flatnonzero(np.diff(mask, axis=1).any(0)) + 1
            fitting = {side for side in (2, 5) if len(set((changes % side).tolist())) <= 1}
            assert fitting
            sides |= fitting if len(fitting) == 1 else set()
    assert sides == {2, 5}


def test_a_share_of_zero_hides_nothing() -> None:
    batch = batches_of(run_with(mask={"share": 0}), noise(1), [0], unlabelled=9)[0]
    assert batch.unlabelled
    assert not batch.unlabelled.student.hidden.any()


def test_clean_patches_are_cut_from_the_images() -> None:
    images = noise(2)
    batch = batches_of(run_with(), images, [1], unlabelled=6)[0]
    assert batch.unlabelled
    padded = np.pad(images[1][0], 15, "symmetric").astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (18, 18))
    for patch in batch.unlabelled.clean[:, 0].numpy():
        assert (windows == patch).all((2, 3)).sum() >= 1


def test_the_stream_never_moves_the_teachers_labels() -> None:
    """Zoom and elastic changes are for labelled patches: of an unlabelled one the student sees the teacher's shape."""
    run = run_with(augmentation=PLAIN | {"zoom": 0.2, "elastic": 5})
    batch = batches_of(run, noise(2), [0, 1], labelled=4, unlabelled=4)[0]
    assert batch.unlabelled
    assert batch.labelled
    assert torch.equal(batch.unlabelled.student.patches, batch.unlabelled.clean)


def test_in_a_box_the_student_sees_the_next_patch_and_its_pseudo_labels() -> None:
    images = [np.full((1, 20, 20), float(grey)) for grey in range(50)]  # the grey tells the patch
    shares = []
    for unlabelled in unlabelled_of(run_with(augmentation=PLAIN | {"cutmix": 1}), images, 5):
        pasted, student = unlabelled.pasted[:, 0], unlabelled.student
        greys = unlabelled.clean[:, 0, 0, 0]
        expected = torch.where(pasted, greys.roll(-1)[:, None, None], greys[:, None, None])
        assert torch.equal(student.target[:, 0], expected)
        assert torch.equal(student.patches[:, 0, 3:15, 3:15], expected)
        around = student.patches.clone()
        around[..., 3:15, 3:15] = greys[:, None, None, None]
        assert torch.equal(around, unlabelled.clean)  # the margin stays
        teacher = greys[:, None, None, None].expand(5, 1, 12, 12)
        assert torch.equal(unlabelled.labels_of(teacher)[:, 0], expected)
        for box in pasted:
            y, x = torch.nonzero(box.any(1)).flatten(), torch.nonzero(box.any(0)).flatten()
            assert int(box.sum()) == len(y) * len(x) == int((y[-1] - y[0] + 1) * (x[-1] - x[0] + 1))  # it has no gap
            shares.append(float(box.float().mean()))
    assert 0.1 < min(shares) < max(shares) < 0.7
    assert len(set(shares)) > 5


@pytest.mark.parametrize(("share", "fewest", "most"), [(0, 0, 0), (0.5, 60, 140), (1, 200, 200)])
def test_so_many_patches_have_a_box(share: float, fewest: int, most: int) -> None:
    run = run_with(augmentation=PLAIN | {"cutmix": share})
    found = sum(int(one.pasted.any((1, 2, 3)).sum()) for one in unlabelled_of(run, noise(2), 40))
    assert fewest <= found <= most


def test_without_boxes_all_is_the_same_but_what_is_pasted() -> None:
    every, none = (unlabelled_of(run_with(augmentation=PLAIN | {"cutmix": share}), noise(2), 4) for share in (1, 0))
    for one, other in zip(every, none, strict=True):
        assert torch.equal(one.clean, other.clean)
        inside = F.pad(one.pasted, (3, 3, 3, 3))
        for found, plain in ((one.student.patches, other.student.patches), (one.student.hidden, other.student.hidden)):
            assert torch.equal(found, torch.where(inside, plain.roll(-1, 0), plain))
            assert not torch.equal(found, plain)


# -------------------------------------------------------------------------------------------- batches by their number

# All that is drawn at random, so that nothing of it may depend on anything but the number.
EVERYTHING = {"zoom": 0.1, "elastic": 2, "blur": 1, "contrast": 0.2, "brightness": 0.3, "noise": 0.2}


def rich_batches(**changes: Any) -> StepBatches:
    return batches_of(run_with(augmentation=EVERYTHING, **changes), noise(2), [0, 1], labelled=4, unlabelled=2)


def test_a_batch_follows_from_its_number_alone() -> None:
    batches, again = rich_batches(), rich_batches()
    found = first(batches, 4)
    assert same([again[number] for number in (3, 1, 1, 0)], [found[number] for number in (3, 1, 1, 0)])
    assert not any(same([found[i]], [found[j]]) for i in range(4) for j in range(i))


def test_batches_follow_the_seed_and_the_stage() -> None:
    found = first(rich_batches())
    assert same(first(rich_batches(seed=0)), found)
    assert not same(first(rich_batches(seed=1)), found)
    run = run_with(augmentation=EVERYTHING)
    other = batches_of(run, noise(2), [0, 1], stage="supervised", labelled=4, unlabelled=2)
    assert not same(first(other), found)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers are forked")
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_worker_processes_cut_the_same_batches_whatever_their_number(workers: int) -> None:
    batches, threads = rich_batches(), torch.get_num_threads()
    torch.set_num_threads(2)  # a worker has one
    try:
        expected = first(batches, 6)
        loader: DataLoader[StepBatch] = DataLoader(
            batches,
            batch_size=None,
            sampler=EpochNumbers(6),
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )
        assert same(list(loader), expected)
    finally:
        torch.set_num_threads(threads)


def test_every_epoch_goes_on_where_the_one_before_ended() -> None:
    numbers = EpochNumbers(3)
    assert len(numbers) == 3
    found = []
    for epoch in range(3):
        numbers.set_epoch(epoch)
        found += list(numbers)
    assert found == list(range(9))


def test_after_a_resumption_come_the_batches_that_would_have_come() -> None:
    """A new process begins with epoch 2; the one before was interrupted in it."""
    whole, resumed = EpochNumbers(3), EpochNumbers(3)
    for epoch in range(3):
        whole.set_epoch(epoch)
    resumed.set_epoch(2)
    before, after = rich_batches(), rich_batches()
    assert same([after[number] for number in resumed], [before[number] for number in whole])
    assert list(resumed) == [6, 7, 8]


@pytest.mark.parametrize("augmentation", [PLAIN, PLAIN | {"symmetries": True}], ids=["plain", "turned"])
def test_processes_that_train_together_cut_parts_of_one_whole(
    monkeypatch: pytest.MonkeyPatch, augmentation: dict[str, Any]
) -> None:
    run = run_with(augmentation=augmentation)

    def cut(rank: int, processes: int, each: int) -> list[StepBatch]:
        monkeypatch.setattr("eseg_zoo.training.batches.rank_and_count", lambda: (rank, processes))
        return first(batches_of(run, noise(2), [0, 1], labelled=each, unlabelled=each), 3)

    whole = cut(0, 1, 6)
    parts = [cut(rank, 3, 2) for rank in range(3)]
    for number, expected in enumerate(whole):
        of_ranks = zip(*(tensors(part[number]) for part in parts), strict=True)
        for together, one in zip(of_ranks, tensors(expected), strict=True):
            assert torch.equal(torch.cat(together), one)


def test_processes_that_train_together_draw_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rank in range(2):
        monkeypatch.setattr("eseg_zoo.training.batches.rank_and_count", lambda rank=rank: (rank, 2))
        images = [np.zeros((1, 20, 20))] * 2
        batch = batches_of(run_with(augmentation=PLAIN | {"noise": 0.5}), images, [0, 1], labelled=4)[0]
        assert batch.labelled
        found.append(batch.labelled.patches)
    assert not torch.equal(*found)


def test_the_processes_that_there_are_when_a_batch_is_cut_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """They meet when the training starts, after the batches of its stage were planned."""
    batches = batches_of(run_with(), noise(2), [0, 1], labelled=2)
    monkeypatch.setattr("eseg_zoo.training.batches.rank_and_count", lambda: (1, 2))
    other = batches_of(run_with(), noise(2), [0, 1], labelled=2)
    assert same(first(batches), first(other))
