"""The names of an image's channels, and the sentences that tell one number of channels from another."""

from __future__ import annotations

from collections.abc import Sequence

from eseg_zoo.errors import InputError


def default_names(count: int) -> tuple[str, ...]:
    """Return names for `count` channels that nobody named: `intensity`, or `channel 1`, `channel 2` ..."""
    return ("intensity",) if count == 1 else tuple(f"channel {number}" for number in range(1, count + 1))


def name_channels(given: Sequence[str], count: int, name: str) -> tuple[str, ...]:
    """Return the names of the `count` channels of the image `name`: those that are `given`, if any.

    Raises `InputError` when another number of names is given.
    """
    if given and len(given) != count:
        raise InputError(f"{name} has {tell_count(count)}, but channels names {len(given)}: {', '.join(given)}")
    return tuple(given) or default_names(count)


def tell_count(count: int) -> str:
    """Return `1 channel` or `2 channels`."""
    return f"{count} channel{'s' * (count != 1)}"
