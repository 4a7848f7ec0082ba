"""The small preset beside what people use instead, from the same few labels on the same CPU.

    python benchmarks/peers.py DATA [--out benchmarks/runs/peers]

A random forest on multiscale features, a plain U-Net of equal multiply-adds per pixel and per training step, the small
preset trained with cross-entropy alone, and the small preset: all from points, all but the U-Net from scribbles, and
the U-Net from dense labels. From few labels the small preset once more, with no label to validate on but these. All get
the same correction for class frequencies. From more than 600 labels the networks take twice as many steps. Writes
`tables.md` and the curve `labels.png`. Finished rows are kept: the command can be stopped and started again. Delete the
folder after a change of the code.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eseg_zoo.output import replacing
from learners import merged
from report import (
    CROSS_ENTROPY_ALONE,
    Report,
    are_few,
    network_row,
    parse,
    per_class,
    run,
    spread,
    supervised_steps,
)
from rows import Outcome, Row
from vnc import CLASSES

FOREST, UNET = "random forest", "U-Net"
ALONE, NETWORK = "same network, cross-entropy alone", "ε-Seg, small preset"
LONE = "ε-Seg, small preset, validated on its own labels"
METHODS = (FOREST, UNET, ALONE, NETWORK, LONE)
SCRIBBLING = (FOREST, ALONE, NETWORK)  # those that learn from scribbles too


class Line(NamedTuple):
    """One line of the table: a method and what it learns from."""

    method: str
    labels: str  # "points", "scribbles" or "dense"
    budget: int | None = None  # labelled pixels; None: all there are of their kind

    @property
    def name(self) -> str:
        return self.method if self.labels == "points" else f"{self.method}, {self.labels}"


DENSE = Line(UNET, "dense")

NOTE = (
    "Dice over every pixel of slices 12-13, mean ± standard deviation over the draws; classes after the correction. A "
    "draw takes the same number of points of each class from each of the slices 0-11 and is the seed of the training "
    "too; at 6,000 it takes all points, and only the seed differs. The 1,000 points of slices 12-13 are left whole at "
    "every budget: they choose the best epoch of the networks and calibrate all methods, but for ε-Seg validated on "
    "its own labels, which holds out a tenth of the budget instead. Frequencies by EM over unlabelled pixels of slices "
    "0-11. The networks of one budget have the same multiply-adds in training: from more than 600 labels twice as many."
)


def row_of(line: Line, options: Namespace, repeat: int) -> Row:
    """Return the row of one repeat of a line, in twice as many steps where there is more to learn from."""
    if not are_few(line.budget):
        options = Namespace(**{**vars(options), "steps": 2 * options.steps})
    equal = supervised_steps(options.steps)
    if line.method == FOREST:
        return Row("forest", line.labels, per_class(line.budget), repeat, repeat)
    if line.method == UNET:
        learner = "dense-unet" if line == DENSE else "unet"
        return Row(learner, line.labels, per_class(line.budget), repeat, repeat, equal)
    settings = merged(CROSS_ENTROPY_ALONE, equal) if line.method == ALONE else {}
    row = network_row(options, line.budget, repeat, settings, labels=line.labels)
    return replace(row, learner="network-alone") if line.method == LONE else row


def series(options: Namespace) -> dict[Line, list[Row]]:
    """Return the rows of each line, one for each draw."""
    points = [
        Line(method, "points", budget)
        for budget in options.budgets
        for method in METHODS
        if method != LONE or are_few(budget)
    ]
    lines = [*points, *(Line(method, "scribbles") for method in SCRIBBLING), DENSE]
    return {line: [row_of(line, options, repeat) for repeat in range(options.repeats)] for line in lines}


def make_report(wanted: Mapping[Line, Sequence[Row]], outcomes: Mapping[Row, Outcome]) -> Report:
    """Return the table, one line for each method and budget."""
    lines = []
    for line, rows in wanted.items():
        there = [outcomes[row] for row in rows if row in outcomes]
        if not there:
            lines.append([line.name, *["-"] * (len(CLASSES) + 7)])
            continue
        first = there[0]
        classes = [f"{fmean(o.corrected[c] for o in there):.3f}" for c in CLASSES.values()]
        dice = [spread([o.mean_argmax for o in there]), spread([o.mean_corrected for o in there])]
        size = [f"{n:,.0f}" if n else "-" for n in (first.multiply_adds, first.parameters)]
        cpu = spread([o.cpu_seconds for o in there], digits=0)
        lines.append([line.name, f"{first.labelled_pixels:,}", str(len(there)), *dice, *classes, *size, cpu])
    header = ("method", "labels", "runs", "argmax", "corrected", *CLASSES.values())
    costs = ("multiply-adds per pixel", "parameters", "training, CPU-s")
    return Report("Accuracy beside other methods", NOTE, (*header, *costs), lines)


def draw_curve(wanted: Mapping[Line, Sequence[Row]], outcomes: Mapping[Row, Outcome], path: Path) -> None:
    """Write a PNG: mean Dice over labelled pixels, with and without the correction, bars of one standard deviation."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, key in zip(panels, ("argmax", "corrected"), strict=True):
        _draw_panel(panel, key, wanted, outcomes)
    panels[0].set_ylabel("mean Dice, slices 12-13")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    with replacing(path, force=True) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_panel(
    panel: Axes,
    key: str,
    wanted: Mapping[Line, Sequence[Row]],
    outcomes: Mapping[Row, Outcome],
) -> None:
    colours = dict(zip(METHODS, rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    markers = {"points": "o", "scribbles": "*"}
    for method, labels in dict.fromkeys((line.method, line.labels) for line in wanted):
        groups = [
            [outcomes[row] for row in rows if row in outcomes]
            for line, rows in wanted.items()
            if (line.method, line.labels) == (method, labels)
        ]
        groups = sorted((group for group in groups if group), key=lambda group: group[0].labelled_pixels)
        if not groups:
            continue
        name = Line(method, labels).name
        dice = [[getattr(outcome, f"mean_{key}") for outcome in group] for group in groups]
        means = [fmean(values) for values in dice]
        if labels == "dense":
            panel.axhline(means[0], color=colours[method], linestyle=":", label=name)
        else:
            deviations = [stdev(values) if len(values) > 1 else 0 for values in dice]
            pixels = [group[0].labelled_pixels for group in groups]
            style = {"color": colours[method], "marker": markers[labels], "label": name}
            panel.errorbar(pixels, means, deviations, capsize=3, **style)
    panel.set(xscale="log", xlabel="labelled pixels in slices 0-11", title=key)
    panel.grid(alpha=0.3)


def main() -> None:
    """Run what is missing, make the table and draw the curve."""
    options = parse(__doc__, out="peers", steps=1500, budgets="60,300,600,6000")
    wanted = series(options)
    rows = [group[repeat] for repeat in range(options.repeats) for group in wanted.values()]

    def reports(outcomes: dict[Row, Outcome]) -> list[Report]:
        draw_curve(wanted, outcomes, options.out / "labels.png")
        return [make_report(wanted, outcomes)]

    run(rows, options, reports)


if __name__ == "__main__":
    main()
