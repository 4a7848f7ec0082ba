"""Sample data for napari: the synthetic volumes of the demo, which nobody has to download."""

from __future__ import annotations

from typing import Any

import numpy as np

SHAPE = (8, 256, 256)  # z, y, x: some seconds to make, and enough to learn from


def em() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a synthetic EM volume: membranes, mitochondria, vesicles."""
    from eseg_export.demo.em import em_phantom

    phantom = em_phantom(SHAPE, rng=np.random.default_rng(0))
    about = {"name": "EM", "scale": (0.05, 0.005, 0.005), "units": ("micrometer",) * 3}
    return [(phantom.image, about, "image")]


def fluorescence() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a synthetic two-channel fluorescence volume: nuclei and cytoplasm, a layer each."""
    from eseg_export.demo.fluorescence import CHANNELS, fluorescence_phantom

    from eseg_napari.chosen_image import SOURCE

    phantom = fluorescence_phantom(SHAPE, rng=np.random.default_rng(0))
    about = {
        "scale": (0.6, 0.2, 0.2), "units": ("micrometer",) * 3, "blending": "additive",
        "metadata": {SOURCE: "sample://fluorescence"},
    }  # fmt: skip
    return [
        (phantom.image[:, number], {"name": name, "colormap": colour, **about}, "image")
        for number, (name, colour) in enumerate(zip(CHANNELS, ("cyan", "magenta"), strict=True))
    ]
