"""Which classes there are, by what the run says and by what the label files state, and what a file's values mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from eseg_zoo.errors import InputError
from eseg_zoo.labels.painted import LabelClass


@dataclass(frozen=True)
class Stated:
    """The classes that a label file states; none where it names none."""

    name: str  # what messages call the file
    classes: tuple[LabelClass, ...]  # a name may stand for several values
    is_image: bool = False  # its values are those of a label image, which a class map keeps


def classes_of_run(given: Mapping[int, str], stated: Sequence[Stated], unlabelled: int) -> tuple[LabelClass, ...]:
    """Return the classes in the order of their indices: those given, or else those that the files state.

    Of the files they are in the order in which they come, with the values of label images that name theirs, or else
    numbered from 1. Colours are the files', the first one of each name. Raises `InputError` where nobody names the
    classes of a file, and for a name that is not among those given.
    """
    if not given:
        nameless = [one.name for one in stated if not one.classes]
        if nameless:
            raise InputError(
                f"{nameless[0]} names no classes; give them in the run, such as classes: {{1: membrane, 2: cytoplasm}}"
            )
        given = _numbered(stated, unlabelled)
    names = list(given.values())
    for file in stated:
        unknown = [one.name for one in file.classes if _named(one.name, given) not in names]
        if unknown:
            theirs = ", ".join(dict.fromkeys(one.name for one in file.classes))
            raise InputError(
                f"{file.name} names the classes {theirs}, but {unknown[0]} is not among the classes "
                f"{', '.join(names)}; give the same names on both sides"
            )
    said = [one for file in stated for one in file.classes if one.colour]
    colours = {_named(one.name, given): one.colour for one in reversed(said)}
    return tuple(LabelClass(name, value, colours.get(name)) for value, name in given.items())


def merged_classes(stated: Sequence[Stated], unlabelled: int = 0) -> tuple[LabelClass, ...]:
    """Return the classes that files state together, as a run has them that gives none; there may be none."""
    naming = [one for one in stated if one.classes]
    return classes_of_run({}, naming, unlabelled) if naming else ()


def indices_of(stated: Stated, classes: Sequence[LabelClass]) -> dict[int, int]:
    """Return the class index of each value of a file: by name where it names its classes, else by value."""
    if not stated.classes:
        return {one.value: index for index, one in enumerate(classes)}
    numbers = {one.name: index for index, one in enumerate(classes)}
    given = {one.value: one.name for one in classes}
    return {one.value: numbers[_named(one.name, given)] for one in stated.classes}


def _named(name: str, given: Mapping[int, str]) -> str:
    """Return the class that a file means by a name: the one of that name, or, where it is a number, of that value."""
    by_value = given.get(int(name)) if name.isdecimal() and name not in given.values() else None
    return by_value or name


def _numbered(stated: Sequence[Stated], unlabelled: int) -> dict[int, str]:
    """Return the names that the files state, by value."""
    own: dict[str, int] = {}
    for one in (one for file in stated if file.is_image for one in file.classes):
        own.setdefault(one.name, one.value)
    if len(set(own.values())) < len(own):  # two label images mean different things by one value
        own = {}
    free = (value for value in count(1) if value not in own.values() and value != unlabelled)
    names = dict.fromkeys(one.name for file in stated for one in file.classes)
    return {own[name] if name in own else next(free): name for name in names}
