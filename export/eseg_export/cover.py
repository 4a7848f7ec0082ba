"""The cover picture: an image beside its segmentation."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eseg_export.sample import Samples
from eseg_zoo.colours import class_colours

SIDE = 4.0  # inches of each half; at 100 dots an inch the picture stays far below the zoo's 500 KB
_DOTS = 100
_LEGEND_ROWS = 15


def draw_cover(samples: Samples, class_names: tuple[str, ...], path: Path) -> None:
    """Write the picture, twice as wide as high; of a volume, its middle slice."""
    image, classes = samples.image[0, 0], samples.probabilities[0].argmax(0)
    if image.ndim == 3:
        image, classes = image[len(image) // 2], classes[len(classes) // 2]
    side = min(image.shape)
    image, classes = image[:side, :side], classes[:side, :side]
    colours = class_colours(len(class_names))
    figure = Figure(figsize=(2 * SIDE, SIDE), dpi=_DOTS)
    left, right = figure.add_axes((0, 0, 0.5, 1)), figure.add_axes((0.5, 0, 0.5, 1))
    darkest, lightest = np.percentile(image, (0.5, 99.5))
    left.imshow(image, cmap="gray", vmin=darkest, vmax=lightest)
    right.imshow(classes, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5, interpolation="nearest")
    for axes in (left, right):
        axes.set_axis_off()
    columns = -(-len(colours) // _LEGEND_ROWS)
    patches = [Patch(color=colour, label=name) for colour, name in zip(colours, class_names, strict=True)]
    right.legend(handles=patches, loc="lower right", fontsize=9, ncols=columns, framealpha=0.85, borderaxespad=0.4)
    file = BytesIO()
    figure.savefig(file, format="png")
    path.write_bytes(file.getvalue())
