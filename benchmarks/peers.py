"""The small preset beside what people use instead, from the same few labels on the same CPU.

    python benchmarks/peers.py DATA [--out benchmarks/runs/peers]

A random forest on multiscale features, a plain U-Net of equal multiply-adds per pixel and per training step, the same
U-Net on dense labels, and the small preset from points and from scribbles. All get the same correction for class
frequencies. From more than 600 labels the networks take twice as many steps. Writes `tables.md` and the curve
`labels.png`. Finished rows are kept: the command can be stopped and started again. Delete the folder after a change of
the code.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eseg_zoo.output import replacing
from learners import merged
from report import (
    CROSS_ENTROPY_ALONE,
    FEW_LABELS,
    LABELS_OF_ONE,
    Report,
    network_row,
    network_steps,
    parse,
    run,
    spread,
    supervised_steps,
)
from rows import Outcome, Row
from vnc import CLASSES

FROM_POINTS = {
    "random forest": "forest",
    "U-Net": "unet",
    "same network, cross-entropy alone": "cross-entropy",
    "ε-Seg, small preset": "network",
}
SCRIBBLES, DENSE = "ε-Seg, small preset, scribbles", "U-Net, dense labels"

NOTE = (
    "Dice over every pixel of slices 12-13, mean ± standard deviation over the draws; classes after the correction. A "
    "draw takes the same number of points of each class from each of the slices 0-11 and is the seed of the training "
    "too; at 6,000 it takes all points, and only the seed differs. The points of slices 12-13 are left whole at every "
    "budget: they choose the best epoch of the networks and fit the temperature of all methods. Frequencies by EM over "
    "unlabelled pixels of slices 0-11. The networks of one budget have the same multiply-adds in training: from more "
    "than 600 labels twice as many."
)


def optimised(options: Namespace, budget: int | None) -> Namespace:
    """Return the options with the steps of this budget: twice as many where there is more to learn from."""
    few = budget is not None and budget <= FEW_LABELS
    return options if few else Namespace(**{**vars(options), "steps": 2 * options.steps})


def points_row(learner: str, options: Namespace, budget: int, repeat: int) -> Row:
    """Return the row of a method that learns from `budget` points."""
    if learner == "network":
        return network_row(options, budget, repeat)
    if learner == "cross-entropy":
        return network_row(options, budget, repeat, merged(CROSS_ENTROPY_ALONE, supervised_steps(options.steps)))
    settings = supervised_steps(options.steps) if learner == "unet" else {}
    return Row(learner, "points", budget // LABELS_OF_ONE, repeat, repeat, settings)


def series(options: Namespace) -> dict[tuple[str, int | None], list[Row]]:
    """Return the rows of each (method, budget), one for each draw; the budget None is all labels of their kind."""
    repeats = range(options.repeats)
    found: dict[tuple[str, int | None], list[Row]] = {
        (name, budget): [points_row(learner, optimised(options, budget), budget, repeat) for repeat in repeats]
        for budget in options.budgets
        for name, learner in FROM_POINTS.items()
    }
    steps = optimised(options, None).steps
    both, equal = network_steps(steps), supervised_steps(steps)
    found[SCRIBBLES, None] = [Row("network", "scribbles", None, repeat, repeat, both) for repeat in repeats]
    found[DENSE, None] = [Row("dense-unet", "dense", None, repeat, repeat, equal) for repeat in repeats]
    return found


def make_report(wanted: Mapping[tuple[str, int | None], Sequence[Row]], outcomes: Mapping[Row, Outcome]) -> Report:
    """Return the table, one line for each method and budget."""
    lines = []
    for (name, _), rows in wanted.items():
        there = [outcomes[row] for row in rows if row in outcomes]
        if not there:
            lines.append([name, *["-"] * (len(CLASSES) + 7)])
            continue
        first = there[0]
        classes = [f"{fmean(o.corrected[c] for o in there):.3f}" for c in CLASSES.values()]
        dice = [spread([o.mean_argmax for o in there]), spread([o.mean_corrected for o in there])]
        size = [f"{n:,.0f}" if n else "-" for n in (first.multiply_adds, first.parameters)]
        cpu = spread([o.cpu_seconds for o in there], digits=0)
        lines.append([name, f"{first.labelled_pixels:,}", str(len(there)), *dice, *classes, *size, cpu])
    header = ("method", "labels", "runs", "argmax", "corrected", *CLASSES.values())
    costs = ("multiply-adds per pixel", "parameters", "training, CPU-s")
    return Report("Accuracy beside other methods", NOTE, (*header, *costs), lines)


def draw_curve(
    wanted: Mapping[tuple[str, int | None], Sequence[Row]], outcomes: Mapping[Row, Outcome], path: Path
) -> None:
    """Write a PNG: mean Dice over labelled pixels, with and without the correction, bars of one standard deviation."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, key in zip(panels, ("argmax", "corrected"), strict=True):
        _draw_panel(panel, key, wanted, outcomes)
    panels[0].set_ylabel("mean Dice, slices 12-13")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    with replacing(path, force=True) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_panel(
    panel: Axes,
    key: str,
    wanted: Mapping[tuple[str, int | None], Sequence[Row]],
    outcomes: Mapping[Row, Outcome],
) -> None:
    for name in dict.fromkeys(name for name, _ in wanted):
        groups = [[outcomes[r] for r in rows if r in outcomes] for (other, _), rows in wanted.items() if other == name]
        groups = sorted((group for group in groups if group), key=lambda group: group[0].labelled_pixels)
        if not groups:
            continue
        dice = [[getattr(outcome, f"mean_{key}") for outcome in group] for group in groups]
        means = [fmean(values) for values in dice]
        if name == DENSE:
            panel.axhline(means[0], color="black", linestyle=":", label=name)
        else:
            deviations = [stdev(values) if len(values) > 1 else 0 for values in dice]
            pixels = [group[0].labelled_pixels for group in groups]
            panel.errorbar(pixels, means, deviations, marker="o", capsize=3, label=name)
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
