"""The fluorescence phantom shows stained cells: thresholds fail on it, and what surrounds a pixel tells."""

import numpy as np
import pytest
from eseg_export.demo import fluorescence as phantoms
from eseg_export.demo.fluorescence import CLASSES, fluorescence_phantom
from eseg_export.demo.phantom import Phantom
from eseg_export.demo.strokes import sparse_strokes
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

BACKGROUND, CYTOPLASM, NUCLEUS = 1, 2, 3


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return fluorescence_phantom((8, 256, 256), rng=np.random.default_rng(0))


def dice_per_class(truth: np.ndarray, found: np.ndarray) -> list[float]:
    return [2 * np.sum((truth == k) & (found == k)) / (np.sum(truth == k) + np.sum(found == k)) for k in CLASSES]


@pytest.mark.parametrize("shape", [(1, 128, 128), (1, 130, 201), (4, 160, 128)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_voxel_is_labelled_and_every_class_occurs(shape: tuple[int, int, int], seed: int) -> None:
    phantom = fluorescence_phantom(shape, rng=np.random.default_rng(seed))
    depth, height, width = shape
    assert phantom.image.shape == (depth, 2, height, width)
    assert phantom.image.dtype == np.uint16
    assert phantom.truth.shape == shape
    assert set(np.unique(phantom.truth)) == set(phantom.classes) == {1, 2, 3}


def test_the_seed_decides_the_phantom() -> None:
    def made(seed: int) -> tuple[bytes, bytes]:
        phantom = fluorescence_phantom((2, 128, 130), rng=np.random.default_rng(seed))
        return phantom.image.tobytes(), phantom.truth.tobytes()

    assert made(3) == made(3)
    assert all(ours != theirs for ours, theirs in zip(made(3), made(4), strict=True))


def test_class_frequencies_are_unequal_and_nuclei_are_rare(phantom: Phantom) -> None:
    background, cytoplasm, nuclei = np.bincount(phantom.truth.ravel(), minlength=4)[1:] / phantom.truth.size
    assert 0.25 < background < 0.6
    assert 0.3 < cytoplasm < 0.6
    assert 0.05 < nuclei < 0.2


def test_nuclei_lie_inside_cytoplasm(phantom: Phantom) -> None:
    to_background = ndimage.distance_transform_edt(phantom.truth != BACKGROUND, sampling=(3, 1, 1))
    assert to_background[phantom.truth == NUCLEUS].min() > 4


def test_cells_touch_in_places_and_lie_apart_in_others() -> None:
    phantom = fluorescence_phantom((1, 512, 512), rng=np.random.default_rng(0))
    cells, count = ndimage.label(phantom.truth[0] > BACKGROUND)
    nuclei, _ = ndimage.label(ndimage.binary_opening(phantom.truth[0] == NUCLEUS, np.ones((5, 5))))
    held = [len(set(np.unique(nuclei[cells == cell])) - {0}) for cell in range(1, count + 1)]
    assert sum(number >= 2 for number in held) >= 2  # several nuclei in one patch of cytoplasm
    assert sum(number == 1 for number in held) >= 5


def test_structures_continue_from_section_to_section(phantom: Phantom) -> None:
    def agreement(step: int) -> float:
        return float(np.mean(phantom.truth[step:] == phantom.truth[:-step]))

    unrelated = float(np.mean(phantom.truth == phantom.truth[:, ::-1, ::-1]))
    assert 1.0 > agreement(1) > agreement(2) > agreement(4) > unrelated
    assert agreement(1) > 0.85


def test_each_channel_shows_its_stain_and_some_of_the_other(phantom: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantoms, "BLEED", ((1.0, 0.0), (0.0, 1.0)))
    pure = fluorescence_phantom((8, 256, 256), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(pure.truth, phantom.truth)
    means = {
        name: [[image[:, channel][phantom.truth == k].mean() for k in CLASSES] for channel in (0, 1)]
        for name, image in (("mixed", phantom.image), ("pure", pure.image))
    }
    nuclei, cytoplasm = means["mixed"]
    assert nuclei[NUCLEUS - 1] > nuclei[CYTOPLASM - 1] > nuclei[BACKGROUND - 1]
    assert cytoplasm[CYTOPLASM - 1] > cytoplasm[BACKGROUND - 1]
    contrast = {name: found[0][CYTOPLASM - 1] - found[0][BACKGROUND - 1] for name, found in means.items()}
    assert contrast["mixed"] > 2 * contrast["pure"]  # what is left of it is haze from the nuclei


def test_noise_is_that_of_counted_photons_and_a_camera() -> None:
    stains = np.zeros((2, 40, 128, 128), np.float32)
    stains[0] = 30.0  # photons everywhere, so that blur changes nothing
    image = phantoms._micrograph(stains, np.random.default_rng(0))
    middle = image[0, 0, 60:68, 60:68].mean() - phantoms.OFFSET
    deepest = image[-1, 0, 60:68, 60:68].mean() - phantoms.OFFSET
    assert deepest / middle == pytest.approx(np.exp(-39 * phantoms.ATTENUATION), abs=0.1)
    flat = image[:, 0, 60:64, 60:64].astype(float)
    within = (flat - flat.mean((1, 2), keepdims=True)).var(ddof=1) * 16 / 15
    photons = (flat.mean() - phantoms.OFFSET) / phantoms.GAIN
    assert within == pytest.approx(phantoms.GAIN**2 * photons + phantoms.READ_NOISE**2, rel=0.2)


def test_light_fades_towards_the_corners() -> None:
    stains = np.full((2, 4, 128, 128), 50.0, np.float32)
    image = phantoms._micrograph(stains, np.random.default_rng(0))[:, 0].mean(0) - phantoms.OFFSET
    blocks = image.reshape(8, 16, 8, 16).mean((1, 3))
    assert blocks.min() < 0.6 * blocks.max()
    assert blocks.min() in (blocks[0, 0], blocks[0, -1], blocks[-1, 0], blocks[-1, -1])


def best_dice_of_two_thresholds(phantom: Phantom) -> float:
    """Nucleus where the nuclear stain is bright, else cytoplasm where the other is; chosen on the voxels it judges."""
    stains = [ndimage.gaussian_filter(phantom.image[:, c].astype(np.float32), (0, 2, 2)) for c in (0, 1)]
    thresholds = [np.quantile(stain, np.linspace(0.1, 0.98, 25)) for stain in stains]
    best = 0.0
    for bright in thresholds[0]:
        for visible in thresholds[1]:
            found = np.where(stains[0] > bright, NUCLEUS, np.where(stains[1] > visible, CYTOPLASM, BACKGROUND))
            best = max(best, float(np.mean(dice_per_class(phantom.truth, found))))
    return best


def test_thresholds_fail_where_surroundings_tell_the_classes(phantom: Phantom) -> None:
    unseen = fluorescence_phantom((1, 256, 256), rng=np.random.default_rng(7))

    def features(section: np.ndarray) -> np.ndarray:
        found = multiscale_basic_features(section, sigma_min=1, sigma_max=16, workers=1, channel_axis=0)
        return found.reshape(section[0].size, -1)

    seen, answer = np.vstack([features(phantom.image[z]) for z in (0, 6)]), phantom.truth[[0, 6]].ravel()
    rng = np.random.default_rng(0)
    train = np.concatenate([rng.choice(np.flatnonzero(answer == k), 1000) for k in CLASSES])
    forest = RandomForestClassifier(30, min_samples_leaf=3, random_state=0).fit(seen[train], answer[train])
    dice = dice_per_class(unseen.truth.ravel(), forest.predict(features(unseen.image[0])))
    assert best_dice_of_two_thresholds(phantom) < 0.7
    assert np.mean(dice) > best_dice_of_two_thresholds(unseen) + 0.05


def test_strokes_are_painted_on_it_as_on_the_em_phantom(phantom: Phantom) -> None:
    strokes = sparse_strokes(phantom.truth, fraction=0.01, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(strokes[strokes > 0], phantom.truth[strokes > 0])
    pixels = np.bincount(strokes.ravel(), minlength=4)[1:]
    assert pixels.max() < 1.1 * pixels.min()


@pytest.mark.parametrize("shape", [(0, 128, 128), (1, 127, 128), (1, 128, 64), (128, 128)])
def test_a_shape_too_small_is_refused_with_its_value(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"shape is \({shape[0]}, .*z >= 1 and y, x >= 128"):
        fluorescence_phantom(shape, rng=np.random.default_rng(0))
