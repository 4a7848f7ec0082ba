"""Training patches are made to differ in intensity as much as the images do."""

from __future__ import annotations

import logging
from dataclasses import asdict

from eseg_zoo.config import AugmentationSettings, Run
from eseg_zoo.patches.survey import Differences

log = logging.getLogger(__name__)

# Patches differ by up to so many typical differences of the images: nearly as much as any two of them.
_TYPICAL = 2.0
# The most that is drawn: with more, contrast would vanish or turn round, and the network would hardly see its images.
_MOST = {"contrast": 0.8, "brightness": 1.0}


def with_likeness(run: Run, differences: Differences) -> Run:
    """Return the run with augmentation of contrast and brightness that is no less than what the images differ by.

    Few labels lie in few images. If these are darker or paler than others, their intensities would pass for those of
    their classes. A setting that the run gives stays, and so does `preset: paper`. What is changed is logged.
    """
    given = run.augmentation
    larger = {
        key: round(min(_TYPICAL * found, _MOST[key]), 2)
        for key, found in asdict(differences).items()
        if key not in given.model_fields_set and _TYPICAL * found > getattr(given, key)
    }
    if run.preset == "paper" or not larger:
        return run
    changed = ", ".join(f"augmentation.{key} is {value:g}" for key, value in larger.items())
    log.info("The images differ in intensity, so the training patches are made to differ as much: %s.", changed)
    return run.model_copy(update={"augmentation": given.model_copy(update=larger)})


def are_unlike(differences: Differences) -> bool:
    """Return whether images differ by more than patches do by default."""
    usual = AugmentationSettings()
    return any(_TYPICAL * found > getattr(usual, key) for key, found in asdict(differences).items())
