"""Class names as every consumer can read them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence


def channel_names(class_names: Sequence[str]) -> list[str]:
    """Return the names as ilastik's version of the spec wants them: unlike each other, and valid in Python code.

    The names as they were given are in `config.eseg.classes`.
    """
    identifiers: list[str] = []
    for name in class_names:
        identifier = re.sub(r"\W+", "_", name).strip("_") or "unnamed"
        if identifier[0].isdigit() or keyword.iskeyword(identifier):
            identifier = f"class_{identifier}"
        while identifier in identifiers:
            identifier += "_"
        identifiers.append(identifier)
    return identifiers
