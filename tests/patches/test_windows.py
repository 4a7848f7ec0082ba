"""All pixels of sections read once, whatever the chunks are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eseg_zoo.images import blocks
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.patches.sections import read_together, sections_of


@dataclass(frozen=True, eq=False)
class CountedSource:
    """An array that counts how often each of its chunks is touched."""

    array: NDArray[Any]
    chunks: tuple[int, ...]
    touched: Counter[tuple[int, ...]]

    failures = (OSError,)
    kept = False
    identity = ""

    def open(self) -> CountedSource:
        return self

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[Any]:
        ranges = [range(part.start // n, -(-part.stop // n)) for part, n in zip(where, self.chunks, strict=True)]
        self.touched.update(tuple(map(int, index)) for index in np.stack(np.meshgrid(*ranges), -1).reshape(-1, 3))
        return self.array[where]


def counted(array: NDArray[Any], chunks: tuple[int, ...]) -> tuple[Image, Counter[tuple[int, ...]]]:
    touched: Counter[tuple[int, ...]] = Counter()
    image = open_image(array, axes="zyx")
    return replace(image, source=CountedSource(array, chunks, touched), chunks=chunks), touched


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("chunks", [(1, 4, 5), (3, 4, 4), (7, 10, 11)])
def test_every_pixel_comes_once_and_every_chunk_is_decoded_once(
    dims: int, chunks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 40)
    array = np.random.default_rng(0).integers(1, 255, (7, 10, 11), dtype=np.uint8)
    image, touched = counted(array, chunks)
    sections, seen = sections_of(image, dims), np.zeros_like(array)
    for number, window, (pixels,) in read_together(sections):
        place: tuple[int | slice, ...] = window if dims == 3 else (number, *window)
        assert not seen[place].any()
        seen[place] = pixels
    np.testing.assert_array_equal(seen, array)
    assert set(touched.values()) == {1}


def test_what_is_not_wanted_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 6 * 6)
    image, touched = counted(np.zeros((8, 6, 6), np.uint8), (4, 6, 6))
    found = [number for number, _, _ in read_together(sections_of(image, 2), lambda number, window: number in {5, 6})]
    assert found == [5, 6]
    assert dict(touched) == {(1, 0, 0): 1}


def test_frames_and_images_are_read_apart() -> None:
    movie = np.random.default_rng(0).integers(0, 255, (2, 3, 5, 6), dtype=np.uint8)
    other = movie[0, :2] + 1
    sections = [*sections_of(open_image(movie, axes="tzyx"), 2), *sections_of(open_image(other, axes="zyx"), 2)]
    found = {number: pixels[0] for number, _, pixels in read_together(sections)}
    np.testing.assert_array_equal(np.stack([found[n] for n in range(8)]), [*movie.reshape(6, 5, 6), *other])
