"""What the pixels of an image hold, and what is read of a large one."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.patches.intensity import Intensities, intensities_of
from eseg_zoo.patches.sections import sections_of

RNG = np.random.default_rng(0)


def look(array: NDArray[Any], axes: str = "zyx", *, dims: int = 2, most: int = 1 << 24) -> Intensities:
    found = intensities_of(sections_of(open_image(array, axes=axes), dims), most=most)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("dims", [2, 3])
def test_percentiles_are_those_of_the_sorted_pixels(kind: str, dims: int) -> None:
    array = RNG.integers(3, 200, (3, 20, 33)).astype(kind)
    (found,) = look(array, dims=dims).channels
    ordered = np.sort(array.ravel())
    low, median, high = (ordered[int(share * (ordered.size - 1))] for share in (0.01, 0.5, 0.99))
    assert (found.smallest, found.low, found.median, found.high, found.largest) == (
        ordered[0], low, median, high, ordered[-1],
    )  # fmt: skip
    assert found.at_largest == (array == array.max()).mean()


def test_channels_are_measured_apart() -> None:
    array = np.stack([np.full((2, 8, 8), 7, np.uint8), RNG.integers(0, 50, (2, 8, 8), dtype=np.uint8)])
    first, second = look(array, "czyx").channels
    assert (first.is_constant, second.is_constant) == (True, False)
    assert second.largest == array[1].max()


def test_what_is_no_number_is_left_out() -> None:
    array = RNG.random((1, 8, 8)).astype(np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    (found,) = look(array).channels
    assert found.largest == np.nanmax(array[np.isfinite(array)])
    assert intensities_of(sections_of(open_image(np.full((1, 4, 4), np.nan), axes="zyx"), 2), most=99) is None


def test_padding_is_left_out() -> None:
    array = np.full((2, 10, 10), 255, np.uint8)
    array[0, 2:8, 2:8] = 9
    sections = sections_of(open_image(array, axes="zyx"), 2)
    inside, none = (slice(2, 8), slice(2, 8)), (slice(0, 0), slice(0, 0))
    found = intensities_of(sections, most=1 << 24, contents={0: inside, 1: none})
    assert found is not None
    assert found.channels[0].largest == 9
    assert intensities_of(sections, most=1 << 24, contents={0: none, 1: none}) is None


@pytest.mark.parametrize("dims", [2, 3])
def test_of_a_large_image_windows_all_over_it_are_read(dims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = open_image(np.zeros((8, 3000, 2000), np.uint8), axes="zyx")
    regions: list[dict[str, slice]] = []
    right = Image.read

    def noting(self: Image, region: Any = None) -> Any:
        regions.append(region)
        return right(self, region)

    monkeypatch.setattr(Image, "read", noting)
    found = intensities_of(sections_of(image, dims), most=3 << 20)
    assert found is not None
    assert found.sampled
    assert len(regions) == 12
    assert sum(prod(part.stop - part.start for part in region.values()) for region in regions) <= 3 << 20
    assert {region["z"].start for region in regions} >= {0, 1, 2, 3, 4, 5, 6}
    quarters = {(region["y"].start > 1244, region["x"].start > 744) for region in regions}
    assert len(quarters) == 4
    assert not look(np.zeros((2, 8, 8), np.uint8)).sampled
