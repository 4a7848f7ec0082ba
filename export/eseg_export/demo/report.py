"""The demo's report: that of its training with the truth beside it, a hidden region, and the package."""

from __future__ import annotations

import json
from pathlib import Path

import bioimageio.core
import numpy as np
import torch
from numpy.typing import NDArray

from eseg_export.demo.phantom import Phantom
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.composite import composite
from eseg_zoo.config import load_run
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.imagine import imagine
from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels
from eseg_zoo.patches.sections import Section
from eseg_zoo.report.gather import Trained, Truth, gather
from eseg_zoo.report.page import Extra, write_page
from eseg_zoo.report.pictures import Picture, picture_of

# The square that the model must paint, and the cells a side of what is shown around it.
HIDDEN_SIDE, REGION_CELLS = 15, 7


def write_report(path: Path, folder: Path, phantom: Phantom, *, title: str, unseen: int) -> float:
    """Write the report of a demo in `folder`; returns the largest difference between package and checkpoint.

    `unseen` is a slice that training did not see; on it the package, run in bioimageio.core, is compared with the
    checkpoint, in probability.
    """
    run = load_run(folder / "run.yaml")
    model, package = run.out / "model.pt", folder / "model.zip"
    checkpoint = Checkpoint.load(model)
    image = open_image(run.images[0], axes=run.axes)
    reading = LabelReading(run.classes, run.unlabelled, run.network.dims)
    labels, truth = (
        open_labels([image], given_labels(files, 1), reading)[0] for files in (run.labels[0], folder / "truth.tif")
    )
    section = Section(image, 0, unseen)
    difference = _package_difference(section, checkpoint, package)
    figures = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    report = gather(
        Trained(
            checkpoint, model, planned=run.training.steps + run.semi_supervised.steps, is_finished=True,
            pairs=[(image, labels)], truth=Truth([truth], unseen, figures),
        )
    )  # fmt: skip
    extras = [_imagined(section, phantom.truth[unseen], checkpoint), _compared(difference, package)]
    write_page(report, path, force=True, title=f"ε-Seg on {title}", extras=extras)
    return difference


def _package_difference(section: Section, checkpoint: Checkpoint, package: Path) -> float:
    image = section.read()[None].astype(np.float32)
    tensor = bioimageio.core.Tensor.from_numpy(image, dims=("batch", "channel", "y", "x"))
    (predicted,) = bioimageio.core.predict(model=package, inputs=tensor).members.values()
    with torch.inference_mode():
        expected = checkpoint.segmenter()(torch.from_numpy(image)).numpy()
    return float(np.abs(predicted.data.to_numpy() - expected).max())


def _compared(difference: float, package: Path) -> Extra:
    return Extra(
        "The package",
        f"The package {package.name}, run in bioimageio.core {bioimageio.core.__version__}, gives the probabilities of "
        f"the checkpoint to {difference:.1e}.",
    )


def _imagined(section: Section, truth: NDArray[np.uint8], checkpoint: Checkpoint) -> Extra:
    """Return what the network of training paints into a hidden square, around a place of each class in the truth."""
    rng = np.random.default_rng(0)
    pictures: list[Picture] = []
    for one in checkpoint.classes:
        place = rng.choice(np.argwhere(truth == one.value))
        found = imagine(checkpoint, section, tuple(place.tolist()), side=HIDDEN_SIDE, cells=REGION_CELLS)
        hidden = np.where(found.hidden, found.image.mean(), found.image)
        shown = {f"image ({one.name})": found.image, "seen": hidden, "reconstruction": found.reconstruction}
        shown |= {f"as {other}": drawn for other, drawn in found.draws.items()}
        # As one strip, so that all have the same contrast.
        strip = np.split(composite(np.concatenate(list(shown.values()), axis=-1)), len(shown), axis=1)
        pictures += [picture_of(picture, title, title) for title, picture in zip(shown, strip, strict=True)]
    return Extra(
        "What it makes of a hidden region",
        f"The network of training sees the surroundings of a hidden square of {HIDDEN_SIDE} pixels and paints it: from "
        "the latents that it infers, and from draws of each class in the mixture prior.",
        pictures, columns=3 + len(checkpoint.classes),
    )  # fmt: skip
