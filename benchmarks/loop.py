"""A simulated annotator: a few strokes, a training, more strokes where one looks next, and so on.

    python benchmarks/loop.py DATA [--out benchmarks/runs/loop] [--rounds 10,20,35,60] [--seeds 0,1,2]

DATA is a folder of the nerve cord, the axons or the nuclei (see `materials.py`). It starts with two strokes of each
class on one slice. Each round paints more strokes from the dense truth (see `annotator.py`): at `random` pixels, at
random pixels of all `classes` in turn, where the model does `suggest` it, or in the largest `error` of the model's map
on random slices, as a person does. Then the model of the round before learns from all strokes, and from no other label,
for a fixed number of steps. Both the network and a random forest that gets the same strokes are judged on every pixel
of unseen slices. Writes `tables.md` and the curves `loop.png`. Finished rounds are kept, each as soon as it is there:
the command can be stopped at any moment and started again, and `--table` makes the tables of what there is. Delete the
folder after a change of the code.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import eseg_zoo
from annotator import Spot, class_spots, error_spots, first_spots, paint, random_spots
from eseg_zoo.output import replacing
from judging import Judged, judge_forest, judge_network
from loop_report import draw_curves, make_tables
from materials import Labelled, Material, Plane, read_material, stacks_of
from report import network_steps, numbers
from rows import Outcome, Row, complete

STRATEGIES = ("random", "classes", "suggest", "error")


@dataclass(frozen=True)
class Round:
    """What a round gave."""

    strokes: int
    labelled_pixels: int
    by_class: dict[str, int]  # strokes of each class
    network: Judged
    forest: Judged


def train(
    learnt: Labelled, labels: Sequence[Plane], classes: dict[int, str], row: Row, before: eseg_zoo.Model | None
) -> eseg_zoo.Model:
    """Return a model that has learnt from all strokes so far, with no label held out: they are few.

    It goes on from the model of the round before, if there is one.
    """
    steps = network_steps(row.settings["steps"])
    if before:
        steps = {"training": {"steps": 0}, "semi_supervised": {"steps": row.settings["round_steps"]}}
    settings = {"accelerator": "cpu", "validation_fraction": 0}
    return eseg_zoo.train(
        learnt.images, stacks_of(labels, learnt), classes=classes, axes="zyx", preset="small", seed=row.seed,
        training={**steps["training"], **settings}, semi_supervised=steps["semi_supervised"], start_from=before,
    )  # fmt: skip


def learn_in_rounds(data: Path, row: Row, folder: Path) -> Outcome:
    """Return the outcome of the last round of a row: a strategy (`row.learner`), a data set and a seed."""
    material = read_material(data)
    truth = [plane for _, plane in material.learnt.planes]
    labels, past = [np.zeros_like(plane) for plane in truth], list[Spot]()
    model: eseg_zoo.Model | None = None
    for strokes in row.settings["rounds"]:
        rng = np.random.default_rng([row.draw, strokes])
        started = time.process_time()
        spots = _choose(material, labels, model, strokes - len(past), row.learner, rng)
        choosing = time.process_time() - started
        paint(labels, truth, spots, rng)
        past += spots
        place = folder if model else folder.parent / _start_of(row)
        model, last = _finished(material, labels, past, row, place / f"{strokes:03d}", choosing, model)
    return Outcome(last.network.argmax, last.network.corrected, last.network.training, last.labelled_pixels)


def _start_of(row: Row) -> str:
    """Return the folder of what does not depend on the strategy."""
    return Row("start", row.labels, None, row.draw, row.seed, {"steps": row.settings["steps"]}).key


def _choose(
    material: Material, labels: Sequence[Plane], model: eseg_zoo.Model | None, count: int, strategy: str,
    rng: np.random.Generator,
) -> list[Spot]:  # fmt: skip
    """Return where the strokes of a round begin."""
    learnt = material.learnt
    truth = [plane for _, plane in learnt.planes]
    if model is None:
        return first_spots(truth, list(material.classes), rng)
    if strategy == "random":
        return random_spots(truth, count, rng)
    if strategy == "classes":
        return class_spots(truth, list(material.classes), count, rng)
    if strategy == "error":
        return error_spots(truth, labels, partial(_class_map, model, learnt), count, rng)
    first = np.cumsum([0, *(len(image) for image in learnt.images)])
    places = model.suggest(learnt.images, stacks_of(labels, learnt), count=count, axes="zyx")
    return [(int(first[place.number]) + place.z, place.y, place.x) for place in places]


def _class_map(model: eseg_zoo.Model, learnt: Labelled, number: int) -> Plane:
    plane, _ = learnt.planes[number]
    found: Plane = model.predict(plane, axes="yx", probabilities=False)["classes"].values
    return found


def _finished(
    material: Material, labels: list[Plane], spots: Sequence[Spot], row: Row, place: Path, choosing: float,
    before: eseg_zoo.Model | None,
) -> tuple[eseg_zoo.Model, Round]:  # fmt: skip
    """Return the model and the figures of a round, made now unless its folder holds them."""
    record = place / "round.json"
    if not record.exists():
        place.mkdir(parents=True, exist_ok=True)
        started = time.process_time()
        model = train(material.learnt, labels, material.classes, row, before)
        training = time.process_time() - started
        model.save(place / "model.pt", force=True)
        truth = [plane for _, plane in material.learnt.planes]
        painted = [int(truth[number][y, x]) for number, y, x in spots]
        made = Round(
            len(spots),
            sum(int((plane > 0).sum()) for plane in labels),
            {name: painted.count(value) for value, name in material.classes.items()},
            judge_network(model, material, training, choosing),
            judge_forest(material, labels, row.seed, choosing),
        )
        with replacing(record, force=True) as temporary:
            temporary.write_text(json.dumps(asdict(made), indent=2) + "\n", encoding="utf-8")
    return eseg_zoo.load(place / "model.pt"), read_round(record)


def read_round(record: Path) -> Round:
    """Return the round in a file."""
    fields: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return Round(**fields | {key: Judged(**fields[key]) for key in ("network", "forest")})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/loop"), help="where rounds and tables go")
    parser.add_argument("--rounds", type=numbers, default=[*range(10, 125, 5)], help="strokes after each round")
    parser.add_argument("--steps", type=int, default=400, help="steps of the first training, at least 100")
    parser.add_argument("--round-steps", type=int, default=100, help="steps of each later one, which goes on from it")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="of strokes and training")
    parser.add_argument("--strategies", type=lambda text: text.split(","), default=list(STRATEGIES))
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only make the tables of the rounds that are finished")
    return parser.parse_args()


def main() -> None:
    """Run what is missing, make the tables and draw the curves."""
    options, console = _parse(), Console(width=150)
    material = read_material(options.data)
    if options.rounds[0] != 2 * len(material.classes):
        options.rounds = [2 * len(material.classes), *(n for n in options.rounds if n > 2 * len(material.classes))]
    settings = {"steps": options.steps, "round_steps": options.round_steps, "rounds": options.rounds}
    # What the first round gives is the same for every strategy: it is made once, before the others go on from it.
    first = settings | {"rounds": options.rounds[:1]}
    starts = [Row(options.strategies[0], material.name, None, seed, seed, first) for seed in options.seeds]
    rows = [
        Row(strategy, material.name, None, seed, seed, settings)
        for seed in options.seeds
        for strategy in options.strategies
    ]
    failed: list[Row] = []
    if not options.table:
        try:
            task = partial(learn_in_rounds, options.data)
            failed = complete(starts, task, options.out, jobs=options.jobs, console=console)
            failed += complete(rows, task, options.out, jobs=options.jobs, console=console)
        except KeyboardInterrupt:
            console.print("interrupted; the same command goes on with the rounds that are missing")
    found = {row: _rounds_of(row, options.out) for row in rows}
    reports = make_tables(found)
    for report in reports:
        report.show(console)
    with replacing(options.out / "tables.md", force=True) as temporary:
        temporary.write_text("\n".join(report.markdown() for report in reports), encoding="utf-8")
    draw_curves(found, options.out / "loop.png")
    if failed or any(len(rounds) < len(options.rounds) for rounds in found.values()):
        sys.exit(1)


def _rounds_of(row: Row, out: Path) -> list[Round]:
    """Return the rounds of a row that are finished, in their order."""
    folders = [out / _start_of(row), *[out / row.key] * (len(row.settings["rounds"]) - 1)]
    records = [
        folder / f"{strokes:03d}" / "round.json"
        for folder, strokes in zip(folders, row.settings["rounds"], strict=True)
    ]
    return [read_round(record) for record in records if record.exists()]


if __name__ == "__main__":
    main()
