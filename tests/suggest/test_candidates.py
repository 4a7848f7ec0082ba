"""Which places of a part are worth a label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from in_memory import section_of
from numpy.typing import NDArray

from conftest import ARCHITECTURES, texture
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import predict_window, read_padded
from eseg_zoo.metrics import entropy
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.patches.sections import Section
from eseg_zoo.suggest.candidates import MOST_CANDIDATES, REACH, Candidates, View, features_at, find_candidates, look

GEOMETRIES = {dims: Architecture(**arguments).geometry for dims, arguments in ARCHITECTURES.items()}
NONE = np.zeros((0, 2), np.int64)


def view_of(probabilities: NDArray[np.floating], pixels: NDArray[np.floating]) -> tuple[View, Section]:
    """What a network would see that gives these probabilities (classes, y, x) for an image (c, y, x)."""
    section = section_of(pixels)
    padded = read_padded(section, section.whole, GEOMETRIES[2])
    size = [n // step for n, step in zip(section.space, GEOMETRIES[2].stride_of(0), strict=True)]
    latents = np.random.default_rng(5).normal(size=(3, *size)).astype(np.float32)
    return View(section.whole, padded, probabilities.astype(np.float32), latents), section


def blobs(*centres: tuple[int, int], side: int = 15, space: tuple[int, int] = (96, 96)) -> NDArray[np.floating]:
    """Probabilities (2, *space) of a network that is sure, but for squares around these places."""
    first = np.full(space, 0.99)
    for y, x in centres:
        first[y - side // 2 : y + side // 2 + 1, x - side // 2 : x + side // 2 + 1] = 0.6
    return np.stack([first, 1 - first])


def noise(space: tuple[int, int] = (96, 96)) -> NDArray[np.floating]:
    return np.random.default_rng(0).integers(1, 255, (1, *space)).astype(np.float32)


def found_in(
    probabilities: NDArray[np.floating], pixels: NDArray[np.floating], taken: NDArray[np.int64] = NONE
) -> Candidates:
    view, section = view_of(probabilities, pixels)
    return find_candidates(view, section, GEOMETRIES[2], taken, np.random.default_rng(1))


def test_every_class_has_as_many_candidates_however_rare_it_is() -> None:
    found = found_in(blobs((30, 40)), noise())  # 0.6 of the first class within, and so of the first everywhere
    assert len(found.places) == MOST_CANDIDATES // 2 + 1
    rare = found_in(blobs((30, 40), side=31) - np.array([0.2, -0.2])[:, None, None], noise())
    of_second = rare.probabilities.argmax(1) == 1
    assert np.bincount(of_second).tolist() == [MOST_CANDIDATES // 2] * 2
    assert np.abs(rare.places[of_second] - [30, 40]).max() <= 15


def test_a_class_that_the_map_has_nowhere_has_its_likeliest_place() -> None:
    found = found_in(blobs((30, 40)), noise())
    best = found.places[found.probabilities[:, 1].argmax()]
    # Any region within the square is as likely as any other: the middle pixel of the plateau or one near it.
    assert np.abs(best - [30, 40]).max() <= 2
    assert found.probabilities[:, 1].max() == pytest.approx(0.4, rel=1e-4)


def test_what_is_known_of_a_candidate_is_the_mean_of_its_region() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet([1, 1, 1], (64, 64)).transpose(2, 0, 1).astype(np.float32)
    found = found_in(probabilities, noise((64, 64)))
    unsure, guess = entropy(probabilities), probabilities.argmax(0)
    assert len(found.places) > 4
    rows = zip(found.places.tolist(), found.probabilities, found.uncertainty, found.guesses, strict=True)
    for (y, x), likely, value, index in rows:
        region = slice(y - REACH, y + REACH + 1), slice(x - REACH, x + REACH + 1)
        np.testing.assert_allclose(likely, probabilities[(slice(None), *region)].mean((1, 2)), rtol=1e-4)
        assert value == pytest.approx(unsure[region].mean(), rel=1e-4)
        assert index == guess[y, x]


def test_no_candidate_comes_twice_and_the_same_generator_draws_the_same() -> None:
    probabilities = np.random.default_rng(3).dirichlet([1, 1, 1], (96, 96)).transpose(2, 0, 1)
    found, again = (found_in(probabilities, noise()) for _ in range(2))
    assert len(np.unique(found.places, axis=0)) == len(found.places) <= MOST_CANDIDATES
    np.testing.assert_array_equal(found.places, again.places)


def test_no_candidate_is_in_padding_or_touches_it() -> None:
    pixels = noise()
    pixels[:, :50] = 0
    pixels[:, :, :20] = 255
    found = found_in(np.full((2, 96, 96), 0.5), pixels)
    assert len(found.places)
    assert found.places[:, 0].min() >= 50 + REACH
    assert found.places[:, 1].min() >= 20 + REACH


def test_no_candidate_is_at_the_very_border_of_an_image() -> None:
    found = found_in(np.full((2, 96, 96), 0.5), noise())
    assert found.places.min() >= REACH
    assert found.places.max() < 96 - REACH


def test_a_part_at_the_end_of_an_image_is_still_at_its_border(checkpoint: Checkpoint) -> None:
    section = section_of(noise((96, 99)))
    window = (slice(0, 96), slice(96, 99))  # narrower than a region, of an image that is not
    view = look(Predictor(checkpoint, device="cpu"), section, window)
    assert len(find_candidates(view, section, GEOMETRIES[2], NONE, np.random.default_rng(1)).places) == 0


def test_an_image_narrower_than_a_region_still_has_candidates() -> None:
    assert len(found_in(np.full((2, 96, 8), 0.5), noise((96, 8))).places)


def test_no_candidate_has_a_labelled_pixel_in_its_region() -> None:
    taken = np.array([[30, 40], [500, 3], [-4, 20]])  # the others are of other parts
    found = found_in(blobs((30, 40)), noise(), taken)
    assert len(found.places)
    assert np.abs(found.places - [30, 40]).max(1).min() > REACH


def test_features_are_the_mean_latents_around_a_place() -> None:
    view, _ = view_of(np.full((2, 96, 96), 0.5), noise())
    inside = np.array([[40, 50], [2, 95]])
    found = features_at(view, inside, GEOMETRIES[2])
    for row, (y, x) in zip(found, inside.tolist(), strict=True):
        rows = [r for r in range(48) if any(y - REACH <= n <= y + REACH for n in (2 * r, 2 * r + 1))]
        columns = [c for c in range(48) if any(x - REACH <= n <= x + REACH for n in (2 * c, 2 * c + 1))]
        np.testing.assert_allclose(row, view.latents[:, rows][:, :, columns].mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_seen_is_what_the_map_has(make_checkpoint: Callable[..., Checkpoint], dims: int) -> None:
    checkpoint = make_checkpoint(dims)
    predictor = Predictor(checkpoint, device="cpu")
    section = section_of(texture((1, 64, 72) if dims == 2 else (1, 5, 40, 44), 1).numpy())
    view = look(predictor, section, section.whole)
    np.testing.assert_allclose(view.probabilities, predict_window(predictor, section, section.whole), atol=1e-6)
    levels, stride = len(checkpoint.architecture.filters), checkpoint.geometry.stride_of(0)
    cells = [-(-n // step) * step for n, step in zip(section.space, checkpoint.geometry.stride, strict=True)]
    assert view.latents.shape == (
        levels * checkpoint.architecture.latents,
        *(n // step for n, step in zip(cells, stride, strict=True)),
    )


def test_latents_lie_where_their_pixels_are(checkpoint: Checkpoint) -> None:
    """A bright spot changes the latents around it most."""
    predictor = Predictor(checkpoint, device="cpu")
    pixels = np.full((1, 96, 96), 100, np.uint8)
    spot = pixels.copy()
    spot[:, 60:64, 30:34] = 250
    plain, other = (look(predictor, section_of(one), section_of(one).whole).latents for one in (pixels, spot))
    changed = np.abs(other - plain)[: checkpoint.architecture.latents].sum(0)  # of the finest level
    y, x = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(2 * int(y) - 62) <= 8
    assert abs(2 * int(x) - 32) <= 8
    assert replace(checkpoint).geometry.stride_of(0) == (2, 2)
