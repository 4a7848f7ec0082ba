"""What is painted: an array as large as the image that takes no more memory than its strokes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eseg_napari.strokes import Count, Strokes


@pytest.fixture
def painted() -> tuple[Strokes, np.ndarray[Any, Any]]:
    """Random labels, in our array and in NumPy's."""
    values = np.random.default_rng(0).integers(0, 4, (3, 5, 20, 30)).astype(np.uint8)
    values[1] = 0
    strokes = Strokes(values.shape)
    strokes[...] = values
    return strokes, values


@pytest.mark.parametrize(
    "key",
    [
        (0,), (-1, 2), (slice(None), 2, slice(3, 9)), (2, 4, 7, 11), (Ellipsis, 5),
        (slice(0, 3, 2), 1, slice(None, None, 2), 3),
        (np.array([0, 2, 2]), np.array([1, 4, 0]), np.array([3, 3, 19]), np.array([0, 29, 7])),
    ],
)  # fmt: skip
def test_it_is_read_as_an_array_is(painted: Any, key: Any) -> None:
    strokes, values = painted
    np.testing.assert_array_equal(strokes[key], values[key])


@pytest.mark.parametrize(
    "key",
    [
        (0, 1),
        (slice(None), 2, slice(3, 9), 5),
        (np.array([1, 1]), np.array([0, 4]), np.array([3, 4]), np.array([7, 7])),
    ],
)
def test_it_is_written_as_an_array_is(painted: Any, key: Any) -> None:
    strokes, values = painted
    strokes[key] = values[key] = 3
    np.testing.assert_array_equal(np.asarray(strokes), values)


def test_planes_that_nobody_painted_in_are_not_kept() -> None:
    strokes = Strokes((1000, 100_000, 100_000))
    strokes[7, 99_000:99_003, 5] = 2
    assert strokes[6, :4, :4].max() == 0
    assert strokes.planes() == [(7,)]
    (painting,) = strokes.snapshot().paintings.values()
    assert (painting.y, painting.x, painting.pixels.shape) == (99_000, 5, (3, 1))


def test_a_snapshot_stays_as_it_is() -> None:
    strokes = Strokes((4, 6))
    strokes[1, 2:5] = 1
    before = strokes.snapshot()
    strokes[1, 2:5] = 2
    assert before.values() == {1}
    assert strokes.snapshot().version > before.version


def test_pixels_that_touch_at_corners_are_one_stroke() -> None:
    strokes = Strokes((2, 8, 8))
    strokes[0][...]
    strokes[0, [0, 1, 2], [0, 1, 2]] = 1
    strokes[0, 6, 6] = 1
    strokes[1, 3, 2:6] = 1
    strokes[1, 0, 0] = 2
    assert strokes.snapshot().counts() == {1: Count(3, 8, 2), 2: Count(1, 1, 1)}


def test_a_removed_class_leaves_the_others() -> None:
    strokes = Strokes((4, 6))
    strokes[0, :3], strokes[1, :3] = 1, 2
    strokes.remove(1)
    assert strokes.snapshot().values() == {2}


def test_a_snapshot_is_a_label_image_that_knows_where_nothing_is(painted: Any) -> None:
    strokes, values = painted
    image = strokes.snapshot().image("tzyx")
    np.testing.assert_array_equal(image.read()[:, 0], values)
    part = {"t": slice(0, 1), "z": slice(2, 4), "y": slice(3, 9), "x": slice(25, 30)}
    np.testing.assert_array_equal(image.read(part)[:, 0], values[0:1, 2:4, 3:9, 25:30])
    assert image.absent_value(part) is None
    assert image.absent_value({**part, "t": slice(1, 2)}) == 0


def test_only_some_classes_are_kept() -> None:
    strokes = Strokes((1, 6))
    strokes[0, :3] = [1, 2, 3]
    assert strokes.snapshot().only({1, 3}).read((slice(0, 1), slice(0, 6))).tolist() == [[1, 0, 3, 0, 0, 0]]
