"""What a damaged or made-up input may lead to: success, or one of our errors in one line, soon, without running code.

Each case has a number, from which all of its random choices follow: a case that fails is run again by its number.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from eseg_zoo.errors import EsegError

# Cases of each input: some for `make test`, many more for `make fuzz`.
CASES = int(os.environ.get("ESEG_FUZZ_CASES", "40"))
_SECONDS = 20  # that a case may take, on a busy machine
_LONGEST = 1500  # characters of a message; paths are in it


class HangError(BaseException):
    """A case took too long."""


@contextmanager
def limited() -> Iterator[None]:
    """Stop what takes too long; where not even a signal gets through, the process ends with a traceback."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    faulthandler.dump_traceback_later(3 * _SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(call: Callable[[], object], *, lines: int = 1) -> str:
    """Return '' for success, or the text of our error; anything else that is raised is a fault.

    `lines` are how many it may have: mistakes in settings have one each.
    """
    with limited(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of damaged files
        try:
            call()
        except EsegError as error:
            text = str(error)
            assert text.strip(), "an error without a text"
            assert text.count("\n") < lines, text[: 2 * _LONGEST]
            assert all(len(line) <= _LONGEST for line in text.splitlines()), text[: 2 * _LONGEST]
            return text
    return ""


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes of a file with a few of them changed, cut out, repeated, or the file cut short."""
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not found:
            break
        at = int(rng.integers(len(found)))
        length = int(rng.integers(1, 64))
        match int(rng.integers(7)):
            case 0:
                found[at] ^= 1 << int(rng.integers(8))
            case 1:
                found[at] = int(rng.choice([0, 1, 127, 128, 255]))
            case 2:
                found[at : at + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
            case 3:
                del found[at : at + length]
            case 4:
                found[at:at] = found[at : at + length]
            case 5:
                found[at : at + length] = rng.bytes(length)
            case 6 if rng.random() < 0.3:
                del found[at:]
    return bytes(found)


def near_the_start(content: bytes, rng: np.random.Generator, *, most: int = 512) -> bytes:
    """Return the bytes of a file that are damaged where most formats have their headers."""
    return damaged(content[:most], rng) + content[most:]


def written(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


# Values that a field of a structured file hardly expects.
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 10**6, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e300, float("nan"), float("inf"),
    "", " ", "a", "0", "-1", "1e3", "zyx", "é\u202e", "a\nb", "\x1b[31mred", "x" * 300, "../../etc", "/", "\ud800",
    [], [[]], [0], [1, 2], [[1, 2]], ["a"], [None], [-1, 2], [10**6] * 3, [float("nan")], list(range(300)),
    {}, {"a": 1}, {"": {}}, {"scale": [0]}, [{"a": 1}],
]  # fmt: skip


def deep(depth: int) -> Any:
    """Return lists in lists."""
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def altered(content: Any, rng: np.random.Generator, odd: list[Any] | None = None) -> tuple[Any, str]:
    """Return nested lists and mappings with one value replaced, removed, doubled or renamed, and which one it was."""
    places = list(_places(content))
    place = places[int(rng.integers(len(places)))] if places else ()
    pool = odd or ODD
    value = pool[int(rng.integers(len(pool)))]
    kind = ("replaced", "replaced", "replaced", "removed", "doubled")[int(rng.integers(5))]
    return _changed(content, place, kind, value), f"{kind} {'.'.join(map(str, place))[:80]}"


def _places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value; those of long lists stand for a few."""
    if place:
        yield place
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _places(value, (*place, key))
    elif isinstance(content, (list, tuple)):
        for number, value in enumerate(content[:6]):
            yield from _places(value, (*place, number))


def _changed(content: Any, place: tuple[Any, ...], kind: str, value: Any) -> Any:
    if not place:
        return value
    key, rest = place[0], place[1:]
    copy: Any = dict(content) if isinstance(content, dict) else list(content)
    if rest or kind == "replaced":
        copy[key] = _changed(copy[key], rest, kind, value) if rest else value
    elif kind == "removed":
        del copy[key]
    elif isinstance(copy, dict):
        copy[f"{key} "] = copy[key]
    else:
        copy.insert(key, copy[key])
    return tuple(copy) if isinstance(content, tuple) else copy
