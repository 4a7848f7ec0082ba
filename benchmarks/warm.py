"""Going on from a model with more labels, beside a fresh training on all of them.

    python benchmarks/warm.py DATA [--out benchmarks/runs/warm] [--draws 0,1,2]

DATA is a folder of the nerve cord, the axons or the nuclei (see `materials.py`). For each draw strokes of every class
are painted at random places of the truth. A model is trained on the first half of them; it goes on with all of them, as
`eseg train --from` does; and another one is trained on all from the beginning. Each is judged on every pixel of unseen
slices. Writes a table, `NAME.md`. Finished trainings are kept, each as soon as it is there: the command can be stopped
at any moment and started again, and `--table` makes the table of what there is. Delete the folder after a change of the
code.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
from rich.console import Console

import eseg_zoo
from annotator import class_spots, paint
from eseg_zoo.output import replacing
from eseg_zoo.training.length import SHARE
from judging import judge_network
from materials import Material, Plane, read_material, stacks_of
from report import Report, network_steps, numbers, spread
from rows import Outcome, Row, complete

# In this order: each training, and what it is called.
TRAININGS = {
    "half": "fresh, on half of the strokes",
    "warm": "going on from that, on all",
    "fresh": "fresh, on all",
}
NOTE = (
    "Dice over every pixel of the unseen slices, mean ± standard deviation over the draws; with the correction for "
    "class frequencies, in parentheses without it. CPU seconds are of this training alone, on one thread."
)


@dataclass(frozen=True)
class Trained:
    """What a training gave."""

    strokes: int
    steps: int
    seconds: float  # of CPU
    argmax: dict[str, float]  # Dice by class, as if every class were equally frequent
    corrected: dict[str, float]


def learn_three_times(data: Path, row: Row, folder: Path) -> Outcome:
    """Return the outcome of the warm training of a row, after all of its trainings that are missing."""
    material = read_material(data)
    truth, rng = [plane for _, plane in material.learnt.planes], np.random.default_rng(row.draw)
    spots = class_spots(truth, list(material.classes), row.settings["strokes"], rng)
    half = [np.zeros_like(plane) for plane in truth]
    paint(half, truth, spots[: len(spots) // 2], rng)
    whole = [plane.copy() for plane in half]
    paint(whole, truth, spots[len(spots) // 2 :], rng)
    model, _ = _trained(material, half, len(spots) // 2, row, folder / "half", None)
    _, warm = _trained(material, whole, len(spots), row, folder / "warm", model)
    _trained(material, whole, len(spots), row, folder / "fresh", None)
    return Outcome(warm.argmax, warm.corrected, warm.seconds, sum(int((plane > 0).sum()) for plane in whole))


def _trained(
    material: Material, labels: Sequence[Plane], strokes: int, row: Row, place: Path, before: eseg_zoo.Model | None
) -> tuple[eseg_zoo.Model, Trained]:
    """Return a model and its figures, trained now unless its folder holds both; `before` is what it goes on from."""
    record = place / "trained.json"
    if not record.exists():
        place.mkdir(parents=True, exist_ok=True)
        steps = network_steps(row.settings["steps"])
        if before:
            steps = {"training": {"steps": 0}, "semi_supervised": {"steps": round(SHARE * row.settings["steps"])}}
        started = time.process_time()
        model = eseg_zoo.train(
            material.learnt.images, stacks_of(labels, material.learnt), classes=material.classes, axes="zyx",
            preset="small", seed=row.seed, training=steps["training"] | {"accelerator": "cpu"},
            semi_supervised=steps["semi_supervised"], start_from=before,
        )  # fmt: skip
        seconds = time.process_time() - started
        model.save(place / "model.pt", force=True)
        judged = judge_network(model, material, seconds, choosing=0)
        taken = sum(stage["steps"] for stage in steps.values())
        found = Trained(strokes, taken, seconds, judged.argmax, judged.corrected)
        with replacing(record, force=True) as temporary:
            temporary.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    return eseg_zoo.load(place / "model.pt"), read_trained(record)


def read_trained(record: Path) -> Trained:
    """Return the figures of a training in a file."""
    return Trained(**json.loads(record.read_text(encoding="utf-8")))


def make_table(name: str, found: Mapping[str, Sequence[Trained]]) -> Report:
    """Return a line for each kind of training, a key of `TRAININGS`, of those that are finished."""
    lines = []
    for kind, told in TRAININGS.items():
        if all_ := found.get(kind, ()):
            dice = [spread([fmean(getattr(one, key).values()) for one in all_]) for key in ("corrected", "argmax")]
            classes = [f"{fmean(one.corrected[key] for one in all_):.3f}" for key in all_[0].corrected]
            seconds = spread([one.seconds for one in all_], digits=0)
            figures = [str(all_[0].strokes), str(all_[0].steps), f"{dice[0]} ({dice[1]})", *classes, seconds]
            lines.append([told, *figures, str(len(all_))])
    names = next((tuple(all_[0].corrected) for all_ in found.values() if all_), ())
    header = ("training", "strokes", "steps", "mean Dice", *names, "CPU-s", "draws")
    return Report(f"Going on from a model: {name}", NOTE, header, lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/warm"), help="where models and tables go")
    parser.add_argument("--strokes", type=int, default=120, help="of all classes together")
    parser.add_argument("--steps", type=int, default=3000, help="of a fresh training, at least 100")
    parser.add_argument("--draws", type=numbers, default=[0, 1, 2], help="of strokes, with a training seed each")
    parser.add_argument("--jobs", type=int, default=2, help="draws at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only make the table of the trainings that are finished")
    return parser.parse_args()


def main() -> None:
    """Run what is missing and make the table."""
    options, console = _parse(), Console(width=150)
    name = read_material(options.data).name
    settings = {"strokes": options.strokes, "steps": options.steps}
    rows = [Row("warm", name, None, draw, draw, settings) for draw in options.draws]
    if not options.table:
        try:
            task = partial(learn_three_times, options.data)
            complete(rows, task, options.out, jobs=options.jobs, console=console)
        except KeyboardInterrupt:
            console.print("interrupted; the same command goes on with the trainings that are missing")
    records = {kind: [options.out / row.key / kind / "trained.json" for row in rows] for kind in TRAININGS}
    found = {kind: [read_trained(one) for one in paths if one.exists()] for kind, paths in records.items()}
    table = make_table(name, found)
    table.show(console)
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / f"{name}.md", force=True) as temporary:
        temporary.write_text(table.markdown(), encoding="utf-8")
    if any(len(trained) < len(rows) for trained in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
