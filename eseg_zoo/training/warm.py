"""Going on from a trained model: its network with the classes of the new labels, and settings that suit it.

What the input is normalised with is measured anew. On images like the first ones it is the same; on those of another
contrast (axons, 30 steps) the mean Dice was 0.63, and with the model's own 0.57.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import PRESETS, NetworkSettings, Run, TrainingSettings
from eseg_zoo.errors import CheckpointError, ConfigError, InputError
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.model.prior import INITIAL_SEPARATION
from eseg_zoo.training.length import short_steps, usual_steps, with_steps

log = logging.getLogger(__name__)

# The parts of the network that have an entry for each class, and along which axis.
CLASS_AXES = {
    "classifier.recognition.top.classify.2.weight": 0,
    "classifier.recognition.top.classify.2.bias": 0,
    "classifier.recognition.top.film.weight": 1,
    "classifier.head.classify.weight": 0,
    "classifier.head.classify.bias": 0,
    "mixture.means": 0,
    "mixture.log_variances": 0,
}
# Weights that know few labels by heart learn less from more of them than fresh ones do. So of each weight this share is
# kept, and the rest is fresh, if at the usual learning rate there are at least so many steps to mend that: in 84 the
# mean Dice of nuclei fell by it. Source: J. T. Ash, R. P. Adams, "On warm-starting neural network training", NeurIPS
# 2020. Figures: `benchmarks/README.md`.
KEPT, LONG = 0.85, 150


@dataclass(frozen=True)
class WarmStart:
    """The model that a training goes on from; `name` is what messages call it."""

    checkpoint: Checkpoint
    name: str = "the start model"

    @classmethod
    def load(cls, path: Path) -> WarmStart:
        """Return the model in a file as a start; raises `CheckpointError` for any other file."""
        return cls(Checkpoint.load(path), str(path))

    @cached_property
    def digest(self) -> str:
        """A checksum of all that the training takes from the model."""
        found = hashlib.sha256(self.checkpoint.digest.encode())
        for name, tensor in sorted(self.checkpoint.generative_state.items()):
            found.update(name.encode() + tensor.cpu().numpy().tobytes())
        return found.hexdigest()[:32]

    def settings(self, run: Run) -> Run:
        """Return the run's settings with what the model fixes, and the short schedule of a training that goes on.

        The network's shape is the model's. Where the run has no preset, it has the model's. Steps that the run does not
        give itself are `length.SHARE` of those of its preset, without a supervised stage. Settings that were completed
        so stay as they are.

        Raises `ConfigError` where the run asks for another shape.
        """
        self._require_shape(run)
        shape, given = self.checkpoint.architecture, run.model_dump(exclude_unset=True)
        preset = str(run.preset or self.checkpoint.settings.get("preset"))
        if preset not in PRESETS:
            preset = "small"
        network = {"dims": shape.dims, "filters": list(shape.filters), "latents": shape.latents}
        return _with_short_schedule(Run.checked(given | {"network": network, "preset": preset}, self.name), given)

    def network(self, run: Run, *, channels: int) -> HVAE:
        """Return the model's network with the classes of the run, which are matched by name.

        Known classes keep what was learnt of them, whatever their label values are now; others are left out. A new
        class starts as the mean of the known ones, with a component of the prior away from theirs. Raises `InputError`
        for another number of channels, `ConfigError` for more classes than the latents have room for, and
        `CheckpointError` for a model without its generative parts.
        """
        checkpoint, names = self.checkpoint, list(run.classes.values())
        if channels != checkpoint.architecture.channels:
            own = ", ".join(checkpoint.channel_names)
            raise InputError(f"the images have {channels} channels, but {self.name} was trained with: {own}")
        if len(names) > 2 * checkpoint.architecture.latents:
            raise ConfigError(
                f"{len(names)} classes are more than the latents of {self.name} have room for, "
                f"{2 * checkpoint.architecture.latents}; train a new model"
            )
        if not checkpoint.generative_state:
            raise CheckpointError(f"{self.name} lacks what only training uses; it cannot be trained further")
        known = list(checkpoint.class_names)
        if len(set(names) & set(known)) < 2:
            log.warning("%s knows fewer than two of the classes %s", self.name, ", ".join(names))
        _tell_classes(self.name, known, names)
        return with_classes(checkpoint.hvae(), checkpoint.architecture, known, names)

    def _require_shape(self, run: Run) -> None:
        """Raise `ConfigError` where a setting of the network contradicts the model."""
        shape, asked = self.checkpoint.architecture, run.network
        widths = NetworkSettings(width=asked.width).architecture(channels=1, classes=2).filters
        own: dict[str, tuple[Any, Any]] = {
            "dims": (asked.dims, shape.dims),
            "filters": (asked.filters, list(shape.filters)),
            "latents": (asked.latents, shape.latents),
            "width": (list(widths[: len(shape.filters)]), list(shape.filters)),
        }
        given = asked.model_fields_set - ({"width"} if asked.filters is not None else set())
        for key in sorted(given & own.keys()):
            wanted, found = own[key]
            if wanted is not None and wanted != found:
                raise ConfigError(
                    f"network.{key} is {getattr(asked, key)}, but {self.name} has {_tell_shape(shape)}; a network "
                    "keeps its shape: leave out network (and preset), or train a new model"
                )


def _tell_shape(shape: Architecture) -> str:
    filters = ", ".join(map(str, shape.filters))
    return f"dims {shape.dims}, filters {filters} and latents {shape.latents}"


def _with_short_schedule(run: Run, given: Mapping[str, Any]) -> Run:
    """Return the run with the steps of a training that goes on, unless it gives steps of its own."""
    usual = usual_steps(run)
    if {section: given.get(section, {}).get("steps", steps) for section, steps in usual.items()} != usual:
        return run
    return with_steps(run, **short_steps(sum(usual.values())))


def _tell_classes(name: str, known: Sequence[str], names: Sequence[str]) -> None:
    """Log which classes are new, and which are left out."""
    new, gone = [one for one in names if one not in known], [one for one in known if one not in names]
    told = [f"{kind} {', '.join(ones)}" for kind, ones in (("new is", new), ("left out is", gone)) if ones]
    log.info("Going on from %s%s.", name, f"; of the classes {'; '.join(told)}" if told else "")


def with_classes(hvae: HVAE, shape: Architecture, known: Sequence[str], names: Sequence[str]) -> HVAE:
    """Return a network like `hvae`, of the classes `names` instead of `known`, in their order."""
    places = [known.index(name) if name in known else None for name in names]
    grown = HVAE(replace(shape, classes=len(names)))
    state = hvae.state_dict()
    for key, axis in CLASS_AXES.items():
        state[key] = _along(state[key], axis, places)
    state["mixture.means"] = _apart(state["mixture.means"], places)
    state["mixture.log_weights"] = grown.mixture.log_weights
    grown.load_state_dict(state)
    return grown


def _along(tensor: Tensor, axis: int, places: Sequence[int | None]) -> Tensor:
    """Return the entries of a tensor along an axis at these places; the mean of all where there is none."""
    mean = tensor.mean(axis)
    return torch.stack([mean if place is None else tensor.select(axis, place) for place in places], axis)


def _apart(means: Tensor, places: Sequence[int | None]) -> Tensor:
    """Return component means (classes, latents): those of new classes lie where the prior's begin, far from others."""
    means, axes = means.clone(), torch.eye(means.shape[1])
    free = INITIAL_SEPARATION * torch.cat([axes, -axes])
    taken = [number for number, place in enumerate(places) if place is not None]
    for number in (number for number, place in enumerate(places) if place is None):
        if taken:
            means[number] = free[torch.cdist(free, means[taken]).amin(1).argmax()]
        else:
            means[number] = free[0]
        taken.append(number)
    return means


