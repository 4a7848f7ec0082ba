"""Classes by name, by value, and by what the label files state together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from eseg_zoo.errors import InputError
from eseg_zoo.labels.classes import Stated, classes_of_run, indices_of, merged_classes
from eseg_zoo.labels.painted import LabelClass


def stated(name: str, *classes: tuple[int, str] | tuple[int, str, str], is_image: bool = False) -> Stated:
    return Stated(name, tuple(LabelClass(one[1], one[0], *one[2:]) for one in classes), is_image)


def told(classes: Sequence[LabelClass]) -> Mapping[int, str]:
    return {one.value: one.name for one in classes}


def test_files_are_matched_to_the_classes_by_name_and_others_by_value() -> None:
    given = {5: "a", 9: "b", 1: "c"}
    file, nameless = stated("p.ilp", (1, "b"), (2, "a"), (7, "b")), stated("x.tif")
    classes = classes_of_run(given, [file, nameless], 0)
    assert told(classes) == given
    assert indices_of(file, classes) == {1: 1, 2: 0, 7: 1}
    assert indices_of(nameless, classes) == {5: 0, 9: 1, 1: 2}


def test_a_name_that_is_a_number_is_the_class_of_that_value() -> None:
    file = stated("p.csv", (1, "9"), (2, "a"))
    classes = classes_of_run({5: "a", 9: "b"}, [file], 0)
    assert indices_of(file, classes) == {1: 1, 2: 0}


def test_an_unknown_name_lists_the_names_on_both_sides() -> None:
    with pytest.raises(InputError) as caught:
        classes_of_run({1: "a", 2: "b"}, [stated("p.ilp", (1, "a"), (2, "nucleus"))], 0)
    assert str(caught.value) == (
        "p.ilp names the classes a, nucleus, but nucleus is not among the classes a, b; give the same names on both "
        "sides"
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([stated("p", (1, "a"), (2, "b"))], {1: "a", 2: "b"}),
        ([stated("p", (1, "a")), stated("q", (1, "b"), (2, "a"))], {1: "a", 2: "b"}),
        ([stated("p", (7, "a"), (3, "b"), is_image=True)], {7: "a", 3: "b"}),
        ([stated("p", (1, "c")), stated("q", (1, "a"), (3, "b"), is_image=True)], {2: "c", 1: "a", 3: "b"}),
        ([stated("p", (7, "a"), is_image=True), stated("q", (7, "b"), is_image=True)], {1: "a", 2: "b"}),
        ([stated("p", (4, "a"), (5, "a"), (6, "b"), is_image=True)], {4: "a", 6: "b"}),
    ],
    ids=["one file", "several", "a label image", "both", "two that differ", "one name for two values"],
)
def test_without_classes_they_are_those_of_the_files_in_their_order(
    files: list[Stated], expected: Mapping[int, str]
) -> None:
    found = told(classes_of_run({}, files, 0))
    assert found == expected
    assert list(found) == list(expected)
    assert told(merged_classes([*files, stated("nameless")])) == expected


def test_no_class_has_the_value_that_means_not_labelled() -> None:
    assert told(classes_of_run({}, [stated("p", (1, "a"), (2, "b"))], 1)) == {2: "a", 3: "b"}


def test_where_nobody_names_the_classes_the_run_must() -> None:
    with pytest.raises(InputError, match=r"x\.tif names no classes; give them in the run, such as classes: \{1: "):
        classes_of_run({}, [stated("p", (1, "a"), (2, "b")), stated("x.tif")], 0)
    assert merged_classes([stated("x.tif")]) == ()


def test_the_colour_of_a_class_is_the_first_that_a_file_gives_it() -> None:
    files = [stated("p", (1, "a"), (2, "b", "#000002")), stated("q", (1, "a", "#000001"), (2, "b", "#000003"))]
    assert [one.colour for one in classes_of_run({1: "a", 2: "b", 3: "c"}, files, 0)] == ["#000001", "#000002", None]
