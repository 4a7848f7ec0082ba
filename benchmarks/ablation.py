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

from eseg_zoo.config import PRESETS, TrainingSettings
from learners import merged
from report import CROSS_ENTROPY_ALONE, Report, network_row, parse, run, spread, supervised_steps
from rows import Outcome, Row

NO_CORRECTION = {"frequencies": "balanced"}
# What is switched off -> the settings, as in a run's YAML, that do it. A row that differs in `frequencies` alone needs
# no training of its own: it is the model with everything, judged without its correction.
SWITCHED_OFF: dict[str, dict[str, Any]] = {
    "nothing": {},
    "inpainting": {"loss": {"alpha": 0}},
    "KL": {"loss": {"beta": 0}},
    "contrastive": {"loss": {"gamma": 0}},
    "pseudo-labels": {"loss": {"delta": 0}},
    "masking (and inpainting with it)": {"mask": {"probability": 0, "share": 0}},
    "contrast, brightness and noise": {"augmentation": {"contrast": 0, "brightness": 0, "noise": 0}},
    "flips and rotations": {"augmentation": {"symmetries": False}},
    "boxes of other patches (CutMix)": {"augmentation": {"cutmix": 0}},
    "prior correction": NO_CORRECTION,
}
# The same multiply-adds without the semi-supervised stage; the steps are filled in.
WITHOUT_STAGE: dict[str, dict[str, Any]] = {
    "semi-supervised stage": {},
    "all but cross-entropy": CROSS_ENTROPY_ALONE,
}
# The preset of the paper with the network and the batches of the small one: at its own learning rate, which is low for
# so few steps, and at the default one.
SMALL = PRESETS["small"]
PUBLISHED: dict[str, Any] = {
    "preset": "paper",
    "network": SMALL["network"],
    "training": {key: SMALL["training"][key] for key in ("batch_size", "patience")},
    "semi_supervised": {key: SMALL["semi_supervised"][key] for key in ("labelled", "unlabelled")},
}
DEFAULT_RATE: dict[str, Any] = {
    "training": {key: getattr(TrainingSettings(), key) for key in ("learning_rate", "warmup")}
}
# What is off by default, and weights other than the published ones.
SWITCHED_ON: dict[str, dict[str, Any]] = {
    "inpainting weighted 3": {"loss": {"alpha": 3}},
    "KL weighted 0.1": {"loss": {"beta": 0.1}},
    "contrastive weighted 0.3": {"loss": {"gamma": 0.3}},
    "the published training": PUBLISHED,
    "the published training at the default rate": merged(PUBLISHED, DEFAULT_RATE),
    "zoom, elastic and blur": {"augmentation": {"zoom": 0.1, "elastic": 3, "blur": 1}},
}

NOTE = (
    "Mean Dice over every pixel of slices 12-13, mean ± standard deviation over the runs. Gains are paired: everything "
    "minus without it, or with it minus everything for what is off by default, on the same labels and with the same "
    "seed. Without the semi-supervised stage the supervised one takes as many multiply-adds as both. Training labels "
    "are drawn from the points of slices 0-11; the points of slices 12-13 validate every run."
)


def parts(options: Namespace) -> dict[str, dict[str, Any]]:
    """Return the settings of each line of the table."""
    equal = supervised_steps(options.steps)
    alone = {name: merged(equal, settings) for name, settings in WITHOUT_STAGE.items()}
    on = {f"nothing, but with {name}": settings for name, settings in SWITCHED_ON.items()}
    return SWITCHED_OFF | alone | on


def wanted_rows(options: Namespace) -> list[Row]:
    """Return all rows to train: repeat by repeat, so that a partial result already compares everything once."""
    return [
        network_row(options, budget, repeat, settings)
        for repeat in range(options.repeats)
        for budget in options.budgets
        for settings in parts(options).values()
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
    repeats = range(options.repeats)
    everything = [outcome_of({}, budget, repeat, options, outcomes) for repeat in repeats]
    lines = [
        _line(name, settings, everything, [outcome_of(settings, budget, r, options, outcomes) for r in repeats])
        for name, settings in parts(options).items()
    ]
    header = ("switched off", "runs", "argmax", "corrected", "it buys, argmax", "it buys, corrected", "training, CPU-s")
    return Report(f"Ablation at {budget:,} labels, {options.steps:,} steps", NOTE, header, lines)


def _line(
    name: str, settings: Mapping[str, Any], everything: Sequence[Outcome | None], found: Sequence[Outcome | None]
) -> Sequence[str]:
    """Return one line of the table; what a part buys that is off by default is what it would add."""
    there = [outcome for outcome in found if outcome]
    sign = -1 if settings in SWITCHED_ON.values() else 1
    pairs = [(full, other) for full, other in zip(everything, found, strict=True) if full and other]
    gains = [
        [sign * (getattr(full, key) - getattr(other, key)) for full, other in pairs]
        for key in ("mean_argmax", "mean_corrected")
    ]
    return [
        name,
        str(len(there)),
        spread([outcome.mean_argmax for outcome in there]),
        spread([outcome.mean_corrected for outcome in there]),
        *(spread(gain, signed=True) if settings else "" for gain in gains),
        spread([outcome.cpu_seconds for outcome in there], digits=0),
    ]


def main() -> None:
    """Run what is missing and make the tables."""
    options = parse(__doc__, out="ablation", steps=900, budgets="300,6000")
    run(
        wanted_rows(options),
        options,
        lambda outcomes: [make_report(budget, options, outcomes) for budget in options.budgets],
    )


if __name__ == "__main__":
    main()
