"""The small preset beside what people use instead, on three data sets, with no label but a few points.

    python benchmarks/accuracy.py DATA [--labels 60,300] [--draws 0,1,2] [--out benchmarks/runs/accuracy]

DATA is a folder of the nerve cord, the axons or the nuclei (see `materials.py`), or one that holds several of them. A
draw takes as many random pixels of each class from the truth of each slice as make about so many labels. All methods
learn from these and from nothing else: a random forest, a plain U-Net of equal multiply-adds, the same network trained
with cross-entropy alone, and the small preset as it is. The networks of a row have the same multiply-adds in training:
those of the steps that the small preset takes for so many labels. `--also` adds lines of the small preset with other
settings. Each is judged on every pixel of unseen slices. Finished rows are kept: the command can be stopped and started
again, and `--table` makes the tables of what there is. Delete the folder after a change of the code.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich.console import Console

import eseg_zoo
import unet
from eseg_zoo.api import run_of
from eseg_zoo.config import Run
from eseg_zoo.output import replacing
from eseg_zoo.training.data import read_training_data
from eseg_zoo.training.length import suited_to_labels
from judging import Judged, judge_forest, judge_logits, judge_network
from learners import merged
from materials import Material, Plane, read_material, stacks_of
from report import CROSS_ENTROPY_ALONE, Report, network_steps, numbers, spread, supervised_effort
from rows import Outcome, Row, complete, read_outcomes

METHODS = {
    "forest": "random forest",
    "unet": "U-Net",
    "alone": "same network, cross-entropy alone",
    "network": "ε-Seg, small preset",
}
# Lines of `--also`: the small preset with these settings.
ALSO: dict[str, dict[str, Any]] = {
    "300-steps": network_steps(300),
    "600-steps": network_steps(600),
    "900-steps": network_steps(900),
    "1500-steps": network_steps(1500),
    "no-cutmix": {"augmentation": {"cutmix": 0}},
    "two-levels": {"network": {"filters": [32, 64]}},
    "fixed-augmentation": {"augmentation": {"contrast": 0.2, "brightness": 0.3}},
    "more-augmentation": {"augmentation": {"zoom": 0.25, "elastic": 4.0, "blur": 1.0, "noise": 0.3}},
}
NOTE = (
    "Dice over every pixel of the unseen slices, mean ± standard deviation over the draws, with the correction for "
    "class frequencies, in parentheses without it; classes with it."
)


def points_per_class(material: Material, labels: int) -> int:
    """Return how many points of each class and slice make about so many labels."""
    return max(round(labels / (len(material.classes) * len(material.learnt.planes))), 1)


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
    judged = _learn(material, labels, row)
    return Outcome(judged.argmax, judged.corrected, judged.training, sum(int((one > 0).sum()) for one in labels))


def _learn(material: Material, labels: Sequence[Plane], row: Row) -> Judged:
    images, classes = material.learnt.images, material.classes
    if row.learner == "forest":
        return judge_forest(material, labels, row.seed)
    small = suited(material, labels)
    equal = supervised_effort(small.training.steps, small.semi_supervised.steps)
    started = time.process_time()
    if row.learner == "unet":
        planes = [plane.astype(np.int16) - 1 for plane in labels]
        examples = unet.Examples([image for image, _ in material.learnt.planes], planes)
        draw = unet.near_labels(planes)
        trained = unet.train_beside_preset(
            examples, None, draw, classes=len(classes), steps=equal["training"], seed=row.seed
        )
        return judge_logits(trained.logits, material, time.process_time() - started)
    settings = merged(CROSS_ENTROPY_ALONE, equal) if row.learner == "alone" else dict(row.settings)
    settings = merged({"training": {"accelerator": "cpu"}, "seed": row.seed, "preset": "small"}, settings)
    model = eseg_zoo.train(images, stacks_of(labels, material.learnt), classes=classes, axes="zyx", **settings)
    return judge_network(model, material, time.process_time() - started)


def suited(material: Material, labels: Sequence[Plane]) -> Run:
    """Return the small preset's settings with the steps that it takes for these labels."""
    settings = {"classes": material.classes, "axes": "zyx", "preset": "small", "out": "."}
    run, pairs = run_of(material.learnt.images, stacks_of(labels, material.learnt), settings, None)
    data = read_training_data(run, pairs)
    return suited_to_labels(run, data.training, data.differences)


