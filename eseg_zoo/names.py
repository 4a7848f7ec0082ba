"""Names and colours of classes and channels that are safe to show and to write."""

from __future__ import annotations

import re

LONGEST = 256  # characters


def plain_name(value: str) -> str:
    """Return a name of a class or channel; raises `ValueError` for one that is blank, long, or not of printable text.

    A control character would move the cursor of a terminal and end the header of a file.
    """
    if not value.strip() or len(value) > LONGEST:
        raise ValueError(f"must have 1 to {LONGEST} characters")
    wrong = next((letter for letter in value if not letter.isprintable()), None)
    if wrong is not None:
        raise ValueError(f"must not have the character {wrong!a} in it")
    return value


def plain_colour(value: str) -> str:
    """Return a colour; raises `ValueError` unless it is red, green and blue as `#rrggbb`."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise ValueError(f"it is {value!r}; it must be red, green and blue in hexadecimal, such as '#e69f00'")
    return value
