"""Tiles give the result of the whole image, whatever their size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import prod

import numpy as np
import pytest
import torch
from in_memory import section_of
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import NetworkSettings
from eseg_zoo.errors import InputError
from eseg_zoo.inference import tiles
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import (
    logits_of_window,
    pass_bytes,
    passes_at_once,
    predict_section,
    tile_size,
    tiles_of,
)
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import StandardisedConvolution
from eseg_zoo.patches.geometry import Symmetry

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plane(checkpoint: Checkpoint) -> Predictor:
    return Predictor(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def volume(make_checkpoint: Callable[[int], Checkpoint]) -> Predictor:
    return Predictor(make_checkpoint(3), device="cpu")


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def predict(predictor: Predictor, array: NDArray[np.generic], tile: int | None = None) -> NDArray[np.float32]:
    return predict_section(predictor, section_of(array), tile=tile)


def whole(predictor: Predictor, section: NDArray[np.generic]) -> NDArray[np.float32]:
    """The whole image at once, by the network as it was trained."""
    with torch.no_grad():
        return predictor.checkpoint.segmenter()(torch.from_numpy(section.astype(np.float32))[None])[0].numpy()


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
def test_tiled_equals_whole(plane: Predictor, tile: int) -> None:
    section = noise(1, 61, 83)
    expected = whole(plane, section)
    assert expected.argmax(0).std() > 0.1  # the classes differ from place to place
    assert_same(predict(plane, section, tile), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (8, 8), (20, 17)], ids=str)
def test_an_image_smaller_than_the_margin_is_predicted(plane: Predictor, size: tuple[int, int]) -> None:
    assert plane.checkpoint.geometry.margin == (52, 52)
    found, expected = predict(plane, noise(1, *size), 8), whole(plane, noise(1, *size))
    assert found.shape == (3, *size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tile", [4, 7, 12, 1000])
def test_tiled_equals_whole_in_volumes(volume: Predictor, tile: int) -> None:
    section = noise(1, 5, 19, 22)
    assert_same(predict(volume, section, tile), whole(volume, section))


def test_the_default_tile_equals_whole(plane: Predictor) -> None:
    section = noise(1, 30, 21)
    assert_same(predict(plane, section), whole(plane, section))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64, np.dtype(">u2")], ids=str)
def test_every_image_type_is_predicted_alike(plane: Predictor, dtype: np.dtype) -> None:
    section = noise(1, 20, 15)
    assert_same(predict(plane, section.astype(dtype), 16), whole(plane, section))


def test_a_view_of_a_larger_array_is_predicted_alike(plane: Predictor) -> None:
    section = noise(2, 60, 40)[1:, ::-2, 3:]
    assert_same(predict(plane, section, 16), whole(plane, section))


@pytest.mark.parametrize("dims", [2, 3])
def test_preparing_folds_the_network_and_keeps_the_numbers(
    make_checkpoint: Callable[[int], Checkpoint], dims: int
) -> None:
    predictor = Predictor(make_checkpoint(dims), device="cpu")
    section = noise(1, *(5, 33, 34)[-dims:])
    assert not any(isinstance(module, StandardisedConvolution) for module in predictor.segmenter.modules())
    assert_same(predict(predictor, section, 16), whole(predictor, section))


def test_the_views_of_a_plane_are_averaged_whatever_the_tile(plane: Predictor) -> None:
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
        assert_same(predict(Predictor(plane.checkpoint, device="cpu", tta=True), section, tile), expected)


def test_the_views_of_a_volume_are_averaged(volume: Predictor) -> None:
    section = noise(1, 4, 16, 12)
    flips = [axes for n in range(4) for axes in combinations((1, 2, 3), n)]
    upright = [np.flip(whole(volume, np.flip(section, axes).copy()), axes) for axes in flips]
    lying = [
        np.flip(whole(volume, np.flip(section, axes).swapaxes(2, 3).copy()).swapaxes(2, 3), axes) for axes in flips
    ]
    found = predict(Predictor(volume.checkpoint, device="cpu", tta=True), section, 8)
    assert_same(found, np.mean(upright + lying, 0))


def test_a_model_that_never_saw_turned_images_is_not_averaged_over_them(checkpoint: Checkpoint) -> None:
    settings = {**checkpoint.settings, "augmentation": {"symmetries": False}}
    with pytest.raises(InputError, match="trained without flips and rotations"):
        Predictor(replace(checkpoint, settings=settings), tta=True)
    assert Predictor(checkpoint, tta=True).views == Symmetry.all(2)


def test_logits_of_a_window_are_those_of_the_whole_image(plane: Predictor) -> None:
    array = noise(1, 40, 61)
    segmenter = plane.checkpoint.segmenter()
    with torch.inference_mode():
        padded = segmenter.reflect(torch.from_numpy(array.astype(np.float32))[None])
        expected = segmenter.logits(padded)[0].numpy()
    found = logits_of_window(plane, section_of(array), (slice(8, 24), slice(40, 61)))
    np.testing.assert_allclose(found, expected[:, 8:24, 40:61], rtol=0, atol=1e-4)


def test_with_and_without_the_temperature_differ_by_it_alone(plane: Predictor) -> None:
    padded = np.random.default_rng(0).normal(127, 40, (1, 112, 112)).astype(np.float32)
    found, plain = plane.with_and_without_temperature(padded)
    np.testing.assert_array_equal(found, plane.probabilities(padded))
    untempered = plane.checkpoint.segmenter()
    untempered.temperature.fill_(1)
    with torch.inference_mode():
        expected = untempered.probabilities(torch.from_numpy(padded)[None])[0].numpy()
    np.testing.assert_allclose(plain, expected, rtol=0, atol=1e-5)
    assert np.abs(found - plain).max() > 0.01


def test_pixels_that_are_not_finite_are_named_with_their_place(plane: Predictor) -> None:
    array = noise(1, 60, 60).astype(np.float32)
    array[0, 40, 7] = np.nan
    with pytest.raises(InputError, match=r"^the array has NaN or infinite pixels, the first at t=0, z=0, y=40, x=7$"):
        predict(plane, array, 16)


# ------------------------------------------------------------------------------------------------- sizes and memory

MEASURE = """
import re, sys, torch
from pathlib import Path
from eseg_zoo.config import NetworkSettings
from eseg_zoo.inference.network import prepare
from eseg_zoo.model.dense import DenseSegmenter
dims, z, *tile = (int(word) for word in sys.argv[1:])
torch.set_num_threads(1)
shape = NetworkSettings(dims=dims, width=32).architecture(channels=1, classes=4, voxel_size={"z": z, "y": 1, "x": 1})
segmenter = prepare(DenseSegmenter.of(shape), torch.device("cpu"))
margins = segmenter.geometry.margin
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def run(size):
    with torch.inference_mode():
        segmenter.probabilities(torch.rand(1, 1, *(n + 2 * m for n, m in zip(size, margins, strict=True))))
