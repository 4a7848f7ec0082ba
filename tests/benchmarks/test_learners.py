from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import predict_section
from eseg_zoo.patches.sections import sections_of
from learners import judge_checkpoint, learn, merged
from rows import Row
from vnc import CLASSES, UNSEEN, Volume, judge

TINY: dict[str, Any] = {
    "network": {"filters": [8, 8, 8], "latents": 4},
    "training": {"steps": 2, "epoch_steps": 2, "batch_size": 8},
    "semi_supervised": {"steps": 0},
    "loss": {"alpha": 0},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 slices of five bands of grey, with 8 points of each class in each slice."""
    folder = tmp_path_factory.mktemp("vnc")
    rng = np.random.default_rng(0)
    dense = np.tile(np.repeat(np.arange(1, 6), 16).astype(np.uint8), (14, 80, 1))
    points = np.zeros_like(dense)
    for z, section in enumerate(dense):
        for value in CLASSES:
            places = rng.choice(np.argwhere(section == value), 8, replace=False)
            points[z][tuple(places.T)] = value
    raw = (dense * 40 + rng.normal(0, 8, dense.shape)).clip(0, 255).astype(np.uint8)
    for name, stack in (("raw", raw), ("labels_dense", dense), ("labels_points", points), ("labels_scribbles", points)):
        tifffile.imwrite(folder / f"{name}.tif", stack, photometric="minisblack")
    return folder


def test_settings_of_nested_blocks_are_merged() -> None:
    base = {"loss": {"alpha": 1, "beta": 2}, "seed": 0}
    assert merged(base, {"loss": {"beta": 0}, "ema": 1}) == {"loss": {"alpha": 1, "beta": 0}, "seed": 0, "ema": 1}
    assert base == {"loss": {"alpha": 1, "beta": 2}, "seed": 0}


def test_a_model_without_its_correction_is_the_model_with_its_shift_at_zero(
    data: Path, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    volume, checkpoint = Volume.read(data), make_checkpoint(classes=5)
    judged = judge_checkpoint(checkpoint, volume)
    truth = volume.labels["dense"][list(UNSEEN)]
    predictor, sections = Predictor(checkpoint, device="cpu"), sections_of(open_image(volume.raw, axes="zyx"), 2)
    corrected = np.stack([predict_section(predictor, sections[z]) for z in UNSEEN])
    predictor.segmenter.log_prior_shift.zero_()
    bare = np.stack([predict_section(predictor, sections[z]) for z in UNSEEN])
    assert judged.corrected == pytest.approx(judge(corrected, truth), abs=1e-3)
    assert judged.argmax == pytest.approx(judge(bare, truth), abs=1e-3)
    assert judged.argmax != judged.corrected


def test_the_network_is_trained_as_a_user_would_with_the_settings_of_the_row(data: Path, tmp_path: Path) -> None:
    outcome = learn(data, Row("network", "points", 3, 0, 5, TINY), tmp_path)
    assert outcome.labelled_pixels == 12 * 5 * 3
    assert list(outcome.corrected) == list(CLASSES.values())
    assert outcome.cpu_seconds > 0
    checkpoint = Checkpoint.load(tmp_path / "model.pt")
    assert checkpoint.training.steps == 2
    assert sum(checkpoint.training.labelled_pixels.values()) == 12 * 5 * 3
    assert set(checkpoint.training.validation_pixels.values()) == {2 * 8}, "the points of slices 12-13 are left whole"
    run = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert run["training"] == {"accelerator": "cpu", **TINY["training"]}
    assert (run["loss"], run["seed"]) == ({"alpha": 0}, 5)


def test_the_network_alone_sees_no_label_of_the_slices_it_is_judged_on(data: Path, tmp_path: Path) -> None:
    outcome = learn(data, Row("network-alone", "points", 8, 0, 5, TINY), tmp_path)
    assert outcome.labelled_pixels == 12 * 5 * 8
    record = Checkpoint.load(tmp_path / "model.pt").training
    assert sum(record.labelled_pixels.values()) + sum(record.validation_pixels.values()) == 12 * 5 * 8
    assert 0 < sum(record.validation_pixels.values()) < 12 * 5 * 8 / 5
    assert not tifffile.imread(tmp_path / "labels.tif")[list(UNSEEN)].any()


def test_the_volume_learns_from_the_training_slices_and_is_judged_on_the_others(data: Path, tmp_path: Path) -> None:
    settings = merged(TINY, {"network": {"filters": [8, 8]}, "training": {"batch_size": 2}})
    outcome = learn(data, Row("volume", "points", 3, 0, 5, settings), tmp_path)
    assert outcome.labelled_pixels == 12 * 5 * 3
    checkpoint = Checkpoint.load(tmp_path / "model.pt")
    assert checkpoint.dims == 3
    assert checkpoint.voxel_size["z"] == 0.05
    assert sum(checkpoint.training.labelled_pixels.values()) == 12 * 5 * 3
    assert set(checkpoint.training.validation_pixels.values()) == {2 * 8}
    volume = Volume.read(data)
    (section,) = sections_of(open_image(volume.raw, axes="zyx"), 3)
    whole = predict_section(Predictor(checkpoint, device="cpu"), section)
    expected = judge(whole[:, list(UNSEEN)].swapaxes(0, 1), volume.labels["dense"][list(UNSEEN)])
    assert outcome.corrected == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("learner", "labels", "pixels"), [("forest", "points", 180), ("dense-unet", "dense", 76800)])
def test_peers_learn_from_the_training_slices_alone(
    data: Path, tmp_path: Path, learner: str, labels: str, pixels: int
) -> None:
    per_class = None if labels == "dense" else 3
    settings = {"training": {"steps": 2, "batch_size": 8}}
    outcome = learn(data, Row(learner, labels, per_class, 0, 0, settings), tmp_path)
    assert outcome.labelled_pixels == pixels
    assert all(0 <= value <= 1 for value in [*outcome.argmax.values(), *outcome.corrected.values()])
    if learner == "forest":
        assert outcome.mean_argmax > 0.8, "five greys are easy"
