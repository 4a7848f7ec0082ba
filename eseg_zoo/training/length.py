"""How many steps a training takes where the run does not say it: by its preset, its labels and what it goes on from."""

from __future__ import annotations

import logging

from eseg_zoo.config import PRESETS, VOLUME_PRESETS, Run, SemiSupervisedSettings, TrainingSettings
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.survey import Differences
from eseg_zoo.training.likeness import are_unlike

log = logging.getLogger(__name__)

# Of the steps of both stages of a preset, a training that goes on from a model takes this share, all of them
# semi-supervised: a third of the time. With half of the learning rate it learnt less.
SHARE = 0.28
# A network that looks at few labels for long knows them by heart: both stages together take at most so many steps for
# each labelled pixel, and at least `FEWEST`. Where images are unlike each other, few labels say less of what others
# look like, and longer is worse: from 48 points of nuclei the mean Dice was 0.73 after 300 steps and 0.65 after 1,500.
# Where they are alike, 900 are better than 600 on one data set and than 1,500 on another (`benchmarks/README.md`).
PER_LABEL, FEWEST, FEWEST_OF_UNLIKE = 4, 900, 300
# Pixels of a stroke look alike: so many of each count as labels.
OF_A_STROKE = 8


def usual_steps(run: Run) -> dict[str, int]:
    """Return the steps of the stages by the run's preset."""
    defaults = (VOLUME_PRESETS if run.network.dims == 3 else PRESETS)[str(run.preset)]
    usual = {"training": TrainingSettings().steps, "semi_supervised": SemiSupervisedSettings().steps}
    return {section: defaults.get(section, {}).get("steps", count) for section, count in usual.items()}


def short_steps(fresh: int) -> dict[str, int]:
    """Return the steps of the stages of a training that goes on, where a fresh one takes so many in both."""
    return {"training": 0, "semi_supervised": max(round(SHARE * fresh), 1)}


def steps_for(run: Run, labels: AnchorSet, differences: Differences, *, goes_on: bool = False) -> dict[str, int]:
    """Return the most steps of the stages by the run's preset, by what is labelled and by what the images differ by.

    `preset: paper` is as published, and of volumes it is not known how long is too long.
    """
    usual = usual_steps(run)
    total = most = sum(usual.values())
    if run.preset != "paper" and run.network.dims == 2:
        fewest = FEWEST_OF_UNLIKE if are_unlike(differences) else FEWEST
        most = min(total, max(fewest, PER_LABEL * labels.pixels_at_most(OF_A_STROKE)))
    if goes_on:
        return short_steps(most)
    supervised = round(most * usual["training"] / total)
    return {"training": supervised, "semi_supervised": most - supervised}


def suited_to_labels(run: Run, labels: AnchorSet, differences: Differences, *, goes_on: bool = False) -> Run:
    """Return the run with no more steps than so few labels of such images are good for.

    Steps that are not the preset's are the run's own, and stay. What is changed is logged.
    """
    usual = usual_steps(run)
    if goes_on:
        usual = short_steps(sum(usual.values()))
    most = steps_for(run, labels, differences, goes_on=goes_on)
    fewer = {
        section: most[section]
        for section, steps in usual.items()
        if getattr(run, section).steps == steps and most[section] < steps
    }
    if not fewer:
        return run
    changed = ", ".join(f"{section}.steps is {steps}" for section, steps in fewer.items())
    log.info("There are few labels, which a longer training would learn by heart: %s; the run may say more.", changed)
    return with_steps(run, **fewer)


def with_steps(run: Run, **steps: int) -> Run:
    """Return the run with other steps of the sections that are named."""
    sections = {name: getattr(run, name).model_copy(update={"steps": count}) for name, count in steps.items()}
    return run.model_copy(update=sections)
