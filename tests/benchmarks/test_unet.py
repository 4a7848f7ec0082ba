from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import unet
from eseg_zoo.config import PRESETS, NetworkSettings, TrainingSettings
from multiply_adds import prediction_cost
from unet import BORDER, TILE, Examples, TileSource, TrainedUNet, UNet, anywhere, near_labels, train_unet, width_for


def halves(slices: int) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Slices that are dark on the left and bright on the right, and their classes 0 and 1."""
    rng = np.random.default_rng(0)
    truth = np.zeros((slices, 128, 128), np.int16)
    truth[:, :, 64:] = 1
    return (90 + 60 * truth + rng.normal(0, 10, truth.shape)).astype(np.uint8), truth


def sparse(truth: NDArray[np.int16], share: float) -> NDArray[np.int16]:
    return np.where(np.random.default_rng(1).random(truth.shape) < share, truth, -1).astype(np.int16)


def test_the_width_matches_the_small_preset_within_a_tenth() -> None:
    wanted = prediction_cost(NetworkSettings(**PRESETS["small"]["network"]).architecture(channels=1, classes=5))
    assert unet.cost(width_for(wanted, 5), 5) == pytest.approx(wanted, rel=0.1)


def test_a_network_that_cannot_be_matched_is_refused() -> None:
    with pytest.raises(ValueError, match="multiply-adds per pixel; 10 are wanted"):
        width_for(10, 5)


def test_logits_have_the_size_of_the_image() -> None:
    assert UNet(2, 5)(torch.zeros(2, 1, 24, 40)).shape == (2, 5, 24, 40)


def test_tiles_judge_their_labelled_centre_alone_and_hold_its_pixels() -> None:
    _, truth = halves(2)
    source = TileSource(
        Examples(truth.astype(np.uint8), sparse(truth, 0.01)), near_labels(sparse(truth, 0.01)), 0.0, 1.0,
        np.random.default_rng(0),
    )  # fmt: skip
    tiles, labels = source.batch(40)
    assert tiles.shape == (40, 1, TILE, TILE)
    assert (labels >= 0).flatten(1).any(1).all(), "every tile has a labelled pixel to learn from"
    border = torch.ones(TILE, TILE, dtype=torch.bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    assert (labels[:, border] == -1).all()
    labelled = labels >= 0
    assert torch.equal(tiles[:, 0][labelled].long(), labels[labelled]), "labels are turned with the image"


def test_anchors_of_every_class_come_equally_often() -> None:
    labels = np.full((3, 40, 40), -1, np.int16)
    labels[0, :, :20], labels[2, 5, 5] = 0, 1
    places = near_labels(labels)(100, np.random.default_rng(0))
    assert np.bincount(labels[tuple(places.T)]).tolist() == [50, 50]


def test_places_of_the_dense_variant_are_anywhere() -> None:
    places = anywhere(np.zeros((2, 30, 50), np.int16))(4000, np.random.default_rng(0))
    assert places.min(0).tolist() == [0, 0, 0]
    assert places.max(0).tolist() == [1, 29, 49]


def test_training_learns_from_few_pixels() -> None:
    images, truth = halves(3)
    settings = TrainingSettings(steps=24, epoch_steps=8, learning_rate=1e-2)
    training, validation = Examples(images[:2], sparse(truth[:2], 0.002)), Examples(images[2:], sparse(truth[2:], 0.01))
    torch.manual_seed(0)
    draw = near_labels(training.labels)
    trained = train_unet(UNet(4, 2), training, validation, draw, settings=settings, tiles=4, seed=0)
    assert (trained.logits(images[2]).argmax(0) == truth[2]).mean() > 0.95


def test_slices_may_differ_in_size_and_without_validation_the_last_weights_stay() -> None:
    images, truth = halves(2)
    examples = Examples([images[0], images[1, 20:120]], [sparse(truth, 0.002)[0], sparse(truth, 0.01)[1, 20:120]])
    settings = TrainingSettings(steps=24, epoch_steps=8, learning_rate=1e-2)
    torch.manual_seed(0)
    trained = train_unet(UNet(4, 2), examples, None, near_labels(examples.labels), settings=settings, tiles=4, seed=0)
    assert (trained.logits(images[0]).argmax(0) == truth[0]).mean() > 0.95


def test_a_slice_of_any_size_is_judged_whole() -> None:
    trained = TrainedUNet(UNet(2, 3), 100.0, 30.0)
    image = halves(1)[0][0]
    logits = trained.logits(image[:45, :51])
    assert logits.shape == (3, 45, 51)
    np.testing.assert_array_equal(
        logits, trained.logits(np.pad(image[:45, :51], ((0, 3), (0, 5)), "symmetric"))[:, :45, :51]
    )


def test_training_ends_with_its_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def scripted(self: TrainedUNet, examples: Examples) -> float:
        seen.append(copy.deepcopy(self.network.state_dict()))
        return [0.2, 0.6, 0.4][len(seen) - 1]

    monkeypatch.setattr(TrainedUNet, "soft_dice", scripted)
    images, truth = halves(1)
    examples = Examples(images, sparse(truth, 0.01))
    settings = TrainingSettings(steps=5, epoch_steps=2)
    draw = near_labels(examples.labels)
    trained = train_unet(UNet(2, 2), examples, examples, draw, settings=settings, tiles=2, seed=0)
    assert len(seen) == 3, "after steps 2, 4 and 5"
    kept = trained.network.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in seen[1].items())
    assert not torch.equal(kept["classify.weight"], seen[2]["classify.weight"])


@pytest.mark.parametrize(("weights", "expected"), [(None, 0.1), (np.array([1 / 0.9, 1 / 0.1]), 0.5)])
def test_weights_make_a_rare_class_count_as_much_as_a_frequent_one(
    weights: np.ndarray[tuple[int], np.dtype[np.float64]] | None, expected: float
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 96, 96), dtype=np.uint8)  # which say nothing of the labels
    labels = (rng.random(images.shape) < 0.1).astype(np.int16)
    examples = Examples(images, labels)
    settings = TrainingSettings(steps=60, epoch_steps=60, learning_rate=2e-2)
    torch.manual_seed(0)
    draw = anywhere(labels)
    trained = train_unet(UNet(2, 2), examples, examples, draw, settings=settings, tiles=8, seed=0, weights=weights)
    rare = torch.from_numpy(trained.logits(images[0])).softmax(0)[1]
    assert float(rare.mean()) == pytest.approx(expected, abs=0.06)
