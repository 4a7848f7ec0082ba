from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from eseg_zoo.api import Model
from eseg_zoo.calibration.correction import Correction
from eseg_zoo.calibration.strengths import Strengths
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import load_run
from eseg_zoo.errors import InputError, OutputError, TrainingError
from eseg_zoo.metrics_file import read_metrics
from eseg_zoo.model.prior import MixturePrior
from eseg_zoo.progress import Progress, Watch
from eseg_zoo.training.batches import StepBatch
from eseg_zoo.training.data import read_training_data
from eseg_zoo.training.run import train_run
from eseg_zoo.training.stages import Supervised
from training.runs import CLASSES, SEMI_SUPERVISED, TRAINING, write_run

LEARNT = {"steps": 120, "epoch_steps": 40, "batch_size": 16, "accelerator": "cpu"}  # enough to be sure of both classes


def test_training_writes_a_model_that_predicts_the_classes_it_saw(inputs: Path) -> None:
    checkpoint = Checkpoint.load(train_run(load_run(write_run(inputs, training=LEARNT))))
    image = tifffile.imread(inputs / "image.tif")[0][None, None].astype(np.float32)
    with torch.inference_mode():
        found = checkpoint.segmenter()(torch.from_numpy(image))[0].argmax(0).numpy()
    truth = np.arange(64)[None] >= 32
    away_from_the_edge = np.r_[0:28, 36:64]
    assert (found == truth)[:, away_from_the_edge].mean() > 0.95
    assert [(one.name, one.value) for one in checkpoint.classes] == [("dark", 1), ("bright", 4)]
    np.testing.assert_allclose([one.frequency for one in checkpoint.classes], 0.5, atol=0.1)
    assert checkpoint.training.steps == 120
    assert checkpoint.training.validation["mean_dice"] > 0.9


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(inputs: Path) -> None:
    first = Checkpoint.load(train_run(load_run(write_run(inputs, out="first"))))
    second = Checkpoint.load(train_run(load_run(write_run(inputs, out="second"))))
    other = Checkpoint.load(train_run(load_run(write_run(inputs, out="other", seed=1))))
    for key, value in first.segmenter_state.items():
        assert torch.equal(value, second.segmenter_state[key]), key
    assert any(not torch.equal(value, other.segmenter_state[key]) for key, value in first.segmenter_state.items())


@pytest.mark.parametrize("frequencies", ["balanced", {"dark": 0.1, "bright": 0.9}], ids=["balanced", "given"])
def test_the_recorded_figures_are_those_of_the_finished_model(inputs: Path, frequencies: Any) -> None:
    image = tifffile.imread(inputs / "image.tif")
    noise = np.random.default_rng(1).normal(0, 60, image.shape)
    tifffile.imwrite(inputs / "image.tif", (image + noise).clip(0, 255).astype(np.uint8), photometric="minisblack")
    training = TRAINING | {"steps": 24}
    slices = {"training": "0-1", "validation": "2-2"}
    path = write_run(inputs, training=training, slices=slices, frequencies=frequencies)
    model = train_run(load_run(path))
    found = Model.load(model).evaluate(inputs / "image.tif", inputs / "labels.tif", slices="2-2")
    record = Checkpoint.load(model).training
    assert 0.5 < found.confusion.mean_dice < 1
    assert record.validation["mean_dice"] == pytest.approx(found.confusion.mean_dice)
    assert [record.validation[f"dice/{name}"] for name in CLASSES.values()] == pytest.approx(found.confusion.dice)
    assert list(record.validation_pixels.values()) == found.confusion.pixels.tolist()


