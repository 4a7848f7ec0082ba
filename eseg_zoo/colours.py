"""The colours of classes: in maps, covers and reports alike."""

from __future__ import annotations

# Told apart with any colour vision; black last. Source: M. Okabe, K. Ito, "Color Universal Design" (2008).
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")


def class_colours(classes: int) -> list[str]:
    """Return one colour for each class, as `#rrggbb`; beyond eight they run along a perceptually uniform map."""
    if classes <= len(PALETTE):
        return list(PALETTE[:classes])
    import matplotlib  # slow to import, and eight colours are enough for most
    from matplotlib.colors import to_hex

    return [to_hex(matplotlib.colormaps["cividis"](number / (classes - 1))) for number in range(classes)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0..255, of `#rrggbb`."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
