"""The pictures: the cover, an image beside its segmentation; and for the README, certainty beside Dice per class."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import isnan, nan
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eseg_export.evaluation import Evaluation
from eseg_export.lettering import lettering
from eseg_export.sample import Array, Samples
from eseg_zoo.checkpoint import Checkpoint, Class
from eseg_zoo.composite import composite

SIDE = 4.0  # inches of each half; at 100 dots an inch the picture stays far below the zoo's 500 KB
_DOTS = 100
_LEGEND_ROWS = 15
_CAVEAT = "{:,} pixels, by which the model was\nchosen and calibrated: on whole\nimages Dice may be much lower"


def draw_cover(samples: Samples, shown: Sequence[Class], path: Path) -> None:
    """Write the picture, twice as wide as high; of a volume, its middle slice, of several channels, their composite."""
    image, probabilities = _square(samples)
    classes = probabilities.argmax(0)
    colours, letters = [one.colour for one in shown], lettering(tuple(one.name for one in shown))
    with rc_context({"font.family": list(letters.families)}):
        figure = Figure(figsize=(2 * SIDE, SIDE), dpi=_DOTS)
        left, right = figure.add_axes((0, 0, 0.5, 1)), figure.add_axes((0.5, 0, 0.5, 1))
        left.imshow(composite(image))
        right.imshow(classes, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5, interpolation="nearest")
        for axes in (left, right):
            axes.set_axis_off()
        columns = -(-len(colours) // _LEGEND_ROWS)
        patches = [
            Patch(color=colour, label=_plain(label)) for colour, label in zip(colours, letters.labels, strict=True)
        ]
        right.legend(handles=patches, loc="lower right", fontsize=9, ncols=columns, framealpha=0.85, borderaxespad=0.4)
        _save(figure, path)


def draw_validation(samples: Samples, checkpoint: Checkpoint, path: Path, evaluation: Evaluation | None = None) -> None:
    """Write the picture for the README: the largest probability at each pixel, and the Dice of each class.

    Dice is that of the evaluation, or else of the held-out labels, with what has to be known about them.
    """
    letters = lettering(checkpoint.class_names)
    with rc_context({"font.family": list(letters.families)}):
        figure = Figure(figsize=(2 * SIDE, SIDE), dpi=_DOTS, layout="constrained")
        left, right = figure.subplots(1, 2)
        shown = left.imshow(_square(samples)[1].max(0), cmap="viridis", vmin=0, vmax=1)
        left.set_title("largest probability")
        left.set_axis_off()
        figure.colorbar(shown, ax=left, shrink=0.8)
        _draw_dice(right, checkpoint, [_plain(label) for label in letters.labels], evaluation)
        _save(figure, path)


def _draw_dice(axes: Axes, checkpoint: Checkpoint, labels: Sequence[str], evaluation: Evaluation | None) -> None:
    """Draw a bar for each class, the first on top."""
    held_out = checkpoint.training.validation
    scores = [
        held_out.get(f"dice/{name}", nan) if evaluation is None else _known(evaluation.dice[name])
        for name in checkpoint.class_names
    ]
    rows = range(len(scores))
    bars = axes.barh(
        rows, [0 if isnan(score) else score for score in scores], color=[one.colour for one in checkpoint.classes]
    )
    axes.bar_label(bars, ["not measured" if isnan(score) else f"{score:.3f}" for score in scores], padding=3)
    axes.set_yticks(rows, labels)
    axes.invert_yaxis()  # bars are drawn from below
    axes.set_xlim(0, 1.25)  # room for the numbers
    axes.set_xticks([0, 0.5, 1])
    axes.spines[["top", "right"]].set_visible(False)
    if evaluation is not None:
        axes.set_title(f"Dice over {evaluation.total:,} labelled pixels")
        axes.set_xlabel(f"mean {evaluation.mean_dice:.3f}, by eseg evaluate")
    else:
        axes.set_title("Dice on held-out strokes: a hint")
        axes.set_xlabel(_CAVEAT.format(sum(checkpoint.training.validation_pixels.values())), fontsize=9)


def _known(score: float | None) -> float:
    return nan if score is None else score


def _square(samples: Samples) -> tuple[Array, Array]:
    """Return image (c, side, side) and probabilities (classes, side, side) of the sample; of a volume, its middle.

    What was mirrored to fill the smallest tile is left out.
    """
    real = [slice(None), *map(slice, samples.shown)]
    image, probabilities = samples.image[0][*real], samples.probabilities[0][*real]
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
