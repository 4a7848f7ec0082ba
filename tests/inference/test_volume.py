"""Tiles give the result of the whole image, whatever their size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.data.patches import Symmetry
from eseg_zoo.errors import InputError
from eseg_zoo.inference.predict import Predictor
from eseg_zoo.inference.volume import predict_section, prepare
from eseg_zoo.model.dense import DenseSegmenter, StandardisedConvolution


@pytest.fixture(scope="module")
def plane(checkpoint: Checkpoint) -> DenseSegmenter:
    return checkpoint.segmenter()


@pytest.fixture(scope="module")
def volume(make_checkpoint: Callable[[int], Checkpoint]) -> DenseSegmenter:
    return make_checkpoint(3).segmenter()


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def whole(segmenter: DenseSegmenter, section: NDArray[np.generic]) -> NDArray[np.float32]:
    with torch.no_grad():
        return segmenter(torch.from_numpy(section.astype(np.float32))[None])[0].numpy()


def assert_same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Equal to rounding, and the same class everywhere but where two are equally likely to rounding."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    ordered = np.sort(expected, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found.argmax(0)[clear], expected.argmax(0)[clear])


@pytest.mark.parametrize("tile", [1, 8, 24, 40, 1000])
def test_tiled_equals_whole(plane: DenseSegmenter, tile: int) -> None:
    section = noise(1, 61, 83)
    expected = whole(plane, section)
    assert expected.argmax(0).std() > 0.1  # the classes differ from place to place
    assert_same(predict_section(plane, section, tile=tile), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (8, 8), (20, 17)], ids=str)
def test_an_image_smaller_than_the_margin_is_predicted(plane: DenseSegmenter, size: tuple[int, int]) -> None:
    assert plane.geometry.margin == (52, 52)
    found, expected = predict_section(plane, noise(1, *size), tile=8), whole(plane, noise(1, *size))
    assert found.shape == (3, *size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tile", [4, 7, 12, 1000])
def test_tiled_equals_whole_in_volumes(volume: DenseSegmenter, tile: int) -> None:
    section = noise(1, 5, 19, 22)
    assert_same(predict_section(volume, section, tile=tile), whole(volume, section))


def test_the_default_tile_equals_whole(plane: DenseSegmenter) -> None:
    section = noise(1, 30, 21)
    assert_same(predict_section(plane, section), whole(plane, section))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64, np.dtype(">u2")], ids=str)
def test_every_image_type_is_predicted_alike(plane: DenseSegmenter, dtype: np.dtype) -> None:
    section = noise(1, 20, 15)
    assert_same(predict_section(plane, section.astype(dtype), tile=16), whole(plane, section))


def test_a_view_of_a_larger_array_is_predicted_alike(plane: DenseSegmenter) -> None:
    section = noise(2, 60, 40)[1:, ::-2, 3:]
    assert_same(predict_section(plane, section, tile=16), whole(plane, section))


@pytest.mark.parametrize("dims", [2, 3])
def test_preparing_folds_the_network_and_keeps_the_numbers(
    make_checkpoint: Callable[[int], Checkpoint], dims: int
) -> None:
    source = make_checkpoint(dims)
    section = noise(1, *(5, 33, 34)[-dims:])
    prepared = prepare(source.segmenter(), torch.device("cpu"))
    assert not any(isinstance(module, StandardisedConvolution) for module in prepared.modules())
    assert_same(predict_section(prepared, section, tile=16), whole(source.segmenter(), section))


def test_the_views_of_a_plane_are_averaged_whatever_the_tile(plane: DenseSegmenter) -> None:
    section = noise(1, 40, 64)  # whole cells, so that the grid is the same from all sides
    turned = [
        np.rot90(whole(plane, np.rot90(mirrored, turns, (1, 2)).copy()), -turns, (1, 2))[:, :, ::step]
        for step in (1, -1)
        for mirrored in [section[:, :, ::step]]
        for turns in range(4)
    ]
    expected = np.mean(turned, 0)
    assert np.abs(expected - turned[0]).max() > 0.01
    for tile in (16, 24, 1000):
        assert_same(predict_section(plane, section, tile=tile, views=Symmetry.all(2)), expected)


def test_the_views_of_a_volume_are_averaged(volume: DenseSegmenter) -> None:
    section = noise(1, 4, 16, 12)
    flips = [axes for n in range(4) for axes in combinations((1, 2, 3), n)]
    upright = [np.flip(whole(volume, np.flip(section, axes).copy()), axes) for axes in flips]
    lying = [
        np.flip(whole(volume, np.flip(section, axes).swapaxes(2, 3).copy()).swapaxes(2, 3), axes) for axes in flips
    ]
    found = predict_section(volume, section, tile=8, views=Symmetry.all(3))
    assert_same(found, np.mean(upright + lying, 0))


def test_a_model_that_never_saw_turned_images_is_not_averaged_over_them(checkpoint: Checkpoint) -> None:
    settings = {**checkpoint.settings, "augmentation": {"symmetries": False}}
    with pytest.raises(InputError, match="trained without flips and rotations"):
        Predictor(replace(checkpoint, settings=settings), tta=True)
    assert Predictor(checkpoint, tta=True).views == Symmetry.all(2)


def test_a_prediction_keeps_no_graph(plane: DenseSegmenter) -> None:
    assert all(parameter.requires_grad for parameter in plane.parameters())
    found = predict_section(plane, noise(1, 9, 9))
    assert isinstance(found, np.ndarray)
    assert found.flags.writeable