def rows_of(material: Material, options: argparse.Namespace) -> dict[tuple[int, str], list[Row]]:
    """Return the rows of each line of the table: so many labels, and who learns from them."""

    def row(learner: str, labels: int, draw: int, settings: Mapping[str, Any]) -> Row:
        return Row(learner, material.name, points_per_class(material, labels), draw, draw, settings)

    lines: dict[str, tuple[str, dict[str, Any]]] = {name: (learner, {}) for learner, name in METHODS.items()}
    lines |= {f"{METHODS['network']}, {also}": ("network", ALSO[also]) for also in options.also}
    return {
        (labels, name): [row(learner, labels, draw, settings) for draw in options.draws]
        for labels in options.labels
        for name, (learner, settings) in lines.items()
    }


def make_table(name: str, rows: Mapping[tuple[int, str], Sequence[Row]], outcomes: Mapping[Row, Outcome]) -> Report:
    """Return a line for each number of labels and method, of those of its rows that are finished."""
    lines, names = [], tuple[str, ...]()
    for (_, method), own in rows.items():
        if found := [outcomes[row] for row in own if row in outcomes]:
            names = tuple(found[0].corrected)
            dice = [spread([getattr(one, f"mean_{key}") for one in found]) for key in ("corrected", "argmax")]
            classes = [f"{fmean(one.corrected[key] for one in found):.3f}" for key in names]
            seconds = spread([one.cpu_seconds for one in found], digits=0)
            points = str(round(fmean(one.labelled_pixels for one in found)))
            lines.append([method, points, f"{dice[0]} ({dice[1]})", *classes, seconds, str(len(found))])
    header = ("method", "labels", "mean Dice", *names, "training, CPU-s", "draws")
    return Report(f"Few labels: {name}", NOTE, header, lines)


def materials_in(folder: Path) -> dict[Path, Material]:
    """Return the data sets that a folder is or holds; raises ValueError where there is none."""
    found = {}
    for place in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
        with suppress(ValueError):
            found[place] = read_material(place)
    if not found:
        raise ValueError(f"{folder} holds none of the three data sets")
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set, or of several")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/accuracy"), help="where rows and tables go")
    parser.add_argument("--labels", type=numbers, default=[60, 300], help="labelled pixels, about")
    parser.add_argument("--draws", type=numbers, default=[0, 1, 2], help="of the labels, each with a training seed")
    parser.add_argument("--also", nargs="*", choices=ALSO, default=[], help="further lines of the small preset")
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only make the tables of the rows that are finished")
    return parser.parse_args()


def main() -> None:
    """Run what is missing and make a table of each data set."""
    options, console = _parse(), Console(width=150)
    wanted = {place: rows_of(material, options) for place, material in materials_in(options.data).items()}
    every = {
        place: [row for draw in zip(*rows.values(), strict=True) for row in draw] for place, rows in wanted.items()
    }
    if not options.table:
        try:
            for place, rows in every.items():
                complete(rows, partial(learn, place), options.out, jobs=options.jobs, console=console)
        except KeyboardInterrupt:
            console.print("interrupted; the same command goes on with the rows that are missing")
    options.out.mkdir(parents=True, exist_ok=True)
    missing = 0
    for place, lines in wanted.items():
        outcomes, name = read_outcomes(every[place], options.out), every[place][0].labels
        missing += len(every[place]) - len(outcomes)
        table = make_table(name, lines, outcomes)
        table.show(console)
        with replacing(options.out / f"{name}.md", force=True) as temporary:
            temporary.write_text(table.markdown(), encoding="utf-8")
    if missing:
        console.print(f"{missing} rows are missing")
        sys.exit(1)


if __name__ == "__main__":
    main()
