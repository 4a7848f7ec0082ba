"""Few labelled points on the three data sets: the small preset beside a random forest, and beside itself as it was.

    python benchmarks/few_points.py DATA [--per-class 1] [--draws 0,1,2] [--out benchmarks/runs/few_points]

DATA is a folder of the nerve cord, the axons or the nuclei (see `materials.py`). A draw takes `--per-class` random
pixels of each class from the truth of every slice. The network has no other label: from few of them none is held out.
*fixed augmentation* is the network with contrast 0.2 and brightness 0.3, whatever the images differ by. Each is judged
on every pixel of unseen slices. Finished rows are kept: the command can be stopped and started again. Delete the folder
after a change of the code.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
from rich.console import Console

import eseg_zoo
from eseg_zoo.output import replacing
from loop import judge_forest, judge_network, stacks_of
from materials import Material, Plane, read_material
from report import Report, network_steps, spread
from rows import Outcome, Row, complete, read_outcomes

FIXED = {"contrast": 0.2, "brightness": 0.3}
# What is compared: who learns, and with which augmentation beside the defaults.
METHODS: dict[str, tuple[str, Mapping[str, float]]] = {
    "random forest": ("forest", {}),
    "ε-Seg, fixed augmentation": ("network", FIXED),
    "ε-Seg": ("network", {}),
}
NOTE = (
    "Dice over every pixel of the unseen slices, mean ± standard deviation over the draws, with the correction for "
    "class frequencies, in parentheses without it; classes with it."
)


def draw_points(material: Material, per_class: int, draw: int) -> list[Plane]:
    """Return label planes with so many random pixels of each class that a slice has; `draw` is the seed."""
    rng = np.random.default_rng([draw, per_class])
    planes = []
    for _, truth in material.learnt.planes:
        labels = np.zeros_like(truth)
        for value in material.classes:
            places = np.argwhere(truth == value)
            chosen = rng.choice(places, min(per_class, len(places)), replace=False)
            labels[tuple(chosen.T)] = value
        planes.append(labels)
    return planes


def learn(data: Path, row: Row, folder: Path) -> Outcome:
    """Return the outcome of a row: a key of `METHODS`, its number of points, and its draw."""
    material, per_class = read_material(data), row.per_class
    assert per_class is not None
    labels = draw_points(material, per_class, row.draw)
    started = time.process_time()
    if row.learner == "forest":
        judged = judge_forest(material, labels, row.seed, 0.0)
    else:
        model = eseg_zoo.train(
            material.learnt.images, stacks_of(labels, material.learnt), classes=material.classes, axes="zyx",
            preset="small", seed=row.seed, augmentation=row.settings["augmentation"],
            training=network_steps(row.settings["steps"])["training"] | {"accelerator": "cpu"},
            semi_supervised=network_steps(row.settings["steps"])["semi_supervised"],
        )  # fmt: skip
        judged = judge_network(model, material, time.process_time() - started, 0.0)
    return Outcome(judged.argmax, judged.corrected, judged.training, sum(int((one > 0).sum()) for one in labels))


def make_table(name: str, rows: Mapping[str, Sequence[Row]], outcomes: Mapping[Row, Outcome]) -> Report:
    """Return a line for each method, of those of its rows that are finished."""
    lines, names = [], tuple[str, ...]()
    for method, own in rows.items():
        if found := [outcomes[row] for row in own if row in outcomes]:
            names = tuple(found[0].corrected)
            dice = [spread([getattr(one, f"mean_{key}") for one in found]) for key in ("corrected", "argmax")]
            classes = [f"{fmean(one.corrected[key] for one in found):.3f}" for key in names]
            seconds = spread([one.cpu_seconds for one in found], digits=0)
            points = str(round(fmean(one.labelled_pixels for one in found)))
            lines.append([method, points, f"{dice[0]} ({dice[1]})", *classes, seconds, str(len(found))])
    return Report(f"Few points: {name}", NOTE, ("method", "points", "mean Dice", *names, "CPU-s", "draws"), lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/few_points"), help="where rows and tables go")
    parser.add_argument("--per-class", type=int, default=1, help="points of each class and slice")
    parser.add_argument("--steps", type=int, default=1500, help="of a training")
    parser.add_argument("--draws", type=lambda text: [int(one) for one in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time, one thread each")
    return parser.parse_args()


def main() -> None:
    """Run what is missing and make the table."""
    options, console = _parse(), Console(width=150)
    name = read_material(options.data).name

    def row_of(method: str, draw: int) -> Row:
        learner, augmentation = METHODS[method]
        settings = {} if learner == "forest" else {"steps": options.steps, "augmentation": dict(augmentation)}
        return Row(learner, name, options.per_class, draw, draw, settings)

    rows = {method: [row_of(method, draw) for draw in options.draws] for method in METHODS}
    failed: Sequence[Row] = []
    try:
        wanted = [row for draw in zip(*rows.values(), strict=True) for row in draw]
        failed = complete(wanted, partial(learn, options.data), options.out, jobs=options.jobs, console=console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on with the rows that are missing")
    table = make_table(name, rows, read_outcomes([row for own in rows.values() for row in own], options.out))
    table.show(console)
    with replacing(options.out / f"{name}-{options.per_class}.md", force=True) as temporary:
        temporary.write_text(table.markdown(), encoding="utf-8")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
