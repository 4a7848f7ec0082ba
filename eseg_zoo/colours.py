"""The colours of classes: in maps, covers and reports alike."""

from __future__ import annotations

# Twelve colours that are told apart, and from every grey, by normal vision and by eyes that lack one kind of cones; the
# first ones differ most. They begin with the blue and the orange of M. Okabe, K. Ito, "Color Universal Design" (2008);
# the others are from a search for the largest smallest difference (CIEDE2000) with colour vision as G. Machado,
# M. Oliveira and L. Fernandes simulate it, IEEE TVCG 15 (2009). `tests/test_colours.py` measures them.
PALETTE = (
    "#0072B2", "#E69F00", "#99EEBB", "#AA1155", "#FFBBFF", "#AA88FF", "#777722", "#0011CC", "#55AA77", "#EEEE77",
    "#770000", "#660066",
)  # fmt: skip
# Each further round of the palette keeps this share of the round's before: paler, then darker, and so on.
_KEPT = 0.55


def class_colours(classes: int) -> list[str]:
    """Return one colour for each class, as `#rrggbb`; beyond twelve come paler and darker ones of the first twelve.

    A class has the same colour however many come after it.
    """
    return [_toned(PALETTE[number % len(PALETTE)], number // len(PALETTE)) for number in range(classes)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0..255, of `#rrggbb`."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _toned(colour: str, number: int) -> str:
    """Return the colour of this round of the palette: the first is the palette's, odd ones are paler, others darker."""
    kept, end = _KEPT ** ((number + 1) // 2), 255 * (number % 2)
    return "#" + "".join(f"{round(kept * part + (1 - kept) * end):02X}" for part in rgb(colour))
