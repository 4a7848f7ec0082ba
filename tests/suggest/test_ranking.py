"""The order of suggestions, beside a slow calculation that follows its definition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.suggest.ranking import MOST_COMPARED, NEIGHBOURS, Pool, rank

FAR = np.array([1, 1])  # only the very same place is near


def pool(
    uncertainty: NDArray[np.floating],
    features: NDArray[np.floating],
    labelled: NDArray[np.floating] | None = None,
    slices: NDArray[np.integer] | None = None,
    places: NDArray[np.integer] | None = None,
    guesses: NDArray[np.integer] | None = None,
) -> Pool:
    n = len(uncertainty)
    none = np.zeros((0, features.shape[1]))
    usual = np.stack([np.arange(n), np.zeros(n, int)], axis=1)
    return Pool(
        uncertainty,
        features,
        none if labelled is None else labelled,
        np.zeros(n, int) if slices is None else slices,
        np.zeros(n, int) if guesses is None else guesses,
        usual if places is None else places,
    )


def random_pool(n: int = 40, labels: int = 5, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    return pool(rng.random(n), rng.normal(3, 2, (n, 4)), rng.normal(3, 2, (labels, 4)))


def slow_order(given: Pool, count: int) -> list[tuple[int, float]]:
    """The definition, place by place."""
    scale = given.features.std(0) * np.sqrt(2 * given.features.shape[1])
    known = [row / scale for row in given.labelled]
    chosen: list[tuple[int, float]] = []
    spacing = [
        np.mean(sorted(np.linalg.norm((row - other) / scale) for other in given.features)[1 : NEIGHBOURS + 1])
        for row in given.features
    ]
    while len(chosen) < count:
        best: tuple[float, int, float] = (-1.0, -1, 0.0)
        for row in range(len(given.uncertainty)):
            if row in [one for one, _ in chosen]:
                continue
            at = given.features[row] / scale
            difference = min((float(np.linalg.norm(at - one)) for one in known), default=1.0)
            score = float(given.uncertainty[row]) * difference / float(spacing[row])
            if score > best[0]:
                best = score, row, difference
        chosen.append((best[1], best[2]))
        known.append(given.features[best[1]] / scale)
    return chosen


def test_the_order_is_that_of_the_definition() -> None:
    for labels in (5, 0):
        given = random_pool(labels=labels)
        found = rank(given, 12, apart=FAR)
        expected = slow_order(given, 12)
        assert [one.row for one in found] == [row for row, _ in expected]
        np.testing.assert_allclose([one.difference for one in found], [d for _, d in expected])


def test_without_labels_the_most_uncertain_of_few_places_is_first() -> None:
    given = random_pool(NEIGHBOURS, labels=0)
    assert rank(given, 1, apart=FAR)[0].row == int(given.uncertainty.argmax())


def test_what_looks_like_a_labelled_place_comes_last() -> None:
    features = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    found = rank(pool(np.array([1.0, 0.1, 0.1]), features, labelled=features[:1]), 3, apart=FAR)
    assert [one.row for one in found] == [1, 2, 0]
    assert found[-1].difference == 0


def test_twins_are_not_suggested_one_after_the_other() -> None:
    features = np.array([[0.0], [0.01], [5.0]])
    found = rank(pool(np.array([0.9, 0.89, 0.3]), features), 3, apart=FAR)
    assert [one.row for one in found] == [0, 2, 1]


def test_what_is_there_only_once_comes_after_what_is_common() -> None:
    rng = np.random.default_rng(4)
    features = np.concatenate([rng.normal(0, 1, (60, 2)), rng.normal(20, 1, (60, 2)), [[40.0, -40.0]]])
    given = pool(np.full(121, 0.5), features, labelled=features[:60])
    assert 60 <= rank(given, 1, apart=FAR)[0].row < 120, "the farthest is alone"


def test_a_large_pool_is_ranked_by_a_sample_of_it() -> None:
    given = random_pool(2 * MOST_COMPARED)
    found = rank(given, 5, apart=FAR)
    assert len({one.row for one in found}) == 5
    assert all(given.uncertainty[one.row] > 0.5 for one in found)


def test_every_slice_has_its_share_before_any_has_more() -> None:
    rng = np.random.default_rng(1)
    slices = np.repeat([0, 1, 2], 20)
    uncertainty = np.where(slices == 0, 1.0, 0.01) * rng.random(60)
    given = pool(uncertainty, rng.normal(size=(60, 3)), slices=slices)
    found = rank(given, 6, apart=FAR)
    assert np.bincount(slices[[one.row for one in found]]).tolist() == [2, 2, 2]


def test_every_class_of_the_map_has_its_share_however_rare_it_is() -> None:
    rng = np.random.default_rng(1)
    guesses = np.array([0] * 90 + [2] * 10)  # class 1 is nowhere
    uncertainty = np.where(guesses == 0, 1.0, 0.01) * rng.random(100)
    found = rank(pool(uncertainty, rng.normal(size=(100, 3)), guesses=guesses), 6, apart=FAR)
    assert np.bincount(guesses[[one.row for one in found]]).tolist() == [3, 0, 3]


def test_a_slice_gives_more_than_its_share_where_the_others_have_none_left() -> None:
    slices = np.array([0] * 9 + [1])
    given = pool(np.linspace(0.1, 1, 10), np.random.default_rng(2).normal(size=(10, 3)), slices=slices)
    found = rank(given, 6, apart=FAR)
    assert np.bincount(slices[[one.row for one in found]]).tolist() == [5, 1]


def test_places_of_a_slice_lie_apart_and_those_of_two_slices_may_lie_upon_each_other() -> None:
    rng = np.random.default_rng(3)
    places = np.stack([np.repeat([0, 1], 50), *rng.integers(0, 60, (2, 100))], axis=1)
    given = pool(rng.random(100), rng.normal(size=(100, 3)), slices=places[:, 0], places=places)
    chosen = places[[one.row for one in rank(given, 100, apart=np.array([1, 20, 20]))]]
    for one in (0, 1):
        inside = chosen[chosen[:, 0] == one, 1:]
        between = np.abs(inside[:, None] - inside[None]).max(-1)
        assert between[~np.eye(len(inside), dtype=bool)].min() >= 20
    free = [
        row
        for row in places.tolist()
        if not any(np.abs(np.subtract(row, c)).max() < 20 and row[0] == c[0] for c in chosen)
    ]
    assert free == [], "all places that are left are near one that was chosen"


def test_a_small_pool_gives_what_it_has_and_a_constant_feature_does_no_harm() -> None:
    features = np.array([[1.0, 7.0], [2.0, 7.0]])
    found = rank(pool(np.array([0.2, 0.4]), features), 5, apart=FAR)
    assert [one.row for one in found] == [1, 0]
    assert np.isfinite([one.difference for one in found]).all()
