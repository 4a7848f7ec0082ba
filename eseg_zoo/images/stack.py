"""Arrays of one shape as one array with a leading axis, each opened when it is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Stack:
    """An array-like of `count` arrays of one shape; the `keep` that were read last stay open."""

    def __init__(self, open_one: Callable[[int], Any], count: int, *, keep: int = 8) -> None:
        self._open_one = lru_cache(maxsize=keep)(open_one)
        self.count = count

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[np.generic]:
        numbers = range(*where[0].indices(self.count))
        return np.stack([np.asarray(self._open_one(number)[where[1:]]) for number in numbers])
