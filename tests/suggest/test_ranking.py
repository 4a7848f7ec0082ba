"""The order of suggestions, beside a slow calculation that follows its definition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.suggest.ranking import DOUBT, Pool, rank

FAR = np.array([1, 1])  # only the very same place is near


def pool(
    probabilities: NDArray[np.floating],
    features: NDArray[np.floating],
    labelled: NDArray[np.floating] | None = None,
    slices: NDArray[np.integer] | None = None,
    places: NDArray[np.integer] | None = None,
    strokes: NDArray[np.integer] | None = None,
    uncertainty: NDArray[np.floating] | None = None,
) -> Pool:
    n, classes = probabilities.shape
    none = np.zeros((0, features.shape[1]))
    usual = np.stack([np.arange(n), np.zeros(n, int)], axis=1)
    return Pool(
        probabilities,
        np.ones(n) if uncertainty is None else uncertainty,
        features,
        none if labelled is None else labelled,
        np.zeros(classes, int) if strokes is None else strokes,
        np.zeros(n, int) if slices is None else slices,
        usual if places is None else places,
    )


def as_sure(n: int) -> NDArray[np.floating]:
    """Probabilities that say nothing."""
    return np.full((n, 2), 0.5)


def random_pool(n: int = 40, labels: int = 5, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    strokes = np.array([4, 2, 3])
    likely, features, labelled = rng.dirichlet([1, 1, 1], n), rng.normal(3, 2, (n, 4)), rng.normal(3, 2, (labels, 4))
    return pool(likely, features, labelled, strokes=strokes, uncertainty=rng.random(n))


def slow_order(given: Pool, count: int) -> list[tuple[int, float]]:
    """The definition, place by place."""
    scale = given.features.std(0) * np.sqrt(2 * given.features.shape[1])
    known = [row / scale for row in given.labelled]
    strokes = given.strokes.tolist()
    chosen: list[tuple[int, float]] = []
    while len(chosen) < count:
        wanted = strokes.index(min(strokes))
        strokes[wanted] += 1
        best: tuple[float, int, float] = (-1.0, -1, 0.0)
        for row in range(len(given.features)):
            if row in [one for one, _ in chosen]:
                continue
            at = given.features[row] / scale
            difference = min((float(np.linalg.norm(at - one)) for one in known), default=1.0)
            score = float(given.probabilities[row, wanted]) * difference * float(given.uncertainty[row]) ** DOUBT
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


def test_the_class_with_the_fewest_strokes_is_looked_for_until_all_have_as_many() -> None:
    rng = np.random.default_rng(0)
    of_class = np.array([0] * 90 + [1] * 5 + [2] * 5)  # two are rare
    given = pool(np.eye(3)[of_class], rng.normal(size=(100, 3)), strokes=np.array([5, 3, 4]))
    found = of_class[[one.row for one in rank(given, 6, apart=FAR)]]
    assert found.tolist() == [1, 1, 2, 0, 1, 2]


def test_looking_for_a_class_leaves_the_count_of_strokes_as_it_was() -> None:
    given = random_pool()
    rank(given, 5, apart=FAR)
    assert given.strokes.tolist() == [4, 2, 3]


def test_a_class_that_is_likely_nowhere_is_looked_for_where_it_is_likeliest() -> None:
    probabilities = np.array([[0.99, 0.01], [0.9, 0.1], [0.98, 0.02]])
    found = rank(pool(probabilities, np.eye(3), strokes=np.array([9, 0])), 1, apart=FAR)
    assert found[0].row == 1


def test_what_is_known_for_sure_comes_after_what_is_not() -> None:
    found = rank(pool(as_sure(3), np.eye(3), uncertainty=np.array([0.0, 0.5, 0.01])), 3, apart=FAR)
    assert [one.row for one in found] == [1, 2, 0]


def test_what_looks_like_a_labelled_place_comes_last() -> None:
    features = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    found = rank(pool(as_sure(3), features, labelled=features[:1]), 3, apart=FAR)
    assert [one.row for one in found] == [1, 2, 0]
    assert found[-1].difference == 0


def test_twins_are_not_suggested_one_after_the_other() -> None:
    probabilities = np.array([[0.9, 0.1], [0.89, 0.11], [0.3, 0.7]])
    found = rank(pool(probabilities, np.array([[0.0], [0.01], [5.0]]), strokes=np.array([0, 9])), 3, apart=FAR)
    assert [one.row for one in found] == [0, 2, 1]


def test_every_slice_has_its_share_before_any_has_more() -> None:
    rng = np.random.default_rng(1)
    slices = np.repeat([0, 1, 2], 20)
    likely = np.where(slices == 0, 1.0, 0.01) * rng.random(60)
    given = pool(np.stack([likely, 1 - likely], axis=1), rng.normal(size=(60, 3)), slices=slices)
    found = rank(given, 6, apart=FAR)
    assert np.bincount(slices[[one.row for one in found]]).tolist() == [2, 2, 2]


def test_a_slice_gives_more_than_its_share_where_the_others_have_none_left() -> None:
    slices = np.array([0] * 9 + [1])
    given = pool(as_sure(10), np.random.default_rng(2).normal(size=(10, 3)), slices=slices)
    found = rank(given, 6, apart=FAR)
    assert np.bincount(slices[[one.row for one in found]]).tolist() == [5, 1]


def test_places_of_a_slice_lie_apart_and_those_of_two_slices_may_lie_upon_each_other() -> None:
    rng = np.random.default_rng(3)
    places = np.stack([np.repeat([0, 1], 50), *rng.integers(0, 60, (2, 100))], axis=1)
    given = pool(rng.dirichlet([1, 1], 100), rng.normal(size=(100, 3)), slices=places[:, 0], places=places)
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
    found = rank(pool(np.array([[0.2, 0.8], [0.4, 0.6]]), features), 5, apart=FAR)
    assert [one.row for one in found] == [1, 0]
    assert np.isfinite([one.difference for one in found]).all()
