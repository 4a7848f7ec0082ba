"""Which axis is which: what the file states, what a person states, and what training had."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import AXES

log = logging.getLogger(__name__)

_LIKELY = {2: "yx", 3: "zyx", 4: "zcyx"}  # examples in messages, never a guess


def check_axes(axes: str, *, setting: str = "axes") -> str:
    """Return `axes` in small letters; raise `InputError` unless each letter is one of `AXES`, once, with y and x."""
    letters = axes.lower()
    if not set(letters) <= set(AXES) or len(set(letters)) < len(letters):
        raise InputError(f"{setting} is {axes!r}; it must be made of the letters {', '.join(AXES)}, each once")
    if not {"y", "x"} <= set(letters):
        raise InputError(f"{setting} is {axes!r}; it must have y and x")
    return letters


def pixel_type(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that pixels of `dtype` are read as: numbers, in the machine's byte order.

    Truth values become 0 and 1; half and extended floats the nearest kind that everything else computes with. Raises
    `InputError` for what is not a number.
    """
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    if np.issubdtype(dtype, np.integer):
        return dtype.newbyteorder("=")
    if np.issubdtype(dtype, np.floating):
        return dtype.newbyteorder("=") if dtype.itemsize in (4, 8) else np.dtype(f"f{4 if dtype.itemsize < 4 else 8}")
    kind = "complex" if np.issubdtype(dtype, np.complexfloating) else str(dtype)
    kind = "structured" if dtype.names else "object" if dtype.hasobject else kind
    raise InputError(f"{name} holds {kind} values; it must hold integers or floating-point numbers")


def resolve_axes(
    name: str, shape: tuple[int, ...], *, said: str, sure: bool, axes: str | None, usual_axes: str | None
) -> str:
    """Return the axes of an array in its order.

    A file that states them (`sure`, all of `said` in `AXES`) is believed, and `axes` that a person gives must agree.
    Otherwise they are `axes`, or `usual_axes`, those of training, whose leading t and z a smaller array may lack;
    a larger one may have further axes of length 1.

    Raises `InputError` where the axes contradict each other, do not fit the shape, are not known at all, or where
    colours (an s) have no c.
    """
    if 0 in shape:
        raise InputError(f"{name} has shape {shape}: it holds no pixel")
    if not 2 <= len(shape) <= len(AXES):
        raise InputError(f"{name} has shape {shape}; an image has two to five axes")
    if axes is not None:
        if sure and _is_known(said) and axes == _without_ones(said, shape):
            return said
        _require_number(name, shape, axes)
        _require_colours(name, said, axes)
        if sure:
            _require_agreement(name, said, axes)
        return axes
    if sure and _is_known(said.replace("s", "c")):
        found = said.replace("s", "c")
        if "s" in said and "c" not in (usual_axes or ""):
            _require_colours(name, said, usual_axes or "")
        return found
    if usual_axes is None:
        if "s" in said:
            _require_colours(name, said, "")
        if said == "yx":
            return said
        raise InputError(
            f"{name} has shape {shape} and does not say what its {len(shape)} axes are; "
            f"give axes with one letter for each, such as {_LIKELY.get(len(shape), 'tzcyx')}"
        )
    found = _fitting(name, shape, usual_axes)
    _require_colours(name, said, found)
    if sure:
        _require_agreement(name, said, found)
    return found


def _is_known(said: str) -> bool:
    return bool(said) and set(said) <= set(AXES) and len(set(said)) == len(said) and {"y", "x"} <= set(said)


def _without_ones(said: str, shape: tuple[int, ...]) -> str:
    return "".join(axis for axis, length in zip(said, shape, strict=True) if length > 1 or axis in "yx")


def _fitting(name: str, shape: tuple[int, ...], usual: str) -> str:
    """Return `usual` less the leading t and z that an array of this shape lacks, or with axes of length 1 added."""
    surplus = len(usual) - len(shape)
    if surplus < 0 and (found := _with_ones(shape, usual)):
        return found
    if surplus >= 0 and {"y", "x"} <= set(usual[surplus:]) and set(usual[:surplus]) <= {"t", "z"}:
        return usual[surplus:]
    raise InputError(
        f"{name} has shape {shape}, but the model was trained on axes {usual!r}; "
        f"give --axes with one letter for each of the {len(shape)} axes"
    )


def _with_ones(shape: tuple[int, ...], usual: str) -> str:
    """Return `usual` with other letters where this shape has as many ones too many; '' where it has not."""
    more = len(shape) - len(usual)
    ones = [number for number, length in enumerate(shape) if length == 1][:more]
    others = [axis for axis in "tzc" if axis not in usual]
    if len(ones) < more or len(others) < more:
        return ""
    letters, added = iter(usual), iter(others)
    return "".join(next(added) if number in ones else next(letters) for number in range(len(shape)))


def _require_number(name: str, shape: tuple[int, ...], axes: str) -> None:
    if len(shape) != len(axes):
        raise InputError(
            f"{name} has shape {shape}, {len(shape)} axes, but axes {axes!r} names {len(axes)}; "
            f"give axes with one letter for each, such as {_LIKELY.get(len(shape), 'tzcyx')}"
        )


def _require_colours(name: str, said: str, axes: str) -> None:
    """Raise `InputError` for colours (an s) where `axes` has no c at their position."""
    position = said.find("s")
    if position >= 0 and axes[position : position + 1] != "c":
        without = f"but axes {axes!r} has no c at their position" if axes else "but no axes are given"
        raise InputError(
            f"{name} has several values at each pixel, as colour images do (axes {_tell(said)}, S), {without}; save it "
            f"as grey values, or give axes with a c there, such as {_example(said)}, if they are channels"
        )


def _require_agreement(name: str, said: str, axes: str) -> None:
    """Raise `InputError` where `axes` contradicts what the file states; a warning tells what may be meant so.

    ImageJ writes stacks as time, and some programs write slices as channels: a person who says so is believed.
    """
    pairs = [(s, a) for s, a in zip(said, axes, strict=True) if s in AXES and s != a]
    if not pairs:
        return
    beside_colours = "".join(a for s, a in zip(said, axes, strict=True) if s != "s")
    meant = all(s in "tzc" and s not in beside_colours and a in "tz" for s, a in pairs)
    if not meant:
        raise InputError(
            f"axes is {axes}, but {name} says that its axes are {_tell(said)}; leave axes out, or correct them"
        )
    for stated, _ in pairs:
        what = {"c": "channels", "t": "time points", "z": "slices"}[stated]
        log.warning("%s says that it has %s (axes %s); it is read as %s", name, what, said, axes)


def _tell(said: str) -> str:
    return said.upper()


def _example(said: str) -> str:
    known = said.replace("s", "c")
    return known if _is_known(known) else f"{'z' * (len(known) > 3)}yxc"
