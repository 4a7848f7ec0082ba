"""The demo's report: one HTML file with pictures, figures and curves, readable without a network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bioimageio.core
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from eseg_export.composite import composite, legend
from eseg_export.demo.phantom import Phantom
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.colours import class_colours
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.imagine import imagine
from eseg_zoo.output import replacing
from eseg_zoo.patches.sections import Section

# The square that the model must paint, and the cells a side of what is shown around it.
HIDDEN_SIDE, REGION_CELLS = 15, 7

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>eseg_zoo demo</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222 }}
 img {{ width: 100% }} table {{ border-collapse: collapse }}
 td, th {{ padding: .2rem .9rem; border-bottom: 1px solid #ccc }}
 td:not(:first-child) {{ text-align: right }}
</style>
<h1>ε-Seg on {title}</h1>
<p>{summary}</p>
<h2>A slice that training never saw</h2><img alt="image, truth, prediction, uncertainty" src="{unseen}">
<h2>What training was given</h2><img alt="image and painted strokes" src="{strokes}">
<h2>Dice on the unseen slices</h2>{table}
<h2>How sure it is, and how often right</h2><p>{calibration}</p>
<img alt="reliability plot" src="{reliability}" style="max-width: 480px">
<h2>What it makes of a hidden region</h2><p>{imagined_text}</p>
<img alt="image, hidden region, reconstruction, and a draw of each class" src="{imagined}">
<h2>Training</h2><img alt="loss and validation Dice" src="{curves}">
<p>{zoo}</p>
</html>
"""


@dataclass(frozen=True)
class DemoFigures:
    """What the demo made; label maps are (z, y, x) and hold the class values of the phantom."""

    title: str  # what it was made on
    phantom: Phantom
    channels: tuple[str, ...]  # none: the image is grey
    strokes: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]
    unseen: int  # slice shown with its truth
    training: int  # slice shown with its strokes
    evaluation: dict[str, Any]
    reliability: Path  # the plot of `eseg evaluate`, PNG
    metrics: Sequence[Mapping[str, Any]]  # the log of the training
    package: Path

    def section(self, z: int) -> NDArray[np.generic]:
        """Return a slice of the image, (c, y, x)."""
        image: NDArray[np.generic] = self.phantom.image[z]
        return image.reshape(-1, *image.shape[-2:])


def write_report(path: Path, demo: DemoFigures, model: Path) -> float:
    """Write the report; returns the largest difference in probability between the package and the checkpoint.

    The package runs in bioimageio.core, on the slice that is shown.
    """
    checkpoint = Checkpoint.load(model)
    difference = _package_difference(demo, checkpoint)
    training = checkpoint.training
    labelled = ", ".join(f"{name} {count}" for name, count in training.labelled_pixels.items())
    page = _PAGE.format(
        title=html.escape(demo.title),
        summary=html.escape(
            f"{sum(training.labelled_pixels.values())} labelled pixels for training ({labelled}), "
            f"{100 * training.labelled_fraction:.3f} % of the training slices; {training.steps} steps in "
            f"{training.seconds:.0f} s. Mean Dice on unseen slices: {demo.evaluation['mean_dice']:.3f}."
        ),
        unseen=_unseen_figure(demo),
        strokes=_strokes_figure(demo),
        table=_dice_table(demo, checkpoint),
        calibration=html.escape(_calibration(demo.evaluation)),
        reliability=_as_url(demo.reliability.read_bytes()),
        imagined=_imagined_figure(demo, checkpoint),
        imagined_text=(
            f"The network of training sees the surroundings of a hidden square of {HIDDEN_SIDE} pixels and paints it: "
            "from the latents that it infers, and from draws of each class in the mixture prior."
        ),
        curves=_curves_figure(demo.metrics),
        zoo=html.escape(
            f"The package {demo.package.name}, run in bioimageio.core {bioimageio.core.__version__}, gives the "
            f"probabilities of the checkpoint to {difference:.1e}."
        ),
    )
    with replacing(path, force=True) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return difference


def _package_difference(demo: DemoFigures, checkpoint: Checkpoint) -> float:
    image = demo.section(demo.unseen)[None].astype(np.float32)
    tensor = bioimageio.core.Tensor.from_numpy(image, dims=("batch", "channel", "y", "x"))
    (predicted,) = bioimageio.core.predict(model=demo.package, inputs=tensor).members.values()
    with torch.inference_mode():
        expected = checkpoint.segmenter()(torch.from_numpy(image)).numpy()
    return float(np.abs(predicted.data.to_numpy() - expected).max())