def test_a_run_leaves_the_log_and_the_best_and_last_checkpoint(inputs: Path) -> None:
    out = train_run(load_run(inputs / "run.yaml")).parent
    assert {path.name for path in out.iterdir()} == {"metrics.csv", "model.pt", "run.json", "supervised"}
    kept = {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert {path.name for path in (out / "supervised").iterdir()} == {"finished.json", *kept}


def test_the_model_holds_the_weights_of_the_best_validation(inputs: Path) -> None:
    # At this learning rate the validation goes up and down.
    settings = {"steps": 24, "epoch_steps": 2, "batch_size": 8, "accelerator": "cpu", "learning_rate": 0.3}
    out = train_run(load_run(write_run(inputs, training=settings))).parent
    dice = [(row["val/soft_dice"], row["step"]) for row in read_metrics(out)]
    best, last = (torch.load(out / "supervised" / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    assert last["global_step"] == 24
    assert len(dice) == 12
    highest = max(value for value, _ in dice)
    assert best["global_step"] == next(step for value, step in dice if value == highest)
    state = Checkpoint.load(out / "model.pt").segmenter_state
    key = "classifier.head.classify.weight"
    assert torch.equal(state[key], best["state_dict"][f"hvae.{key}"])


@pytest.mark.slow
def test_every_augmentation_trains_reproducibly(inputs: Path) -> None:
    augmentation = {"zoom": 0.1, "elastic": 2, "blur": 1, "contrast": 0.2, "brightness": 0.2, "noise": 0.2}
    training = {"steps": 60, "epoch_steps": 10, "batch_size": 16, "accelerator": "cpu", "learning_rate": 0.01}
    changes: Any = {"augmentation": augmentation, "training": training}
    first, second = (
        Checkpoint.load(train_run(load_run(write_run(inputs, out=out, **changes)))) for out in ("first", "second")
    )
    assert all(torch.equal(value, second.segmenter_state[key]) for key, value in first.segmenter_state.items())
    assert first.training.validation["mean_dice"] > 0.9


def test_nothing_is_deleted_that_no_training_wrote(inputs: Path) -> None:
    stage = inputs / "out" / "supervised"
    stage.mkdir(parents=True)
    for name in ("notes.txt", "metrics.mine.csv"):
        (stage / name).write_text("mine")
    run = load_run(inputs / "run.yaml")
    train_run(run)
    train_run(run, force=True)
    assert [(stage / name).read_text() for name in ("notes.txt", "metrics.mine.csv")] == ["mine"] * 2


@pytest.mark.parametrize("force", [False, True])
def test_files_of_an_unknown_training_are_refused(inputs: Path, *, force: bool) -> None:
    left = inputs / "out" / "semi_supervised" / "best.ckpt"
    left.parent.mkdir(parents=True)
    left.write_text("somebody's")
    run = load_run(inputs / "run.yaml")
    with pytest.raises(OutputError, match=r"semi_supervised.best\.ckpt would be replaced, but there is no .*run\.json"):
        train_run(run, force=force)
    assert left.read_text() == "somebody's"


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_a_stage_folder_that_is_something_else_is_refused_with_force_too(inputs: Path, kind: str) -> None:
    stage, elsewhere = inputs / "out" / "supervised", inputs / "elsewhere"
    elsewhere.mkdir()
    stage.parent.mkdir()
    if kind == "a link":
        stage.symlink_to(elsewhere)
    else:
        stage.write_text("somebody's")
    with pytest.raises(OutputError, match=f"supervised is {kind}"):
        train_run(load_run(inputs / "run.yaml"), force=True)
    assert stage.is_symlink() or stage.read_text() == "somebody's"
    assert list(elsewhere.iterdir()) == []


def test_a_new_training_leaves_no_stage_of_the_one_before(inputs: Path) -> None:
    train_run(load_run(write_run(inputs, semi_supervised=SEMI_SUPERVISED)))
    out = train_run(load_run(write_run(inputs)), force=True).parent
    assert {path.name for path in out.iterdir()} == {"metrics.csv", "model.pt", "run.json", "supervised"}


def test_a_training_that_diverges_late_keeps_its_best_weights(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step = Supervised.training_step

    def diverge(self: Supervised, batch: StepBatch, index: int) -> torch.Tensor:
        return step(self, batch, index) * (torch.nan if self.global_step > 6 else 1)

    monkeypatch.setattr(Supervised, "training_step", diverge)
    out = train_run(load_run(inputs / "run.yaml")).parent
    assert "The best weights so far become the model: the weights are no longer finite after step 12" in caplog.text
    best, checkpoint = torch.load(out / "supervised/best.ckpt", weights_only=True), Checkpoint.load(out / "model.pt")
    assert best["global_step"] == 6
    key = "classifier.head.classify.weight"
    assert torch.equal(checkpoint.segmenter_state[key], best["state_dict"][f"hvae.{key}"])


def test_a_training_that_diverges_says_so(inputs: Path) -> None:
    run = load_run(write_run(inputs, training=TRAINING | {"learning_rate": 1e30}))
    message = r"no longer finite after step 6.*--force.* lower training\.learning_rate than 1e\+30"
    with pytest.raises(TrainingError, match=message):
        train_run(run)
    assert not (run.out / "model.pt").exists()


def test_training_stops_early_when_validation_stalls(inputs: Path) -> None:
    stalled = {"steps": 200, "epoch_steps": 2, "patience": 3, "learning_rate": 1e-12, "accelerator": "cpu"}
    checkpoint = Checkpoint.load(train_run(load_run(write_run(inputs, training=stalled | {"batch_size": 2}))))
    assert checkpoint.training.steps < 200


def test_an_interruption_still_writes_the_model(inputs: Path) -> None:
    settings = {"steps": 100000, "epoch_steps": 2, "batch_size": 2, "patience": 100000, "accelerator": "cpu"}
    run = load_run(write_run(inputs, training=settings))

    ended = threading.Event()

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (run.out / "supervised" / "best.ckpt").exists() and time.monotonic() < deadline:
            if ended.wait(0.05):
                return
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        assert Checkpoint.load(train_run(run)).training.steps < 100000
    finally:
        ended.set()
        interrupting.join()


def test_a_watch_hears_of_every_stage_and_validation(inputs: Path) -> None:
    news: list[Progress] = []
    run = load_run(write_run(inputs, semi_supervised=SEMI_SUPERVISED))
    train_run(run, watch=Watch(news.append))
    assert list(dict.fromkeys(one.what for one in news)) == ["supervised", "semi_supervised"]
    for stage, total, validations in (("supervised", 12, [6, 12]), ("semi_supervised", 6, [6])):
        told = [one for one in news if one.what == stage]
        assert [one.done for one in told] == sorted(one.done for one in told)
        assert {one.total for one in told} == {total}
        validated = [one for one in told if one.is_validated]
        assert [one.done for one in validated] == validations
        dice = [one.figures["dice"] for one in validated]
        assert [one.figures["best"] for one in validated] == np.maximum.accumulate(dice).tolist()
        assert all(np.isfinite(one.figures["loss"]) for one in validated)


def test_a_training_that_is_told_to_stop_writes_its_best_model(inputs: Path) -> None:
    def stop_at_a_validation(progress: Progress) -> None:
        if progress.is_validated:
            progress.stop()

    run = load_run(write_run(inputs, semi_supervised=SEMI_SUPERVISED))
    checkpoint = Checkpoint.load(train_run(run, watch=Watch(stop_at_a_validation)))
    assert 6 <= checkpoint.training.steps < 12
    assert "mean_dice" in checkpoint.training.validation
    assert not (run.out / "semi_supervised").exists()
    resumed = Checkpoint.load(train_run(run, resume=True))
    assert resumed.training.steps == 12 + 6


def test_another_thread_may_stop_a_training(inputs: Path) -> None:
    """As a window does, whose training is in a thread too: signals are none of its business."""
    settings = {"steps": 100000, "epoch_steps": 2, "batch_size": 2, "patience": 100000, "accelerator": "cpu"}
    run, watch, found = load_run(write_run(inputs, training=settings)), Watch(), []
    training = threading.Thread(target=lambda: found.append(train_run(run, watch=watch)))
    handler = signal.getsignal(signal.SIGINT)
    training.start()
    deadline = time.monotonic() + 60
    while not (run.out / "supervised" / "best.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert signal.getsignal(signal.SIGINT) is handler
    watch.stopped.set()
    training.join(60)
    assert Checkpoint.load(found[0]).training.steps < 100000


def test_a_run_without_validation_keeps_the_last_weights(inputs: Path) -> None:
    settings = {"steps": 4, "epoch_steps": 2, "batch_size": 4, "validation_fraction": 0, "accelerator": "cpu"}
    checkpoint = Checkpoint.load(train_run(load_run(write_run(inputs, training=settings))))
    assert checkpoint.training.steps == 4
    assert checkpoint.training.validation == {}
    assert sum(checkpoint.training.labelled_pixels.values()) == 3 * 7 * 4 * 2
    assert not (load_run(inputs / "run.yaml").out / "supervised" / "best.ckpt").exists()


@pytest.mark.parametrize(("kept", "told"), [([], "no labelled pixel"), ([4], "labels of bright only")], ids=str)
def test_validation_slices_that_can_judge_nothing_are_refused(inputs: Path, kept: list[int], told: str) -> None:
    labels = tifffile.imread(inputs / "labels.tif")
    labels[2][~np.isin(labels[2], kept)] = 0
    tifffile.imwrite(inputs / "labels.tif", labels, photometric="minisblack")
    run = load_run(write_run(inputs, slices={"training": "0-1", "validation": "2-2"}))
    with pytest.raises(InputError, match=rf"slices\.validation is 2-2, where the label images have {told}"):
        read_training_data(run)


@pytest.mark.parametrize(
    ("strokes", "told"),
    [
        ({1: 3, 4: 3, 7: 1}, "No label of odd is held out, so validation and calibration ignore it"),
        (
            {1: 3, 4: 1, 7: 1},
            "No label is held out for validation: the model is that of the last step",
        ),
        ({1: 3, 4: 2, 7: 2}, ""),
    ],
    ids=["one class", "all", "none"],
)
def test_classes_of_which_no_label_is_held_out_are_named(
    inputs: Path, caplog: pytest.LogCaptureFixture, strokes: dict[int, int], told: str
) -> None:
    labels = np.zeros((3, 64, 64), np.uint8)
    for column, (value, count) in enumerate(strokes.items()):
        for row in range(count):
            labels[0, 4 + 8 * row, 20 * column : 20 * column + 5] = value
    tifffile.imwrite(inputs / "labels.tif", labels, photometric="minisblack")
    asked = {"training": TRAINING | {"validation_fraction": 0.1}}
    data = read_training_data(load_run(write_run(inputs, classes=CLASSES | {7: "odd"}, **asked)))
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)
    held_out = {index for index, count in enumerate(strokes.values()) if count > 1}
    assert set(data.validation.labels.tolist()) == (held_out if len(held_out) > 1 else set())


@pytest.mark.parametrize(
    ("strokes", "length", "held_out"),
    [
        ({1: 10, 4: 10}, 12, {0, 1}),
        ({1: 10, 4: 10}, 4, set()),
        ({1: 10, 4: 10, 7: 4}, 12, {0, 1}),
        ({1: 4, 4: 4}, 20, set()),
    ],
    ids=["enough", "few pixels", "few strokes of a class", "few strokes"],
)
def test_few_labels_are_all_learnt_from(inputs: Path, strokes: dict[int, int], length: int, held_out: set[int]) -> None:
    labels = np.zeros((3, 64, 64), np.uint8)
    for column, (value, count) in enumerate(strokes.items()):
        for row in range(count):
            labels[row // 5, 4 + 8 * (row % 5), 21 * column : 21 * column + length] = value
    tifffile.imwrite(inputs / "labels.tif", labels, photometric="minisblack")
    names = {value: f"class {value}" for value in strokes}
    data = read_training_data(load_run(write_run(inputs, classes=names)))
    assert set(data.validation.labels.tolist()) == held_out
    assert len(data.training) + len(data.validation) == sum(strokes.values()) * length


def test_the_prior_is_learnt(inputs: Path) -> None:
    state = Checkpoint.load(train_run(load_run(write_run(inputs)))).generative_state
    start = MixturePrior(2, 4).state_dict()
    assert not any(torch.equal(state[f"mixture.{key}"], start[key]) for key in ("means", "log_variances"))


def test_slices_decide_what_is_trained_on_and_validated_on(inputs: Path) -> None:
    data = read_training_data(load_run(write_run(inputs, slices={"training": "0-1", "validation": "2-2"})))
    assert set(data.training.places[:, 0]) == {0, 1}
    assert set(data.validation.places[:, 0]) == {2}
    image = tifffile.imread(inputs / "image.tif")
    np.testing.assert_allclose(data.statistics.mean, image[:2].mean())
    assert data.labelled_fraction == 2 * 7 * 4 * 2 / image[:2].size


@pytest.mark.parametrize("strength", [1, 0.5])
def test_given_frequencies_become_the_shift_of_the_logits(inputs: Path, strength: float) -> None:
    changes = {"frequencies": {"dark": 3, "bright": 1}, "prior_strength": strength, "training": LEARNT}
    checkpoint = Checkpoint.load(train_run(load_run(write_run(inputs, **changes))))
    assert checkpoint.frequency_source == "given"
    assert [one.frequency for one in checkpoint.classes] == [0.75, 0.25]
    shift = checkpoint.segmenter_state["log_prior_shift"].flatten().numpy()
    np.testing.assert_allclose(shift, strength * np.log([0.75 / 0.5, 0.25 / 0.5]), rtol=1e-6)
    assert checkpoint.prior_strength == pytest.approx(strength)


def test_frequencies_that_would_erase_a_class_are_applied_in_part_and_said(
    inputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Barely trained, so that its logits are small beside this shift.
    frequencies = {"dark": 1e-6, "bright": 1}
    checkpoint = Checkpoint.load(train_run(load_run(write_run(inputs, frequencies=frequencies))))
    assert checkpoint.prior_strength < 1
    assert "correction for class frequencies has the strength" in caplog.text


def test_the_calibration_of_the_classes_is_in_the_last_layer(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Strengths(*np.ones((4, 2)))
    correction = Correction(2.0, np.array([0.3, -0.3]), np.array([0.75, 0.25]), whole, 1)
    monkeypatch.setattr("eseg_zoo.training.finish.fit_correction", lambda *_, **__: correction)
    model = train_run(load_run(write_run(inputs)))
    best = torch.load(model.parent / "supervised" / "best.ckpt", weights_only=True)["state_dict"]
    state = Checkpoint.load(model).segmenter_state
    key = "classifier.head.classify.bias"
    # Divided by the temperature, these are the biases.
    torch.testing.assert_close(state[key] - best[f"hvae.{key}"], torch.tensor([0.6, -0.6]))
    np.testing.assert_allclose(state["log_prior_shift"].flatten(), np.log([1.5, 0.5]), rtol=1e-6)
    assert state["temperature"] == 2


@pytest.mark.slow
def test_balanced_frequencies_shift_nothing(inputs: Path) -> None:
    """But the calibration is that of any run."""
    balanced, given = (
        Checkpoint.load(train_run(load_run(write_run(inputs, frequencies=frequencies, training=LEARNT, out=out))))
        for out, frequencies in (("balanced", "balanced"), ("given", {"dark": 3, "bright": 1}))
    )
    assert not balanced.segmenter_state["log_prior_shift"].any()
    assert given.segmenter_state["log_prior_shift"].any()
    for key in ("temperature", "classifier.head.classify.bias"):
        assert torch.equal(balanced.segmenter_state[key], given.segmenter_state[key])


def test_the_sample_is_a_crop_of_a_training_image(inputs: Path) -> None:
    checkpoint = Checkpoint.load(train_run(load_run(write_run(inputs, slices={"training": "1-1"}))))
    np.testing.assert_array_equal(checkpoint.sample.numpy()[0], tifffile.imread(inputs / "image.tif")[1])


def test_16_bit_images_of_the_other_byte_order_train(inputs: Path) -> None:
    image = tifffile.imread(inputs / "image.tif").astype(">u2") * 200
    tifffile.imwrite(inputs / "image.tif", image, imagej=True)
    checkpoint = Checkpoint.load(train_run(load_run(inputs / "run.yaml")))
    assert checkpoint.image_dtype == "uint16"
    np.testing.assert_array_equal(checkpoint.sample.numpy()[0], image[0])


def test_a_disk_that_fills_during_training_is_one_line(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("lightning.pytorch.trainer.trainer.Trainer.save_checkpoint", full)
    with pytest.raises(OutputError, match="No space left on device"):
        train_run(load_run(inputs / "run.yaml"))
    assert not (inputs / "out" / "model.pt").exists()
