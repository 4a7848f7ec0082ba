"""What both accuracy benchmarks share beside the rows: the command line, tables for people and for Markdown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from eseg_zoo.output import replacing
from learners import learn, merged
from rows import Outcome, Row, complete, read_outcomes
from vnc import CLASSES, TRAINING

LABELS_OF_ONE = len(TRAINING) * len(CLASSES)  # labelled pixels for one of each class in each slice
MOST_PER_CLASS = 100  # points of each class in each slice
FEW_LABELS = 600  # up to here the settings of --few-labels hold

# What a step of the small preset's semi-supervised stage counts as, in supervised ones: a little more than its
# multiply-adds, so that those who take supervised steps instead are not the poorer for it.
SEMI_SUPERVISED_STEP = 1.571

# The supervised stage without any term that the name ε-Seg stands for.
CROSS_ENTROPY_ALONE: dict[str, Any] = {"loss": {"alpha": 0, "beta": 0, "gamma": 0}, "mask": {"probability": 0}}


@dataclass(frozen=True)
class Report:
    """A table of texts, with a sentence or two on how to read it."""

    title: str
    note: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]

    def show(self, console: Console) -> None:
        """Print the table and its note."""
        table = Table(*self.header, title=self.title)
        for line in self.lines:
            table.add_row(*line)
        console.print(table)
        console.print(self.note)

    def markdown(self) -> str:
        """Return a Markdown section: title, note and table."""
        rows = [self.header, ["---"] * len(self.header), *self.lines]
        return "\n".join([f"## {self.title}", "", self.note, "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def spread(values: Sequence[float], *, signed: bool = False, digits: int = 3) -> str:
    """Return mean and sample standard deviation, such as '0.712 ± 0.013'; a single value has no spread."""
    if not values:
        return "-"
    mean = f"{fmean(values):{'+' if signed else ''}.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean


def parse(description: str | None, *, out: str, steps: int, budgets: str) -> argparse.Namespace:
    """Return the options of an accuracy benchmark; `budgets` is a list of labelled pixels such as '300,6000'."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the VNC data")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs") / out, help="where rows and tables go")
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time, one thread each")
    parser.add_argument("--steps", type=int, default=steps, help="optimisation steps, at least 100")
    parser.add_argument("--repeats", type=int, default=3, help="draws of the labels, each with a training seed")
    parser.add_argument("--budgets", type=_budgets, default=budgets, help="labelled pixels, such as 300,6000")
    parser.add_argument("--few-labels", type=_settings, default={}, help="YAML laid over the preset up to 600 labels")
    parser.add_argument("--table", action="store_true", help="only make the tables of the rows that are finished")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Return the whole numbers of an option such as '0,1,2'."""
    return [int(part) for part in text.split(",")]


def _budgets(text: str) -> list[int]:
    budgets = numbers(text)
    for budget in budgets:
        if budget % LABELS_OF_ONE or not 0 < budget <= MOST_PER_CLASS * LABELS_OF_ONE:
            raise argparse.ArgumentTypeError(
                f"{budget} is no multiple of {LABELS_OF_ONE} up to {MOST_PER_CLASS * LABELS_OF_ONE}"
            )
    return budgets


def _settings(text: str) -> dict[str, Any]:
    found = yaml.safe_load(Path(text).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text} holds no settings")
    return found


def are_few(budget: int | None) -> bool:
    """Return whether these are few labels; the budget None is all labels of their kind."""
    return budget is not None and budget <= FEW_LABELS


def network_row(
    options: argparse.Namespace,
    budget: int | None,
    repeat: int,
    settings: Mapping[str, Any] | None = None,
    *,
    labels: str = "points",
) -> Row:
    """Return the row of this project's network, with settings over those of the command line."""
    usual = merged(options.few_labels if are_few(budget) else {}, network_steps(options.steps))
    return Row("network", labels, per_class(budget), repeat, repeat, merged(usual, settings or {}))


def per_class(budget: int | None) -> int | None:
    """Return how many labels of each class and slice make this budget."""
    return None if budget is None else budget // LABELS_OF_ONE


def network_steps(steps: int) -> dict[str, Any]:
    """Return the settings of a training of this many steps: a third supervised, the rest semi-supervised."""
    return {"training": {"steps": steps // 3}, "semi_supervised": {"steps": steps - steps // 3}}


def supervised_steps(steps: int) -> dict[str, Any]:
    """Return the settings of a training of the supervised stage alone with the effort of `network_steps`."""
    both = network_steps(steps)
    return supervised_effort(both["training"]["steps"], both["semi_supervised"]["steps"])


def supervised_effort(supervised: int, semi_supervised: int) -> dict[str, Any]:
    """Return the settings of a training of the supervised stage alone with the effort of so many steps of both."""
    steps = supervised + round(SEMI_SUPERVISED_STEP * semi_supervised)
    return {"training": {"steps": steps}, "semi_supervised": {"steps": 0}}


def run(
    rows: Sequence[Row], options: argparse.Namespace, reports: Callable[[dict[Row, Outcome]], Sequence[Report]]
) -> None:
    """Complete the rows, then print their tables and write them to `tables.md`.

    An interruption leaves the tables of what is finished. Exits with 1 when a row is missing.
    """
    console = Console(width=150)
    if not options.table:
        try:
            complete(rows, partial(learn, options.data), options.out, jobs=options.jobs, console=console)
        except KeyboardInterrupt:
            console.print("interrupted; the same command goes on with the rows that are missing")
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes = read_outcomes(rows, options.out)
    made = reports(outcomes)
    for report in made:
        report.show(console)
    with replacing(options.out / "tables.md", force=True) as temporary:
        temporary.write_text("\n".join(report.markdown() for report in made), encoding="utf-8")
    missing = len(set(rows)) - len(outcomes)
    if missing:
        console.print(f"{missing} rows are missing")
        sys.exit(1)
