"""Mean and standard deviation against numpy on all pixels together."""

from __future__ import annotations

import numpy as np
import pytest

from eseg_zoo.data.statistics import measure
from eseg_zoo.errors import InputError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_statistics_equal_those_of_all_pixels_together(dtype: type) -> None:
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 20.0, 90.0])[:, None, None]
    images = [(scale * rng.random((3, *shape)) + i).astype(dtype) for i, shape in enumerate([(4, 5), (30, 2), (1, 1)])]
    together = np.concatenate([image.reshape(3, -1) for image in images], axis=1).astype(np.float64)
    found = measure(images, channels="abc")
    np.testing.assert_allclose(found.mean, together.mean(1))
    np.testing.assert_allclose(found.std, together.std(1))
    assert found.mean.dtype == found.std.dtype == np.float64


def test_statistics_of_volumes_equal_those_of_all_voxels() -> None:
    volumes = [np.random.default_rng(i).normal(i, 2, (2, 3, 4, 5)) for i in range(2)]
    together = np.concatenate([volume.reshape(2, -1) for volume in volumes], axis=1)
    found = measure(volumes, channels="ab")
    np.testing.assert_allclose(found.mean, together.mean(1))
    np.testing.assert_allclose(found.std, together.std(1))


def test_large_offsets_do_not_swallow_a_small_spread() -> None:
    image = np.array([[[60_000, 60_001], [60_002, 60_001]]], np.float32)
    found = measure([np.tile(image, (1, 200, 200))], channels="a")
    assert found.mean.tolist() == [60_001.0]
    assert found.std[0] == pytest.approx(0.5**0.5, rel=1e-9)


def test_images_that_differ_only_between_each_other_are_not_constant() -> None:
    found = measure([np.full((1, 2, 2), 1), np.full((1, 2, 2), 3)], channels="a")
    assert found.std.tolist() == [1.0]


def test_a_constant_channel_is_refused_by_its_name() -> None:
    images = [np.stack([np.arange(6.0).reshape(2, 3), np.full((2, 3), 7.5)]) for _ in range(2)]
    with pytest.raises(InputError) as caught:
        measure(images, channels=("nuclei", "cytoplasm"))
    assert str(caught.value) == "channel 2 of 2 (cytoplasm) of the images is constant (7.5): there is nothing to learn"


def test_constant_images_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        measure([np.full((1, 2, 3), 7.5)], channels=("intensity",))
    assert str(caught.value) == "every pixel of the images is constant (7.5): there is nothing to learn"