run(segmenter.geometry.stride)
before = peak()
run(tile)
print(peak() - before)
"""


def architecture(dims: int, z: float = 1) -> Architecture:
    settings = NetworkSettings(dims=dims, width=32)
    return settings.architecture(channels=1, classes=4, voxel_size={"z": z, "y": 1, "x": 1})


@pytest.fixture
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with more memory than any tile takes."""
    monkeypatch.setattr(tiles, "free_memory", lambda: 1 << 45)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("dims", "z", "tile"), [(2, 1, (512, 512)), (3, 1, (40, 80, 80)), (3, 5, (12, 128, 128))], ids=str
)
def test_the_estimate_is_near_the_memory_that_a_pass_takes(dims: int, z: int, tile: tuple[int, ...]) -> None:
    words = [str(n) for n in (dims, z, *tile)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    assert 0.4 < int(done.stdout) / pass_bytes(architecture(dims, z), tile) < 1.5


def test_the_estimate_is_that_worked_by_hand() -> None:
    # Width 32 in 2D: stem 8, margin 52; 4 * 8 + 2 * 1 numbers for a padded pixel, 8 * 8 + 3 * 4 for one of the tile.
    assert pass_bytes(architecture(2), (16, 13)) == 4 * (120 * 120 * 34 + 16 * 16 * 76)


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize(
    ("space", "count", "tile"),
    [
        ((4096, 4096), 1, (1024, 1024)),
        ((1024, 1024), 14, (1024, 1024)),
        ((1024, 1024), 1, (512, 512)),  # few tiles would leave cores idle
        ((301, 411), 1, (304, 416)),  # whole cells
        ((3, 5000), 1, (8, 512)),
    ],
)
def test_the_tile_of_planes_follows_from_the_image(space: tuple[int, int], count: int, tile: tuple[int, int]) -> None:
    assert tile_size(architecture(2), space, count) == tile


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize(("z", "space"), [(1, (200, 900, 900)), (5, (40, 900, 900)), (1, (8, 900, 900))], ids=str)
def test_the_tile_of_a_volume_has_little_margin_and_fits(z: int, space: tuple[int, int, int]) -> None:
    shape = architecture(3, z)
    tile = tile_size(shape, space)
    assert pass_bytes(shape, tile) <= tiles.VOLUME_BYTES
    assert all(n % step == 0 for n, step in zip(tile, shape.geometry.stride, strict=True))

    def work(sides: tuple[int, ...]) -> int:
        padded = [n + 2 * margin for n, margin in zip(sides, shape.geometry.margin, strict=True)]
        return prod(padded) * prod(-(-n // side) for n, side in zip(space, sides, strict=True))

    cube = (80, 80, 80)
    assert work(tile) <= work(tuple(min(n, -(-m // 8) * 8) for n, m in zip(cube, space, strict=True)))


def test_a_person_may_choose_the_side() -> None:
    assert tile_size(architecture(2), (4096, 30), side=100) == (104, 32)


def test_without_memory_a_tile_is_a_cell_and_the_result_stays(
    volume: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = noise(1, 4, 9, 7)
    expected = predict(volume, array)
    monkeypatch.setattr(tiles, "free_memory", lambda: 0)
    assert tile_size(volume.checkpoint.architecture, (4, 9, 7)) == volume.checkpoint.geometry.stride
    np.testing.assert_allclose(predict(volume, array), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("share", "expected"), [(0.1, 1), (1, 1), (2.9, 2), (100, 4)])
def test_as_many_passes_run_side_by_side_as_fit_and_as_there_are_cores(
    monkeypatch: pytest.MonkeyPatch, share: float, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4), raising=False)
    one = pass_bytes(architecture(2), (64, 64))
    monkeypatch.setattr(tiles, "free_memory", lambda: int(share * one / tiles.SHARE) + 1)
    assert passes_at_once(architecture(2), (64, 64), CPU) == expected


@pytest.mark.parametrize("space", [(20, 17), (5, 9, 30)], ids=str)
def test_the_tiles_cover_every_pixel_once(space: tuple[int, ...]) -> None:
    seen = np.zeros(space, int)
    for window in tiles_of(space, [8] * len(space)):
        seen[window] += 1
    assert (seen == 1).all()
