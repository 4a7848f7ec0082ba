"""The drawings of a report: the curves of the training, and how often the model is right by its confidence."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from eseg_zoo.metrics import CONFIDENCE_BINS, Reliability
from eseg_zoo.report.history import History
from eseg_zoo.report.pictures import Picture, svg

# Dark enough for thin lines on white, and told apart by the dashes too.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#AA1155", "#777722", "#660066", "#56A0D0", "#444444")
_DASHES = ("-", "--", "-.", ":")
_STYLE: Any = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#888888",
    "axes.grid": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.6, "axes.axisbelow": True, "svg.hashsalt": "eseg",
}  # fmt: skip


def draw_losses(history: History) -> Picture | None:
    """Return the terms of the loss over the steps of all stages; None where none was logged."""
    terms = history.terms()
    if not terms:
        return None
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        axes = figure.subplots()
        for number, (name, (steps, values)) in enumerate(terms.items()):
            axes.plot(
                steps, values, _DASHES[number % len(_DASHES)], color=_LINES[number % len(_LINES)], label=name,
                marker=_marker(steps), linewidth=1.6,
            )  # fmt: skip
        if all(value > 0 for _, values in terms.values() for value in values):
            axes.set_yscale("log")
        axes.set(xlabel="step", ylabel="loss term, without its weight")
        _mark_stages(axes, history)
        figure.legend(loc="outside right upper", frameon=False)
        return _drawing(figure, f"Curves of {', '.join(terms)} over the steps of the training")


def draw_dice(history: History, names: Sequence[str], colours: Sequence[str]) -> Picture | None:
    """Return the Dice of each class on the held-out labels, in its colour, and their mean; None without any."""
    if "val/mean_dice" not in history.curves:
        return None
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.0), layout="constrained")
        axes = figure.subplots()
        around = [withStroke(linewidth=3, foreground="#777777")]
        for name, colour in zip(names, colours, strict=True):
            steps, values = history.curves.get(f"val/dice/{name}", ((), ()))
            axes.plot(steps, values, color=colour, linewidth=1.6, marker=_marker(steps), path_effects=around)
        steps, values = history.curves["val/mean_dice"]
        axes.plot(steps, values, color="black", linewidth=2.6, marker=_marker(steps))
        axes.set(xlabel="step", ylabel="Dice", ylim=(-0.02, 1.02))
        _mark_stages(axes, history)
        return _drawing(figure, "Dice of each class on the held-out labels, and their mean, over the steps")


def draw_reliability(curves: Mapping[str, Reliability], errors: Mapping[str, float]) -> Picture:
    """Return how often the most probable class is right against its probability, above the share of the pixels."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1)
        for (kind, curve), colour, dash in zip(curves.items(), _LINES, _DASHES, strict=False):
            filled = curve.pixels > 0
            above.plot(
                curve.confidence[filled], curve.accuracy[filled], dash, color=colour, marker="o", markersize=4,
                label=f"{kind} the temperature: error {errors[kind]:.3f}",
            )  # fmt: skip
            bins = np.minimum((curve.confidence[filled] * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
            shares = np.bincount(bins, curve.pixels[filled], CONFIDENCE_BINS) / curve.pixels.sum()
            below.stairs(shares, np.linspace(0, 1, CONFIDENCE_BINS + 1), color=colour, linestyle=dash)
        above.set(ylabel="share that is right", xlim=(0, 1), ylim=(-0.02, 1.02))
        below.set(xlabel="confidence", ylabel="share of pixels", ylim=(0, None))
        figure.legend(loc="outside upper left", frameon=False)
        return _drawing(figure, "Share of pixels that are right by the confidence of the model")


def _marker(steps: Sequence[int]) -> str:
    """Return what marks the points of a curve: one alone would not be seen."""
    return "o" if len(steps) == 1 else ""


def _mark_stages(axes: Axes, history: History) -> None:
    """Draw where each stage begins, with its name above the axes, where it covers nothing."""
    for stage, begins in history.begins.items():
        if begins:
            axes.axvline(begins, color="#999999", linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            stage.replace("_", "-"), (begins, 1), (3, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", color="#555555", fontsize=8,
        )  # fmt: skip
    axes.set_xlim(left=0)


def _drawing(figure: Figure, alt: str) -> Picture:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return svg(file.getvalue(), alt)
