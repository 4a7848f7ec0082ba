"""Anchors: the strokes they belong to, their split by strokes, and their balance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from eseg_zoo.patches.anchors import AnchorSet

# Class 0: a diagonal stroke and a point; class 1: a stroke beside the first one; -1: not labelled.
FIRST = np.array([[0, -1, -1, -1], [-1, 0, 1, -1], [-1, -1, 1, -1], [0, -1, -1, -1]], np.int16)
SECOND = np.array([[-1, -1, 2, 2], [-1, -1, -1, -1], [2, -1, -1, -1], [-1, -1, -1, -1]], np.int16)


def anchor_set(labels: list[int], strokes: list[int] | None = None) -> AnchorSet:
    count = len(labels)
    places = np.column_stack([np.zeros(count, int), np.arange(count), np.arange(count)])
    return AnchorSet(places, np.array(labels, np.int64), np.array(strokes or range(count), np.int64))


def anchors_of(*sections: np.ndarray, named: list[int] | None = None) -> AnchorSet:
    """The labelled pixels of label sections; -1 is no label."""
    parts = []
    for number, section in zip(named or range(len(sections)), sections, strict=True):
        inside = np.argwhere(section >= 0)
        parts.append(AnchorSet.of(np.insert(inside, 0, number, axis=1), section[tuple(inside.T)].astype(np.int64)))
    return AnchorSet.merged(parts, dims=sections[0].ndim)


def balanced_labels(anchors: AnchorSet, count: int, seed: int = 0) -> list[int]:
    return anchors.draw_balanced(count, np.random.default_rng(seed)).labels.tolist()


# --------------------------------------------------------------------------------------------- anchors and strokes


def test_every_labelled_pixel_is_an_anchor_with_its_class_and_place() -> None:
    anchors = anchors_of(FIRST, SECOND)
    found = {tuple(place): label for place, label in zip(anchors.places.tolist(), anchors.labels.tolist(), strict=True)}
    expected = {
        (i, y, x): int(section[y, x])
        for i, section in enumerate([FIRST, SECOND])
        for y, x in np.ndindex(4, 4)
        if section[y, x] >= 0
    }
    assert found == expected
    assert len(anchors) == len(expected) == 8


def test_pixels_of_a_class_that_touch_are_one_stroke_corners_included() -> None:
    anchors = anchors_of(FIRST, SECOND)
    strokes: dict[int, set[tuple[int, ...]]] = {}
    for place, stroke in zip(anchors.places.tolist(), anchors.strokes.tolist(), strict=True):
        strokes.setdefault(stroke, set()).add(tuple(place))
    assert sorted(map(sorted, strokes.values())) == [
        [(0, 0, 0), (0, 1, 1)],
        [(0, 1, 2), (0, 2, 2)],
        [(0, 3, 0)],
        [(1, 0, 2), (1, 0, 3)],
        [(1, 2, 0)],
    ]


def test_anchors_keep_the_number_of_their_section() -> None:
    anchors = anchors_of(FIRST, SECOND, named=[4, 9])
    assert set(anchors.places[:, 0].tolist()) == {4, 9}
    assert len(set(anchors.strokes.tolist())) == 5


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_labelled_gives_no_anchor(dims: int) -> None:
    anchors = anchors_of(np.full((4,) * dims, -1, np.int16))
    assert len(anchors) == 0
    assert anchors.places.shape == (0, 1 + dims)
    training, validation = anchors.split_by_strokes(0.5, 0)
    assert len(training) == len(validation) == 0
    assert len(anchors.at_most(3, np.random.default_rng(0))) == 0


def test_strokes_of_a_volume_touch_across_slices() -> None:
    labels = np.full((3, 3, 3), -1, np.int16)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 0] = 0
    anchors = anchors_of(labels)
    assert anchors.places.tolist() == [[0, 0, 0, 0], [0, 1, 1, 1], [0, 2, 2, 0]]
    assert len(set(anchors.strokes.tolist())) == 1


@given(st.integers(0, 2**32), st.sampled_from([(9, 7), (4, 5, 6)]), st.floats(0.05, 0.9))
def test_strokes_are_the_connected_components_that_scipy_finds(seed: int, shape: tuple[int, ...], share: float) -> None:
    rng = np.random.default_rng(seed)
    section = np.where(rng.random(shape) < share, rng.integers(3, size=shape), -1).astype(np.int16)
    anchors = anchors_of(section)
    found = np.full(shape, -1)
    found[tuple(anchors.places[:, 1:].T)] = anchors.strokes
    for index in range(3):
        expected, count = ndimage.label(section == index, np.ones((3,) * len(shape)))
        pairs = set(zip(expected[section == index].tolist(), found[section == index].tolist(), strict=True))
        assert len(pairs) == count == len({stroke for _, stroke in pairs})


def test_anchors_of_dense_labels_are_indexed_once_for_all_batches() -> None:
    anchors = anchor_set([0, 1] * 50)
    assert anchors.of_class is anchors.of_class
    assert {index: len(found) for index, found in anchors.of_class.items()} == {0: 50, 1: 50}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=60),
    st.floats(0, 0.99),
    st.integers(0, 99),
)
def test_a_split_keeps_strokes_whole_and_every_class_in_training(
    pixels: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    labels, strokes = [label for label, _ in pixels], [10 * label + stroke for label, stroke in pixels]
    anchors = anchor_set(labels, strokes)
    training, validation = anchors.split_by_strokes(fraction, seed)
    assert not set(training.strokes.tolist()) & set(validation.strokes.tolist())
    together = np.concatenate([training.places, validation.places])
    assert sorted(together.tolist()) == sorted(anchors.places.tolist())
    counts = {label: len({s for s, one in zip(strokes, labels, strict=True) if one == label}) for label in set(labels)}
    divisible = sum(count > 1 for count in counts.values())
    for label, count in counts.items():
        held_out = len(set(validation.strokes[validation.labels == label].tolist()))
        if fraction == 0 or count == 1 or divisible < 2:
            assert held_out == 0
        else:
            assert 1 <= held_out < count
            assert abs(held_out - fraction * count) <= 1


def test_a_split_follows_from_the_seed() -> None:
    anchors = anchor_set([0] * 20 + [1] * 20)
    first, again, other = (anchors.split_by_strokes(0.3, seed)[1].strokes.tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 12


def test_strokes_that_are_added_leave_most_others_on_their_side() -> None:
    anchors = anchor_set([0, 1] * 100)
    earlier = anchors.select(np.arange(160))
    taught = {tuple(place) for place in earlier.split_by_strokes(0.2, 0)[0].places.tolist()}
    held_out = [tuple(place) for place in anchors.split_by_strokes(0.2, 0)[1].places.tolist()]
    assert sum(place in taught for place in held_out) <= 0.2 * len(held_out)


def test_at_most_keeps_small_classes_whole_and_draws_from_large_ones() -> None:
    anchors = anchor_set([0] * 10 + [1] * 2)
    chosen = anchors.at_most(4, np.random.default_rng(0))
    assert np.bincount(chosen.labels).tolist() == [4, 2]
    assert len(set(map(tuple, chosen.places.tolist()))) == 6
    other = anchors.at_most(4, np.random.default_rng(1))
    assert chosen.places.tolist() != other.places.tolist()


# ------------------------------------------------------------------------------------------------- class balance


def test_classes_are_drawn_equally_often_whatever_their_size() -> None:
    anchors = anchor_set([0] * 100 + [2] * 3 + [5])
    assert np.bincount(balanced_labels(anchors, 30)).tolist() == [10, 0, 10, 0, 0, 10]


@given(st.integers(1, 40), st.integers(0, 99))
def test_the_counts_of_two_classes_differ_by_at_most_one(count: int, seed: int) -> None:
    labels = balanced_labels(anchor_set([0] * 9 + [1] * 3 + [2]), count, seed)
    counts = np.bincount(labels, minlength=3)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


def test_rounding_favours_no_class_over_many_batches() -> None:
    rng, anchors = np.random.default_rng(0), anchor_set([0, 0, 0, 1, 2])
    counts = sum(np.bincount(anchors.draw_balanced(4, rng).labels, minlength=3) for _ in range(900))
    np.testing.assert_allclose(counts, 1200, atol=100)


def test_anchors_of_a_class_are_equally_likely_and_keep_their_place() -> None:
    anchors = anchor_set([0, 0, 0, 0, 1])
    drawn = anchors.draw_balanced(8000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn.places[:, 1]), [1000] * 4 + [4000], atol=120)
    np.testing.assert_array_equal(drawn.labels, drawn.places[:, 1] == 4)


def test_a_draw_follows_its_generator() -> None:
    anchors = anchor_set([0] * 50 + [1] * 50)
    first, again, other = (anchors.draw_balanced(20, np.random.default_rng(s)).places.tolist() for s in (0, 0, 1))
    assert first == again != other
