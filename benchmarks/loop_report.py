"""Tables and curves of the simulated annotator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from matplotlib import rcParams
from matplotlib.figure import Figure

from eseg_zoo.output import replacing
from report import Report, spread
from rows import Row

if TYPE_CHECKING:
    from judging import Judged
    from loop import Round

NOTE = (
    "Dice over every pixel of the unseen slices, mean ± standard deviation over the seeds; with the correction for "
    "class frequencies, in parentheses without it. Every method learns from the strokes of its strategy alone. "
    "CPU seconds are of one training; finding the places comes to it."
)
METHODS = ("network", "forest")
_NAMES = {"network": "ε-Seg", "forest": "random forest"}
_STYLES = {"network": "-", "forest": ":"}
Found = Mapping[Row, Sequence["Round"]]


def make_tables(found: Found) -> list[Report]:
    """Return one line for each method, strategy and number of strokes, and one for the classes that were painted."""
    lines, painted = [], []
    for strategy, strokes, rounds in _groups(found):
        for method in METHODS:
            judged = [_of(one, method) for one in rounds]
            classes = [f"{fmean(one.corrected[name] for one in judged):.3f}" for name in judged[0].corrected]
            dice = [spread([_mean(one, key) for one in judged]) for key in ("corrected", "argmax")]
            cpu = [f"{fmean(getattr(one, key) for one in judged):.0f}" for key in ("training", "choosing")]
            lines.append([_NAMES[method], strategy, str(strokes), f"{dice[0]} ({dice[1]})", *classes, *cpu])
        counts = [f"{fmean(one.by_class[name] for one in rounds):.1f}" for name in rounds[0].by_class]
        painted.append([strategy, str(strokes), f"{fmean(one.labelled_pixels for one in rounds):.0f}", *counts])
    names = next((tuple(rounds[0].by_class) for rounds in found.values() if rounds), ())
    header = ("method", "strokes by", "strokes", "mean Dice", *names, "training, CPU-s", "choosing, CPU-s")
    return [
        Report("The simulated annotator", NOTE, header, lines),
        Report("Strokes of each class", "Mean over the seeds.", ("by", "strokes", "pixels", *names), painted),
    ]


def draw_curves(found: Found, path: Path) -> None:
    """Write a PNG: mean Dice over strokes, and over the CPU seconds that had gone into trainings and choosing."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    colours = rcParams["axes.prop_cycle"].by_key()["color"]
    for strategy, colour in zip(dict.fromkeys(row.learner for row in found), colours, strict=False):
        rows = [rounds for row, rounds in found.items() if row.learner == strategy and rounds]
        for method in METHODS:
            style = {
                "color": colour,
                "linestyle": _STYLES[method],
                "marker": ".",
                "label": f"{_NAMES[method]}, {strategy}",
            }
            for panel, along in zip(panels, (_strokes, _seconds(method)), strict=True):
                points = [list(zip(along(rounds), _curve(rounds, method), strict=True)) for rounds in rows]
                means = [tuple(map(fmean, zip(*point, strict=True))) for point in zip(*points, strict=False)]
                panel.plot(*zip(*means, strict=True), **style) if means else None
    panels[0].set(ylabel="mean Dice, unseen slices", xlabel="strokes")
    panels[1].set(xlabel="CPU seconds of the machine")
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    with replacing(path, force=True) as temporary:
        figure.savefig(temporary, dpi=120)


def _groups(found: Found) -> list[tuple[str, int, list[Round]]]:
    """Return strategy, strokes that were to be there, and the round of each seed that has come so far.

    Fewer are there where the map has no more large errors.
    """
    groups: dict[tuple[str, int], list[Round]] = {}
    for row, rounds in found.items():
        for strokes, one in zip(row.settings["rounds"], rounds, strict=False):
            groups.setdefault((row.learner, strokes), []).append(one)
    return [(strategy, strokes, rounds) for (strategy, strokes), rounds in groups.items()]


def _of(one: Round, method: str) -> Judged:
    judged: Judged = getattr(one, method)
    return judged


def _mean(judged: Judged, key: str) -> float:
    return fmean(getattr(judged, key).values())


def _curve(rounds: Sequence[Round], method: str) -> list[float]:
    return [_mean(_of(one, method), "corrected") for one in rounds]


def _strokes(rounds: Sequence[Round]) -> list[float]:
    return [one.strokes for one in rounds]


def _seconds(method: str) -> Callable[[Sequence[Round]], list[float]]:
    return lambda rounds: list(accumulate(_of(one, method).training + _of(one, method).choosing for one in rounds))
