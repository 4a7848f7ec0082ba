"""An image of any number of channels as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.colours import rgb

# Added up, the first two give white: told apart with any colour vision.
COLOURS = {"magenta": "#FF00FF", "green": "#00FF00", "cyan": "#00FFFF", "yellow": "#FFFF00", "red": "#FF0000"}
_DARKEST, _LIGHTEST = 0.5, 99.5  # percentiles


def composite(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the picture (y, x, 3), 0..1, of an image (c, y, x): grey for one channel, else their colours added up.

    Each channel is stretched by itself from its darkest to its lightest pixels, half a percent of each cut off.
    """
    colours = ["#FFFFFF"] if len(image) == 1 else [colour for _, colour in channel_colours(range(len(image)))]
    picture = np.zeros((*image.shape[1:], 3), np.float32)
    for channel, colour in zip(image.astype(np.float32), colours, strict=True):
        darkest, lightest = np.percentile(channel, (_DARKEST, _LIGHTEST))
        stretched = np.clip((channel - darkest) / max(lightest - darkest, np.finfo(np.float32).tiny), 0, 1)
        picture += stretched[..., None] * np.array(rgb(colour), np.float32) / 255
    return np.clip(picture, 0, 1)


def channel_colours(channels: Sequence[object]) -> list[tuple[str, str]]:
    """Return the colour of each of several channels, its name and `#rrggbb`; they come again after the last one."""
    known = list(COLOURS.items())
    return [known[number % len(known)] for number in range(len(channels))]