def first_network(
    run: Run, *, channels: int, voxel_size: Mapping[str, float], start: WarmStart | None
) -> tuple[HVAE, Architecture]:
    """Return the network with its first weights, those of the start or random ones by the seed, and its shape."""
    if start:
        return start.network(run, channels=channels), replace(start.checkpoint.architecture, classes=len(run.classes))
    if not run.training.steps:
        raise ConfigError("training.steps is 0, which needs a model to go on from: --from model.pt")
    architecture = run.network.architecture(channels=channels, classes=len(run.classes), voxel_size=voxel_size)
    return _fresh(architecture, run.seed), architecture


def loosen(hvae: HVAE, run: Run, architecture: Architecture) -> None:
    """Replace a part of what a network has learnt by fresh weights, if the training is long enough (`LONG`).

    Of volumes it is not known whether that is any better, and all is kept.
    """
    pace = run.training.learning_rate / TrainingSettings().learning_rate
    if architecture.dims == 3 or pace * (run.training.steps + run.semi_supervised.steps) < LONG:
        return
    fresh = _fresh(architecture, run.seed + 1)  # the network may have begun with the weights of the seed itself
    with torch.no_grad():
        for learnt, new in zip(hvae.parameters(), fresh.parameters(), strict=True):
            learnt.lerp_(new, 1 - KEPT)


def _fresh(architecture: Architecture, seed: int) -> HVAE:
    """Return a network with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HVAE(architecture)