def _unseen_figure(demo: DemoFigures) -> str:
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    image, truth, prediction, uncertainty = figure.subplots(1, 4)
    _show(image, composite(demo.section(demo.unseen)), legend(demo.channels) or "image")
    _show(truth, _coloured(demo, demo.phantom.truth[demo.unseen]), "truth")
    _show(prediction, _coloured(demo, demo.prediction[demo.unseen]), "prediction")
    uncertainty.imshow(demo.uncertainty[demo.unseen], cmap="magma", vmin=0, vmax=1)
    _show(uncertainty, None, "uncertainty (entropy, 0-1)")
    _legend(figure, demo)
    return _embedded(figure)


def _strokes_figure(demo: DemoFigures) -> str:
    figure = Figure(figsize=(12, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    image = composite(demo.section(demo.training))
    strokes = demo.strokes[demo.training]
    painted = np.where((strokes > 0)[..., None], _coloured(demo, strokes) / 255, image)
    _show(left, image, "a training slice")
    _show(right, painted, "its strokes: all that training knows of it")
    _legend(figure, demo)
    return _embedded(figure)


def _imagined_figure(demo: DemoFigures, checkpoint: Checkpoint) -> str:
    section = Section(open_image(demo.section(demo.unseen), axes="cyx"), 0, 0)
    truth = demo.phantom.truth[demo.unseen]
    rng = np.random.default_rng(0)
    chosen = [rng.choice(np.argwhere(truth == value)) for value in demo.phantom.classes]
    figure = Figure(figsize=(12, 2.1 * len(chosen)), layout="constrained")
    rows = figure.subplots(len(chosen), 3 + len(checkpoint.class_names), squeeze=False)
    for axes, place, name in zip(rows, chosen, checkpoint.class_names, strict=True):
        found = imagine(checkpoint, section, tuple(place.tolist()), side=HIDDEN_SIDE, cells=REGION_CELLS)
        hidden = np.where(found.hidden, found.image.mean(), found.image)
        pictures = {f"image ({name})": found.image, "seen": hidden, "reconstruction": found.reconstruction}
        pictures |= {f"as {other}": drawn for other, drawn in found.draws.items()}
        # As one strip, so that all have the same contrast.
        strip = np.split(composite(np.concatenate(list(pictures.values()), axis=-1)), len(pictures), axis=1)
        for panel, title, picture in zip(axes, pictures, strip, strict=True):
            _show(panel, picture, title)
    return _embedded(figure)


def _curves_figure(rows: Sequence[Mapping[str, Any]]) -> str:
    figure = Figure(figsize=(12, 3), layout="constrained")
    loss, dice = figure.subplots(1, 2)
    for term in ("cross_entropy", "inpainting", "contrastive", "kl", "pseudo_labels", "unlabelled_inpainting"):
        _curve(loss, rows, f"train/{term}", term.replace("_", " "))
    loss.set(xlabel="step", ylabel="loss term, unweighted", yscale="log")
    loss.legend()
    _curve(dice, rows, "val/mean_dice", "mean Dice of held-out strokes")
    dice.set(xlabel="step", ylim=(0, 1))
    dice.legend()
    return _embedded(figure)


def _curve(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, label: str) -> None:
    points = [(row["step"], row[key]) for row in rows if key in row]
    axes.plot([step for step, _ in points], [value for _, value in points], label=label)


def _coloured(demo: DemoFigures, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = np.zeros((256, 3), np.uint8)
    for value, colour in zip(demo.phantom.classes, class_colours(len(demo.phantom.classes)), strict=True):
        colours[value] = np.array(to_rgb(colour)) * 255
    return colours[labels]


def _show(axes: Axes, image: NDArray[np.generic] | None, title: str) -> None:
    if image is not None:
        axes.imshow(image)
    axes.set_title(title)
    axes.set_axis_off()


def _legend(figure: Figure, demo: DemoFigures) -> None:
    patches = [
        Patch(color=colour, label=name)
        for name, colour in zip(demo.phantom.classes.values(), class_colours(len(demo.phantom.classes)), strict=True)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))


def _dice_table(demo: DemoFigures, checkpoint: Checkpoint) -> str:
    rows = [
        f"<tr><td>{html.escape(one.name)}</td><td>{demo.evaluation['dice'][one.name]:.3f}</td><td>{one.frequency:.3f}</td></tr>"
        for one in checkpoint.classes
    ]
    head = "<tr><th>class</th><th>Dice</th><th>estimated frequency</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _calibration(evaluation: dict[str, Any]) -> str:
    auroc = evaluation["uncertainty_auroc"]
    ranking = "" if auroc is None else f" The uncertainty ranks the errors with an AUROC of {auroc:.3f}."
    return (
        f"On the unseen slices the expected calibration error is {evaluation['calibration_error']:.3f}, without the "
        f"temperature {evaluation['calibration_error_without_temperature']:.3f}.{ranking}"
    )


def _embedded(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _as_url(buffer.getvalue())


def _as_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
