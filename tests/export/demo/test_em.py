"""The phantom is EM-like: it has a truth for every voxel, and grey values alone do not give it away."""

import numpy as np
import pytest
from eseg_export.demo.em import em_phantom
from eseg_export.demo.phantom import Phantom
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return em_phantom((8, 256, 256), rng=np.random.default_rng(0))


def dice_per_class(truth: np.ndarray, found: np.ndarray) -> list[float]:
    return [2 * np.sum((truth == k) & (found == k)) / (np.sum(truth == k) + np.sum(found == k)) for k in (1, 2, 3, 4)]


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 70, 131), (5, 96, 64), (3, 200, 180)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_voxel_is_labelled_and_every_class_occurs(shape: tuple[int, int, int], seed: int) -> None:
    phantom = em_phantom(shape, rng=np.random.default_rng(seed))
    assert phantom.image.shape == phantom.truth.shape == shape
    assert phantom.image.dtype == phantom.truth.dtype == np.uint8
    assert set(np.unique(phantom.truth)) == set(phantom.classes) == {1, 2, 3, 4}


def test_the_seed_decides_the_phantom() -> None:
    def made(seed: int) -> tuple[bytes, bytes]:
        phantom = em_phantom((2, 80, 90), rng=np.random.default_rng(seed))
        return phantom.image.tobytes(), phantom.truth.tobytes()

    assert made(3) == made(3)
    assert all(ours != theirs for ours, theirs in zip(made(3), made(4), strict=True))


def test_class_frequencies_are_unequal_and_the_rarest_is_rare(phantom: Phantom) -> None:
    shares = np.bincount(phantom.truth.ravel(), minlength=5)[1:] / phantom.truth.size
    assert 0.04 < shares.min() < 0.10
    assert 0.5 < shares.max() < 0.8


def test_structures_continue_from_section_to_section(phantom: Phantom) -> None:
    def agreement(step: int) -> float:
        return float(np.mean(phantom.truth[step:] == phantom.truth[:-step]))

    unrelated = float(np.mean(phantom.truth == phantom.truth[:, ::-1, ::-1]))
    assert 1.0 > agreement(1) > agreement(2) > agreement(4) > unrelated
    assert agreement(1) > 0.75


def best_dice_on_intensity(phantom: Phantom) -> float:
    """Mean Dice of the best rule on one smoothed grey value.

    Bayes on its histogram, fitted to the very voxels it judges, with class weights from "as frequent" to "all equal".
    """
    best = 0.0
    for sigma in (0, 1, 2, 3, 5):
        grey = ndimage.gaussian_filter(phantom.image.astype(np.float32), (0, sigma, sigma))
        bins = np.searchsorted(np.quantile(grey, np.linspace(0, 1, 101)[1:-1]), grey)
        counts = np.stack([np.bincount(bins[phantom.truth == k], minlength=100) for k in (1, 2, 3, 4)])
        for weight in (0.0, 0.5, 1.0):
            rule = 1 + np.argmax(counts / counts.sum(axis=1, keepdims=True) ** weight, axis=0)
            best = max(best, float(np.mean(dice_per_class(phantom.truth, rule[bins]))))
    return best


def test_intensity_alone_does_not_separate_the_classes(phantom: Phantom) -> None:
    assert 0.25 < best_dice_on_intensity(phantom) < 0.45


def test_texture_separates_the_classes_much_better_than_intensity(phantom: Phantom) -> None:
    unseen = em_phantom((1, 256, 256), rng=np.random.default_rng(7))

    def features(section: np.ndarray) -> np.ndarray:
        return multiscale_basic_features(section, sigma_min=1, sigma_max=8, workers=1).reshape(section.size, -1)

    seen, answer = np.vstack([features(phantom.image[z]) for z in (0, 6)]), phantom.truth[[0, 6]].ravel()
    rng = np.random.default_rng(0)
    train = np.concatenate([rng.choice(np.flatnonzero(answer == k), 1000) for k in (1, 2, 3, 4)])
    forest = RandomForestClassifier(30, min_samples_leaf=3, random_state=0).fit(seen[train], answer[train])
    dice = dice_per_class(unseen.truth.ravel(), forest.predict(features(unseen.image[0])))
    assert np.mean(dice) > best_dice_on_intensity(unseen) + 0.15


def test_dark_does_not_mean_membrane(phantom: Phantom) -> None:
    grey = phantom.image.astype(np.float32)
    darkness = ndimage.gaussian_filter(grey, (0, 12, 12)) - ndimage.gaussian_filter(grey, (0, 1.5, 1.5))
    as_dark = darkness > np.median(darkness[phantom.truth == 1])
    deep = ndimage.binary_erosion(phantom.truth == 2, np.ones((1, 9, 9)))  # no blur from another class reaches it
    assert np.mean(as_dark[deep]) > 0.005  # lipid drops and reticulum
    assert np.mean(as_dark[phantom.truth == 3]) > 0.15  # cristae and rims
    assert np.mean(as_dark[phantom.truth == 4]) > 0.05


@pytest.mark.parametrize("shape", [(0, 64, 64), (1, 63, 64), (1, 64, 63), (64, 64)])
def test_a_shape_too_small_is_refused_with_its_value(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"shape is \({shape[0]}, .*z >= 1 and y, x >= 64"):
        em_phantom(shape, rng=np.random.default_rng(0))
