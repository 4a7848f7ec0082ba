"""Which parts of images are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from conftest import ARCHITECTURES
from eseg_zoo.images.image import Image, Spacing
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.patches.sections import Section, sections_of
from eseg_zoo.suggest.sampling import MOST_PIXELS, SIDES, Part, sample_parts

SHAPES = {dims: Architecture(**arguments) for dims, arguments in ARCHITECTURES.items()}


@dataclass(frozen=True)
class Unread:
    """A source that is not opened."""

    failures: tuple[type[Exception], ...] = ()
    kept: bool = False
    identity: str = "unread"

    def open(self) -> object:
        raise AssertionError("nothing may be read")


def lazy(shape: tuple[int, ...], dims: int = 2) -> list[Section]:
    """Sections of an image that is not read."""
    return sections_of(Image(Unread(), "unread", "zyx", shape, np.dtype(np.uint8), shape, (Spacing(),) * 3), dims)


def covered(sections: list[Section], parts: list[Part]) -> list[np.ndarray]:
    seen = [np.zeros(section.space, int) for section in sections]
    for part in parts:
        seen[part.number][part.window] += 1
    return seen


def test_all_of_small_images_is_looked_at_once() -> None:
    for dims in (2, 3):
        sections = [*lazy((3, 300, 517), dims), *lazy((2, 100, 80), dims)]
        assert all((seen == 1).all() for seen in covered(sections, sample_parts(sections, SHAPES[dims])))


def test_of_large_images_so_many_parts_are_drawn_all_over_them() -> None:
    sections = lazy((40, 200_000, 100_000))
    parts = sample_parts(sections, SHAPES[2])
    assert len(parts) == MOST_PIXELS[2] // SIDES[2] ** 2
    assert len({(part.number, *(one.start for one in part.window)) for part in parts}) == len(parts)
    assert np.bincount([part.number for part in parts], minlength=40).min() >= 5
    assert max(prod(one.stop - one.start for one in part.window) for part in parts) <= SIDES[2] ** 2
    rows = np.array([part.window[0].start for part in parts])
    assert rows.min() < 10_000
    assert rows.max() > 190_000


def test_of_more_slices_than_parts_some_are_looked_at() -> None:
    sections = lazy((1000, 256, 256))
    numbers = [part.number for part in sample_parts(sections, SHAPES[2], pixels=50 * 256**2)]
    assert len(set(numbers)) == 50
    assert np.diff(numbers).max() < 2 * 20, "one of each run of 20"


def test_the_same_seed_gives_the_same_parts_and_another_one_others() -> None:
    sections = lazy((4, 5000, 5000))
    first, again, other = (sample_parts(sections, SHAPES[2], pixels=30 * 256**2, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_parts_begin_on_the_grid_of_the_network() -> None:
    sections = lazy((30, 900, 900), 3)
    stride = SHAPES[3].geometry.stride
    for part in sample_parts(sections, SHAPES[3], pixels=9 * 64**3):
        assert all(one.start % step == 0 for one, step in zip(part.window, stride, strict=True))
