"""Class names in pictures: in a font that has their letters, and short enough to stand beside the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib import rcParams
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

_LONGEST = 20  # characters of a name in a picture
_BOXES = "Last Resort"  # a font that has a box for every letter


@dataclass(frozen=True)
class Lettering:
    """How names are written in a picture."""

    labels: tuple[str, ...]  # one for each name
    families: tuple[str, ...]  # fonts, in the order in which a letter is looked up
    unwritten: tuple[str, ...]  # names whose letters no font here has: their labels are `channel n`


def lettering(names: Sequence[str]) -> Lettering:
    """Return the labels of the names, in their order, and the fonts that have their letters."""
    main = rcParams["font.family"]
    families, known = list(main), set(_letters(findfont(FontProperties())))
    labels, unwritten = [], []
    for index, name in enumerate(names):
        missing = {ord(letter) for letter in _short(name)} - known
        found = list(_fonts_with(missing)) if missing else []
        letters = {letter for _, path in found for letter in _letters(path)}
        if missing <= letters:
            labels.append(_short(name))
            families += [family for family, _ in found if family not in families]
            known |= letters
        else:
            labels.append(f"channel {index}")
            unwritten.append(name)
    return Lettering(tuple(_told_apart(labels)), tuple(families), tuple(unwritten))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _told_apart(labels: Sequence[str]) -> list[str]:
    """Return the labels; those that are the same once they are cut off get the number of their channel."""
    return [
        label if labels.count(label) == 1 else f"{index} {label[: _LONGEST - 4]}…" for index, label in enumerate(labels)
    ]


def _fonts_with(letters: set[int]) -> Iterator[tuple[str, str]]:
    """Yield name and file of installed fonts that together have the letters, as far as they can be had."""
    for family, path in sorted({(font.name, font.fname) for font in fontManager.ttflist}):
        if _BOXES in family or not letters:
            continue
        own = letters & _letters(path)
        if own:
            letters = letters - own
            yield family, path


def _letters(path: str) -> set[int]:
    """Return the code points that the font has; none for a file that cannot be drawn from, such as coloured emoji."""
    try:
        return set(get_font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()
