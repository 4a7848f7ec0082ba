"""The colours of classes are told apart with any colour vision, and from the greys of an electron micrograph."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from eseg_zoo.colours import PALETTE, class_colours, rgb

# What is seen of linear red, green and blue without one kind of cones. Source: G. Machado, M. Oliveira, L. Fernandes,
# "A physiologically-based model for simulation of color vision deficiency", IEEE TVCG 15 (2009), table 1, severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
GREYS = np.repeat(np.linspace(0, 1, 33)[:, None], 3, axis=1)


def seen(colours: NDArray[np.float64], vision: str) -> NDArray[np.float64]:
    """Return sRGB colours (n, 3), 0..1, as somebody with this vision sees them."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    found = np.clip(linear @ VISIONS[vision].T, 0, 1)
    return np.asarray(np.where(found <= 0.0031308, 12.92 * found, 1.055 * found ** (1 / 2.4) - 0.055))


def smallest_difference(colours: list[str], others: NDArray[np.float64] | None, vision: str) -> float:
    """Return the smallest CIEDE2000 between the colours, or between them and others."""
    own = np.array([rgb(colour) for colour in colours]) / 255
    first, second = (rgb2lab(seen(one, vision)[None])[0] for one in (own, own if others is None else others))
    differences = deltaE_ciede2000(first[:, None], second[None])  # type: ignore[no-untyped-call]
    if others is None:
        differences = differences[~np.eye(len(own), dtype=bool)]
    return float(differences.min())


# A difference of about 2 is just seen side by side; in a map, small areas lie apart. The palette before this one had
# 10.9 from the fourth colour on, and black.
@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(("classes", "least"), [(3, 22), (5, 16), (7, 15), (12, 13)])
def test_colours_are_told_apart_with_any_vision(vision: str, classes: int, least: float) -> None:
    assert smallest_difference(class_colours(classes), None, vision) > least


@pytest.mark.parametrize("vision", VISIONS)
def test_no_colour_is_a_grey_of_the_image(vision: str) -> None:
    assert smallest_difference(list(PALETTE), GREYS, vision) > 8


@pytest.mark.parametrize("classes", [2, 12, 13, 40, 100])
def test_every_class_has_a_colour_of_its_own_that_stays_when_classes_are_added(classes: int) -> None:
    colours = class_colours(classes)
    assert len(set(colours)) == classes
    assert class_colours(classes + 5)[:classes] == colours


def test_colours_beyond_the_palette_are_still_told_apart_by_normal_vision() -> None:
    assert smallest_difference(class_colours(36), None, "normal") > 3
