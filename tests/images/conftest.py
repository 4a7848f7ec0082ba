"""A small stack, and what a refusal looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eseg_zoo.errors import InputError
from eseg_zoo.images import open_image

STACK = np.random.default_rng(0).integers(1, 255, (4, 6, 5), dtype=np.uint8)


def refusal(source: Any, **options: Any) -> str:
    """Return the one line that opening or reading `source` is refused with."""
    with pytest.raises(InputError) as caught:
        open_image(source, **options).read()
    assert "\n" not in str(caught.value)
    return str(caught.value)
