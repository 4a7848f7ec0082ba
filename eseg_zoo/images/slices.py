"""Slices that a person names by the first and the last."""

from __future__ import annotations

import re

from eseg_zoo.errors import InputError


def chosen_slices(text: str | None, count: int, name: str, *, setting: str) -> range:
    """Return the slices that `text` names, such as '12-13', of the `count` in the image `name`; all where it is None.

    Slices count from 0. Raises `InputError` that names the setting where they are not there.
    """
    if text is None:
        return range(count)
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or int(match[1]) > int(match[2]) or int(match[2]) >= count:
        raise InputError(
            f"{setting} is {text}, but {name} has the slices 0-{count - 1}, counted from 0 and given as first-last"
        )
    return range(int(match[1]), int(match[2]) + 1)
