"""Objects that are painted one after the other: blocks, overlaps, what lies outside, and what is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from painting import options, values_of

from eseg_zoo.errors import InputError
from eseg_zoo.labels import rasterise
from eseg_zoo.labels.canvas import Canvas, axes_of

RING = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])


def canvas(*space: int) -> Canvas:
    return Canvas(Path("strokes.roi"), options(*space))


def test_later_objects_paint_over_earlier_ones_whatever_their_tiles() -> None:
    space = (2, 3, 600, 700)
    rng = np.random.default_rng(0)
    paper, expected, first = canvas(*space), np.zeros(space, np.uint16), np.zeros(space, np.uint16)
    for _ in range(60):
        y, x, height, width = rng.integers([0, 0, 1, 1], [600, 700, 400, 400])
        t, z, value = (int(n) for n in rng.integers([0, 0, 1], [2, 3, 5]))
        paper.paint(rasterise.polygon([RING * (height, width) + (y, x)], (600, 700)), value, t=t, z=z)
        top, left = np.ceil(y - height / 2).astype(int), np.ceil(x - width / 2).astype(int)
        where = t, z, slice(max(0, top), max(0, top + height)), slice(max(0, left), max(0, left + width))
        first[where][first[where] == 0] = value
        expected[where] = value
    painted = paper.finish()
    np.testing.assert_array_equal(values_of(painted, space), expected)
    assert f"{(first != expected).sum()} pixels in objects of several classes; the later one counts" in painted.notes


def test_blocks_are_as_large_as_what_was_painted() -> None:
    space = (1, 1, 50_000, 50_000)
    paper = canvas(*space)
    paper.paint(rasterise.points(np.array([[3, 4], [40_000, 30_000]]), space[2:]), 1, t=0, z=0)
    blocks = paper.finish().blocks
    assert [(block.origin, block.values.tolist()) for block in blocks] == [
        ((0, 0, 3, 4), [[[[1]]]]),
        ((0, 0, 40_000, 30_000), [[[[1]]]]),
    ]


def test_a_large_area_takes_the_memory_of_its_outline() -> None:
    space = (1, 1, 8192, 8192)
    paper = canvas(*space)
    paper.paint(rasterise.polygon([RING * 20_000], space[2:]), 7, t=0, z=0)
    blocks = paper.finish().blocks
    assert sum(block.values.size for block in blocks) == 8192**2
    assert all(block.values.strides == (0, 0, 0, 0) or block.values.size < 4 for block in blocks)


def test_what_is_outside_has_no_place_or_no_pixel_is_told() -> None:
    paper = canvas(2, 3, 10, 10)
    square = rasterise.polygon([RING * 4 + 5], (10, 10))
    paper.paint(square, 1, t=0, z=3)
    paper.paint(rasterise.no_spans(), 1, t=0, z=0, is_cut=True)
    paper.paint(square, 1, t=0, z=0, is_cut=True)
    paper.paint(rasterise.no_spans(), 1, t=0, z=0)
    paper.paint(square, 1)
    painted = paper.finish(objects="shape")
    assert painted.notes == (
        "2 of 5 shapes outside the image, 1 partly: not painted there",
        "1 shape without a pixel: no centre of a pixel is inside",
        "1 shape without a slice: painted in all 3 slices",
        "1 shape without a frame: painted in all 2 frames",
    )
    assert (values_of(painted, (2, 3, 10, 10)).sum(axis=(2, 3)) == 16).all()


def test_what_is_partly_outside_is_told_by_itself() -> None:
    paper = canvas(10, 10)
    paper.paint(rasterise.polygon([RING * 4], (10, 10)), 1, t=0, z=0, is_cut=True)
    assert paper.finish().notes == ("1 of 1 object partly outside the image: not painted there",)


def test_pixels_that_lack_an_axis_are_painted_all_along_it() -> None:
    paper = canvas(2, 3, 4, 4)
    paper.paint_pixels(np.array([[0, 0, 1, 2], [1, 0, 3, 3], [0, 0, 4, 0]]), np.array([1, 2, 1]), everywhere="z")
    found = values_of(painted := paper.finish(), (2, 3, 4, 4))
    assert {tuple(place) for place in np.argwhere(found)} == {
        (t, z, y, y * 0 + x) for z in range(3) for t, y, x in ((0, 1, 2), (1, 3, 3))
    }
    assert painted.notes[0].startswith("1 of 3 objects outside the image")


def test_classes_keep_their_first_colour_and_order() -> None:
    paper = canvas(4, 4)
    assert [
        paper.named("b"),
        paper.named("a", "#010203"),
        paper.named("b", "#040506"),
        paper.named("b", "#000000"),
    ] == [1, 2, 1, 1]
    assert [(one.name, one.value, one.colour) for one in paper.finish().classes] == [
        ("b", 1, "#040506"), ("a", 2, "#010203"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31mred", "x" * 257])
def test_names_that_can_be_no_class_are_refused_with_their_object(name: str) -> None:
    paper = canvas(4, 4)
    with (
        pytest.raises(InputError, match=r"^strokes\.roi, object 3: the class name .* must") as caught,
        paper.object("object 3"),
    ):
        paper.named(name)
    assert str(caught.value).isprintable()


def test_more_than_a_file_can_hold_is_refused_before_it_is_made() -> None:
    paper = canvas(1, 10_000, 10, 10)
    with pytest.raises(InputError, match="more than 20000000 rows of pixels"), paper.object("its points"):
        paper.paint_pixels(np.zeros((3000, 4), np.int64), np.ones(3000, np.int64), everywhere="z")


@pytest.mark.parametrize(
    ("count", "space", "axes"),
    [
        (2, (1, 1, 9, 9), "yx"),
        (3, (1, 4, 9, 9), "zyx"),
        (3, (5, 1, 9, 9), "tyx"),
        (3, (1, 1, 9, 9), "zyx"),
        (4, (5, 4, 9, 9), "tzyx"),
    ],
)
def test_axes_are_counted_from_the_right(count: int, space: tuple[int, int, int, int], axes: str) -> None:
    assert axes_of(count, space) == axes
