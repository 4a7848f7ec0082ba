"""Names of classes, of input channels and of the model: what they may be, and how every consumer can read them."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ConfigError

_LONGEST = 128  # characters of a class or channel
_SHORTEST_NAME, _LONGEST_NAME, _LONGEST_ID = 5, 64, 64  # of a model; longer ones are cut off by the zoo's website


def channel_names(names: Sequence[str], *, kind: str = "class") -> list[str]:
    """Return the names as ilastik's version of the spec wants them: unlike each other, and valid in Python code.

    `kind` is put before a name that could not stand alone, such as a number. The names as they were given are in
    `config.eseg`.
    """
    identifiers: list[str] = []
    for name in names:
        identifier = re.sub(r"\W+", "_", name).strip("_") or "unnamed"
        if not identifier.isidentifier() or keyword.iskeyword(identifier):
            identifier = f"{kind}_{identifier}"
        if not identifier.isidentifier():  # letters that Python's names cannot have at all, such as a lone vowel sign
            identifier = f"{kind}_{len(identifiers) + 1}"
        while identifier in identifiers:
            identifier += "_"
        identifiers.append(identifier)
    return identifiers


def refuse_unusable_names(checkpoint: Checkpoint) -> None:
    """Raise `ConfigError` for a class or channel whose name cannot stand in a package."""
    for kind, names in (("class", checkpoint.class_names), ("channel", checkpoint.channel_names)):
        for number, name in enumerate(names, start=1):
            if not name.strip():
                raise ConfigError(f"{kind} {number} has no name; a name is at least one letter")
            if found := control_character(name):
                raise ConfigError(f"{kind} {number} has {found} in its name {name!r}; a name is one line of text")
            if len(name) > _LONGEST:
                raise ConfigError(
                    f"{kind} {number} has a name of {len(name)} characters; {_LONGEST} are allowed: {name[:30]!r} ..."
                )


def checked_model_name(name: str) -> str:
    """Return the name of a model; raises `ValueError` with the rule for one that the zoo does not take."""
    fits = re.fullmatch(r"[A-Za-z0-9_+\- ()]+", name) and re.search(r"[A-Za-z0-9]", name)
    if not fits or not _SHORTEST_NAME <= len(name.strip()) == len(name) <= _LONGEST_NAME:
        raise ValueError(
            f"{_shown(name)} is not a name of a model; it must have {_SHORTEST_NAME} to {_LONGEST_NAME} characters,"
            " letters A to Z, digits, spaces and _+-() alone, no space at its ends, and one letter or digit at least"
        )
    return name


def checked_identifier(identifier: str) -> str:
    """Return the identifier of a model; raises `ValueError` with the rule for one that is none."""
    if not re.fullmatch(rf"[a-z0-9][a-z0-9_-]{{0,{_LONGEST_ID - 1}}}", identifier):
        raise ValueError(
            f"{_shown(identifier)} is not an identifier; it must have 1 to {_LONGEST_ID} characters, letters a to z,"
            " digits, - and _ alone, no dots or slashes, and begin with a letter or digit, such as affable-shark"
        )
    return identifier


def control_character(text: str, *, allowed: str = "") -> str | None:
    """Return the first character that cannot be printed, in words; None where there is none."""
    for letter in text:
        if letter not in allowed and unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
            return "a line break" if letter in "\n\r\u2028\u2029" else f"the control character U+{ord(letter):04X}"
    return None


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:50]!r} ... ({len(text)} characters)"
