"""The reliability plot: how often a model is right, against how sure it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eseg_zoo.colours import PALETTE
from eseg_zoo.inference.evaluate import Evaluation
from eseg_zoo.metrics import CONFIDENCE_BINS
from eseg_zoo.output import make_folder, replacing

FORMATS = (".pdf", ".png", ".svg")


def write_reliability_plot(path: Path, evaluation: Evaluation, *, force: bool) -> None:
    """Draw accuracy against confidence, with and without the temperature, above the share of pixels in each bin.

    The suffix of `path`, one of `FORMATS`, says the format. Raises `OutputError` when it exists and `force` is not set,
    or when it cannot be written.
    """
    make_folder(path.parent)
    figure = Figure(figsize=(4.5, 5.5), layout="constrained")
    curve, pixels = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="calibrated")
    lines = {
        "with the temperature": (evaluation.reliability, PALETTE[0]),
        "without": (evaluation.reliability_without_temperature, PALETTE[3]),
    }
    for name, (reliability, colour) in lines.items():
        filled = reliability.pixels > 0
        label = f"{name}: calibration error {reliability.error:.3f}"
        curve.plot(reliability.confidence[filled], reliability.accuracy[filled], "o-", color=colour, label=label)
        shares = reliability.pixels / reliability.pixels.sum()
        pixels.stairs(shares, np.linspace(0, 1, CONFIDENCE_BINS + 1), color=colour)
    curve.set(ylabel="share of these pixels that are right", xlim=(0, 1), ylim=(0, 1))
    curve.legend(loc="lower right", fontsize="small")
    pixels.set(xlabel="confidence: probability of the predicted class", ylabel="share of pixels", ylim=(0, None))
    with replacing(path, force=force) as temporary:
        figure.savefig(temporary, dpi=150)
