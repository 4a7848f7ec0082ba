"""Names of classes and of input channels as every consumer can read them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence


def channel_names(names: Sequence[str], *, kind: str = "class") -> list[str]:
    """Return the names as ilastik's version of the spec wants them: unlike each other, and valid in Python code.

    `kind` is put before a name that could not stand alone, such as a number. The names as they were given are in
    `config.eseg`.
    """
    identifiers: list[str] = []
    for name in names:
        identifier = re.sub(r"\W+", "_", name).strip("_") or "unnamed"
        if identifier[0].isdigit() or keyword.iskeyword(identifier):
            identifier = f"{kind}_{identifier}"
        while identifier in identifiers:
            identifier += "_"
        identifiers.append(identifier)
    return identifiers
