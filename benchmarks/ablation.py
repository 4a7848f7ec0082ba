"""What each part of the training buys: the small preset with one part switched off at a time.

    python benchmarks/ablation.py DATA [--out benchmarks/runs/ablation]

Every row is repeated with several draws of the labels and seeds; a gain is the difference between the run with
everything and the run without the part, on the same labels and with the same seed. Finished rows are kept: the command
can be stopped and started again. Delete the folder after a change of the code.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from report import Report, network_row, parse, run, spread
from rows import Outcome, Row

# What is switched off -> the settings, as in a run's YAML, that do it. A row that differs in `frequencies` alone needs
# no training of its own: it is the model with everything, judged without its correction.
SWITCHED_OFF: dict[str, dict[str, Any]] = {
    "nothing": {},
    "inpainting": {"loss": {"alpha": 0}},
    "KL": {"loss": {"beta": 0}},
    "contrastive": {"loss": {"gamma": 0}},
    "masking (and inpainting with it)": {"mask": {"probability": 0}},
    "flips and rotations": {"training": {"symmetries": False}},
    "prior correction": {"frequencies": "balanced"},
    "all but cross-entropy": {"loss": {"alpha": 0, "beta": 0, "gamma": 0}, "mask": {"probability": 0}},
}
NO_CORRECTION = {"frequencies": "balanced"}

NOTE = (
    "Mean Dice over every pixel of slices 12-13, mean ± standard deviation over the runs. Gains are paired: everything "
    "minus without it, on the same labels and with the same seed. Training labels are drawn from the points of slices "
    "0-11; the points of slices 12-13 validate every run."
)


def wanted_rows(options: Namespace) -> list[Row]:
    """Return all rows to train: repeat by repeat, so that a partial result already compares everything once."""
    return [
        network_row(options, budget, repeat, settings)
        for repeat in range(options.repeats)
        for budget in options.budgets
        for settings in SWITCHED_OFF.values()
        if settings != NO_CORRECTION
    ]


def outcome_of(
    settings: Mapping[str, Any], budget: int, repeat: int, options: Namespace, outcomes: Mapping[Row, Outcome]
) -> Outcome | None:
    """Return the outcome with these settings, or None if it is not there yet."""
    if settings == NO_CORRECTION:
        trained = outcomes.get(network_row(options, budget, repeat))
        return trained and replace(trained, corrected=trained.argmax)
    return outcomes.get(network_row(options, budget, repeat, settings))


def make_report(budget: int, options: Namespace, outcomes: Mapping[Row, Outcome]) -> Report:
    """Return the table of one label budget."""
    lines: list[Sequence[str]] = []
    everything = [outcome_of({}, budget, repeat, options, outcomes) for repeat in range(options.repeats)]
    for name, settings in SWITCHED_OFF.items():
        found = [outcome_of(settings, budget, repeat, options, outcomes) for repeat in range(options.repeats)]
        there = [outcome for outcome in found if outcome]
        pairs = [(full, without) for full, without in zip(everything, found, strict=True) if full and without]
        line = [
            name,
            str(len(there)),
            spread([o.mean_argmax for o in there]),
            spread([o.mean_corrected for o in there]),
        ]
        if settings:
            line.append(spread([full.mean_argmax - without.mean_argmax for full, without in pairs], signed=True))
            line.append(spread([full.mean_corrected - without.mean_corrected for full, without in pairs], signed=True))
        else:
            line += ["", ""]
        line.append(spread([o.cpu_seconds for o in there], digits=0))
        lines.append(line)
    header = ("switched off", "runs", "argmax", "corrected", "it buys, argmax", "it buys, corrected", "training, CPU-s")
    return Report(f"Ablation at {budget:,} labels, {options.steps:,} steps", NOTE, header, lines)


def main() -> None:
    """Run what is missing and make the tables."""
    options = parse(__doc__, out="ablation", steps=600, budgets="300,6000")
    run(
        wanted_rows(options),
        options,
        lambda outcomes: [make_report(budget, options, outcomes) for budget in options.budgets],
    )


if __name__ == "__main__":
    main()
