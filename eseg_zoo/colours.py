"""The colours of classes: in maps, covers and reports alike."""

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

# Told apart with any colour vision; black last. Source: M. Okabe, K. Ito, "Color Universal Design" (2008).
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")


def class_colours(classes: int) -> list[str]:
    """Return one colour for each class, as `#rrggbb`; beyond eight they run along a perceptually uniform map."""
    if classes <= len(PALETTE):
        return list(PALETTE[:classes])
    return [to_hex(colour) for colour in matplotlib.colormaps["cividis"](np.linspace(0, 1, classes))]
