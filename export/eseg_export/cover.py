"""The pictures: the cover, an image beside its segmentation; and for the README, certainty beside Dice per class."""

from __future__ import annotations

from io import BytesIO
from math import isnan, nan
from pathlib import Path

from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eseg_export.composite import composite
from eseg_export.sample import Array, Samples
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.colours import class_colours

SIDE = 4.0  # inches of each half; at 100 dots an inch the picture stays far below the zoo's 500 KB
_DOTS = 100
_LEGEND_ROWS = 15


def draw_cover(samples: Samples, class_names: tuple[str, ...], path: Path) -> None:
    """Write the picture, twice as wide as high; of a volume, its middle slice, of several channels, their composite."""
    image, probabilities = _square(samples)
    classes = probabilities.argmax(0)
    colours = class_colours(len(class_names))
    figure = Figure(figsize=(2 * SIDE, SIDE), dpi=_DOTS)
    left, right = figure.add_axes((0, 0, 0.5, 1)), figure.add_axes((0.5, 0, 0.5, 1))
    left.imshow(composite(image))
    right.imshow(classes, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5, interpolation="nearest")
    for axes in (left, right):
        axes.set_axis_off()
    columns = -(-len(colours) // _LEGEND_ROWS)
    patches = [Patch(color=colour, label=_plain(name)) for colour, name in zip(colours, class_names, strict=True)]
    right.legend(handles=patches, loc="lower right", fontsize=9, ncols=columns, framealpha=0.85, borderaxespad=0.4)
    _save(figure, path)


def draw_validation(samples: Samples, checkpoint: Checkpoint, path: Path) -> None:
    """Write the picture for the README: the largest probability at each pixel, and the held-out Dice of each class."""
    figure = Figure(figsize=(2 * SIDE, SIDE), dpi=_DOTS, layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = left.imshow(_square(samples)[1].max(0), cmap="viridis", vmin=0, vmax=1)
    left.set_title("largest probability")
    left.set_axis_off()
    figure.colorbar(shown, ax=left, shrink=0.8)
    names = checkpoint.class_names[::-1]  # bars are drawn from below
    scores = [checkpoint.training.validation.get(f"dice/{name}", nan) for name in names]
    rows = range(len(names))
    bars = right.barh(rows, [0 if isnan(score) else score for score in scores], color=class_colours(len(names))[::-1])
    right.bar_label(bars, ["not measured" if isnan(score) else f"{score:.3f}" for score in scores], padding=3)
    right.set_yticks(rows, [_plain(name) for name in names])
    right.set_xlim(0, 1.25)  # room for the numbers
    right.set_xticks([0, 0.5, 1])
    right.set_title("Dice on held-out labels")
    right.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _square(samples: Samples) -> tuple[Array, Array]:
    """Return image (c, side, side) and probabilities (classes, side, side) of the sample; of a volume, its middle."""
    image, probabilities = samples.image[0], samples.probabilities[0]
    if image.ndim == 4:
        middle = image.shape[1] // 2
        image, probabilities = image[:, middle], probabilities[:, middle]
    side = min(image.shape[1:])
    return image[:, :side, :side], probabilities[:, :side, :side]


def _save(figure: Figure, path: Path) -> None:
    file = BytesIO()
    figure.savefig(file, format="png")
    path.write_bytes(file.getvalue())


def _plain(name: str) -> str:
    """Return the name so that matplotlib shows its dollar signs instead of reading a formula between them."""
    return name.replace("$", r"\$")
