"""2D, 2.5D and 3D on thick sections: the VNC data, whose slices are eleven pixels thick, from the same points.

    python benchmarks/sections.py DATA [--out benchmarks/runs/sections]

`2D` treats every slice as an image of its own; `2.5D` is the same network with the slice before and the slice after as
two more channels. `3D` sees the slices around it too; it knows the voxel size, so it never
lowers the resolution along z. `--steps` are those of 2D, of both stages together; 3D takes a third of them, which costs
about the same CPU seconds (they are in the table). Writes `tables.md`. Finished rows are kept: the command can be
stopped and started again. Delete the folder after a change of the code.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from report import Report, network_row, network_steps, parse, run, spread
from rows import Outcome, Row
from vnc import CLASSES

NOTE = (
    "Dice over every pixel of slices 12-13 after the correction for class frequencies, mean ± standard deviation over "
    "the draws. All networks learn from the same points of slices 0-11; the points of slices 12-13 validate them."
)


def series(options: Namespace) -> dict[tuple[str, int], list[Row]]:
    """Return the rows of each (network, budget), one for each draw."""
    in_2d = {
        budget: [network_row(options, budget, repeat) for repeat in range(options.repeats)]
        for budget in options.budgets
    }
    between = {budget: [replace(row, learner="neighbours") for row in rows] for budget, rows in in_2d.items()}
    fewer = network_steps(options.steps // 3)
    in_3d = {budget: [replace(row, learner="volume", settings=fewer) for row in rows] for budget, rows in in_2d.items()}
    networks = [("2D", in_2d), ("2.5D", between), ("3D, anisotropic", in_3d)]
    return {(name, budget): found[budget] for budget in options.budgets for name, found in networks}


def make_report(wanted: Mapping[tuple[str, int], Sequence[Row]], outcomes: Mapping[Row, Outcome]) -> Report:
    """Return the table, one line for each network and budget."""
    lines = []
    for (name, budget), rows in wanted.items():
        there = [outcomes[row] for row in rows if row in outcomes]
        if there:
            classes = [f"{fmean(o.corrected[c] for o in there):.3f}" for c in CLASSES.values()]
            cpu = spread([o.cpu_seconds for o in there], digits=0)
            mean = spread([o.mean_corrected for o in there])
            lines.append([name, f"{budget:,}", str(len(there)), *classes, mean, cpu])
    header = ("network", "labels", "runs", *CLASSES.values(), "mean", "training, CPU-s")
    return Report("2D and 3D on thick sections", NOTE, header, lines)


def main() -> None:
    """Run what is missing and make the table."""
    options = parse(__doc__, out="sections", steps=1500, budgets="300,6000")
    wanted = series(options)
    rows = [group[repeat] for repeat in range(options.repeats) for group in wanted.values()]
    run(rows, options, lambda outcomes: [make_report(wanted, outcomes)])


if __name__ == "__main__":
    main()
