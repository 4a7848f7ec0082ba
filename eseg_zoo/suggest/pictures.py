"""A picture of a suggested place: what is there, what the network makes of it, and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.colours import class_colours, rgb
from eseg_zoo.inference.network import Predictor
from eseg_zoo.metrics import entropy
from eseg_zoo.patches.sections import Section, Window
from eseg_zoo.suggest.candidates import REACH, View, look
from eseg_zoo.suggest.places import Place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pixels from the place to the edge of the picture.
SHOWN = 64
_DARKEST, _LIGHTEST = 0.5, 99.5  # percentiles


def draw_place(predictor: Predictor, place: Place) -> Figure:
    """Return a figure of three panels around a place: the image, its class map, and the uncertainty, 0 to 1.

    A ring marks the place. Several channels are shown as their mean, each stretched by itself.
    """
    from matplotlib.figure import Figure  # slow to import
    from matplotlib.patches import Circle, Patch

    checkpoint = predictor.checkpoint
    section = Section(place.image, place.t, place.z if checkpoint.dims == 2 else None)
    window = _around(place, section, checkpoint.geometry.stride)
    view = look(predictor, section, window)
    plane = () if checkpoint.dims == 2 else (place.z - window[0].start,)
    colours = class_colours(len(checkpoint.classes))
    classes = np.array([rgb(colour) for colour in colours], np.uint8)[view.probabilities.argmax(0)[plane]]
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.imshow(_grey(view, checkpoint.geometry.margin)[plane], cmap="gray", vmin=0, vmax=1)
    middle.imshow(classes, interpolation="nearest")
    unsure = right.imshow(entropy(view.probabilities)[plane], cmap="magma", vmin=0, vmax=1)
    figure.colorbar(unsure, ax=right, shrink=0.8)
    middle_of = place.x - window[-1].start, place.y - window[-2].start
    for panel, title in ((left, "image"), (middle, "class map"), (right, "uncertainty")):
        panel.set(title=title, xticks=[], yticks=[])
        panel.add_patch(Circle(middle_of, 2 * REACH, fill=False, edgecolor="white", linewidth=3))
        panel.add_patch(Circle(middle_of, 2 * REACH, fill=False, edgecolor="black", linewidth=1))
    names = [Patch(color=colour, label=name) for colour, name in zip(colours, checkpoint.class_names, strict=True)]
    figure.legend(handles=names, loc="outside lower center", ncols=len(names), fontsize="small")
    figure.suptitle(f"{place.rank}. {place.tell()}", fontsize="medium")
    return figure


def _around(place: Place, section: Section, stride: tuple[int, ...]) -> Window:
    """Return the window around a place, which begins on the network's grid; of a volume a plane or a few."""
    window = []
    position = (place.z, place.y, place.x)[-len(section.space) :]
    for axis, (n, step, length) in enumerate(zip(position, stride, section.space, strict=True)):
        shown = 0 if axis == len(section.space) - 3 else SHOWN
        window.append(slice(max(n - shown, 0) // step * step, min(n + shown + 1, length)))
    return tuple(window)


def _grey(view: View, margin: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the image of a view (*window), 0 to 1."""
    sizes = [part.stop - part.start for part in view.window]
    inner = tuple(slice(m, m + n) for m, n in zip(margin, sizes, strict=True))
    channels = []
    for channel in view.pixels[(slice(None), *inner)]:
        darkest, lightest = np.percentile(channel, (_DARKEST, _LIGHTEST))
        channels.append((channel - darkest) / max(lightest - darkest, np.finfo(np.float32).tiny))
    return np.asarray(np.clip(np.mean(channels, axis=0), 0, 1), np.float32)
