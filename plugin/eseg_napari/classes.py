"""The classes that one paints: their names, values and colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from eseg_zoo.colours import class_colours
from eseg_zoo.errors import InputError
from eseg_zoo.names import plain_name

MOST = 255  # values of the label image, which has 8 bits
WITH_KEY = 9  # the first ones have the keys 1 to 9


@dataclass(frozen=True)
class PaintClass:
    """A class that one paints."""

    value: int  # in the label image, from 1
    name: str
    colour: str  # `#rrggbb`


def first_classes(names: Iterable[str] = ("class 1", "class 2")) -> tuple[PaintClass, ...]:
    """Return classes with these names, in colours that are told apart with any colour vision."""
    names = list(names)
    colours = class_colours(max(len(names), WITH_KEY - 1))
    return tuple(PaintClass(n, name, colours[n - 1]) for n, name in enumerate(names, start=1))


def of_mapping(classes: Mapping[int, str], colours: Mapping[str, str] | None = None) -> tuple[PaintClass, ...]:
    """Return classes by value; those without a colour get one that is not taken."""
    found: list[PaintClass] = []
    given = dict(colours or {})
    for value, name in classes.items():
        colour = given.get(name) or _free_colour([*given.values(), *(one.colour for one in found)])
        found.append(PaintClass(value, name, colour))
    return tuple(found)


def added(classes: Sequence[PaintClass]) -> tuple[PaintClass, ...]:
    """Return the classes with another one, of the first value and colour that are free."""
    taken = {one.value for one in classes}
    value = next((n for n in range(1, MOST + 1) if n not in taken), None)
    if value is None:
        raise InputError(f"there are {MOST} classes, which is all that a label image holds")
    names, number = {one.name for one in classes}, value
    while f"class {number}" in names:
        number += 1
    new = PaintClass(value, f"class {number}", _free_colour([one.colour for one in classes]))
    return tuple(sorted([*classes, new], key=lambda one: one.value))


def renamed(classes: Sequence[PaintClass], value: int, name: str) -> tuple[PaintClass, ...]:
    """Return the classes with another name for one; raises `InputError` for a name that cannot be or is taken."""
    try:
        name = plain_name(name.strip())
    except ValueError as error:
        raise InputError(f"the class name {name!r} {error}") from error
    if any(one.name == name and one.value != value for one in classes):
        raise InputError(f"there is a class {name} already; give this one another name")
    return tuple(replace(one, name=name) if one.value == value else one for one in classes)


def recoloured(classes: Sequence[PaintClass], value: int, colour: str) -> tuple[PaintClass, ...]:
    """Return the classes with another colour, `#rrggbb`, for one."""
    return tuple(replace(one, colour=colour) if one.value == value else one for one in classes)


def without(classes: Sequence[PaintClass], value: int) -> tuple[PaintClass, ...]:
    """Return the classes less one; raises `InputError` where fewer than two would be left."""
    if len(classes) <= 2:
        raise InputError("a model tells at least two classes apart: rename this one instead")
    return tuple(one for one in classes if one.value != value)


def key_of(classes: Sequence[PaintClass], value: int) -> str:
    """Return the key that chooses a class; '' where it has none."""
    place = [one.value for one in classes].index(value)
    return str(place + 1) if place < WITH_KEY else ""


def _free_colour(taken: Iterable[str]) -> str:
    used = {colour.lower() for colour in taken}
    palette = class_colours(WITH_KEY - 1)
    return next((one for one in palette if one.lower() not in used), palette[len(used) % len(palette)])
