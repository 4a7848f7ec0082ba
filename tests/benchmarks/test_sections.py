"""2D and 3D are compared on the same labels with the same seeds, and the table says which is which."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest

from learners import with_neighbours
from rows import Outcome
from sections import make_report, series
from vnc import CLASSES


def outcome(dice: float) -> Outcome:
    classes = dict.fromkeys(CLASSES.values(), dice)
    return Outcome(argmax=classes, corrected=classes, cpu_seconds=100 * dice, labelled_pixels=300)


@pytest.fixture
def options() -> Namespace:
    return Namespace(steps=900, repeats=2, budgets=[300, 6000], few_labels={})


def test_both_networks_get_the_same_labels_and_seeds_and_3d_a_third_of_the_steps(options: Namespace) -> None:
    found = series(options)
    assert [(name, budget) for name, budget in found] == [
        ("2D", 300), ("2.5D", 300), ("3D, anisotropic", 300), ("2D", 6000), ("2.5D", 6000), ("3D, anisotropic", 6000),
    ]  # fmt: skip
    for flat, deep in zip(found["2D", 300], found["3D, anisotropic", 300], strict=True):
        assert (flat.learner, deep.learner) == ("network", "volume")
        assert (flat.labels, flat.per_class, flat.draw, flat.seed) == (
            deep.labels,
            deep.per_class,
            deep.draw,
            deep.seed,
        )
        assert flat.settings == {"training": {"steps": 300}, "semi_supervised": {"steps": 600}}
        assert deep.settings == {"training": {"steps": 100}, "semi_supervised": {"steps": 200}}
    assert [row.draw for row in found["2D", 300]] == [0, 1]
    assert [replace(row, learner="network") for row in found["2.5D", 300]] == found["2D", 300]


def test_neighbours_are_channels_and_the_ends_stand_in_for_what_is_not_there() -> None:
    raw = np.arange(3, dtype=np.uint8).reshape(3, 1, 1)
    assert with_neighbours(raw)[..., 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]


def test_the_table_has_the_mean_of_each_network_and_leaves_out_what_is_missing(options: Namespace) -> None:
    wanted = series(options)
    flat, deep = wanted["2D", 300], wanted["3D, anisotropic", 6000]
    report = make_report(wanted, {flat[0]: outcome(0.5), flat[1]: outcome(0.7), deep[0]: outcome(0.8)})
    assert [(line[0], line[1], line[2]) for line in report.lines] == [
        ("2D", "300", "2"),
        ("3D, anisotropic", "6,000", "1"),
    ]
    assert report.lines[0][-2].startswith("0.600 ± 0.141")
    assert report.lines[1][-2:] == ["0.800", "80"]
