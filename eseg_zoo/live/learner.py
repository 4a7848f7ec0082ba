"""A training that is made step by step, in plain torch, and the model that it would be at any moment.

Losses, batches, stages and the correction are those of `eseg train`; Lightning, whose import takes seconds, and the
files of a training are not needed.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.errors import TrainingError
from eseg_zoo.losses import Anchors
from eseg_zoo.metrics import Confusion, soft_dice
from eseg_zoo.model.dense import Classifier
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch
from eseg_zoo.training.batches import StepBatch, StepBatches, Unlabelled, validation_batches
from eseg_zoo.training.data import TrainingData
from eseg_zoo.training.finish import QUICK, finish
from eseg_zoo.training.length import steps_for, suited_to_labels, with_steps
from eseg_zoo.training.likeness import with_likeness
from eseg_zoo.training.machine import device_of
from eseg_zoo.training.optimisation import optimiser_and_schedule
from eseg_zoo.training.steps import SemiSupervisedSteps, Steps, SupervisedSteps
from eseg_zoo.training.teacher import Teacher
from eseg_zoo.training.warm import WarmStart, first_network

log = logging.getLogger(__name__)

# Steps from random weights after which a map is worth a look.
FIRST_LOOK = 80
# Steps between two looks at the held-out labels, if there are any.
VALIDATED_EVERY = 50
# The share of the averaged weights that is kept in a step grows to the teacher's as the steps do: a longer average
# would remember random weights, or those before the newest labels.
AVERAGE_DELAY = 10


@dataclass(frozen=True)
class Stage:
    """A stage: its name, what a step of it is, how many it takes at most, and the patches of a step."""

    name: str
    kind: type[Steps]
    steps: int
    labelled: int
    unlabelled: int = 0


def stages_of(run: Run, strokes: int) -> list[Stage]:
    """Return the stages of a run, for so many strokes in all.

    A step has no more labelled patches than there are strokes, or two of each class: more would show the same places
    again and cost time: of ten strokes, ten patches a step reach in 7 CPU-seconds what 32 do not in 12.
    """
    most = max(strokes, 2 * len(run.classes))
    semi = run.semi_supervised
    sizes = run.training.batch_size, semi.labelled
    first, second = (min(size, most) for size in sizes)
    stages = [
        Stage("supervised", SupervisedSteps, run.training.steps, first),
        Stage("semi_supervised", SemiSupervisedSteps, semi.steps, second, semi.unlabelled),
    ]
    return [stage for stage in stages if stage.steps]


def moved(batch: StepBatch, device: torch.device) -> StepBatch:
    """Return a batch with all its tensors on a device."""

    def there(one: Batch | None) -> Batch | None:
        return one and Batch(*(tensor.to(device) for tensor in one))

    labelled, unlabelled = batch
    if unlabelled:
        student = there(unlabelled.student)
        assert student is not None
        unlabelled = Unlabelled(unlabelled.clean.to(device), student, unlabelled.pasted.to(device))
    return StepBatch(there(labelled), unlabelled)


class Learner:
    """The training on some data; it is used by one thread at a time.

    From the same settings, data and start the same steps give the same weights, on one machine with one number of
    threads; what is looked at between them changes nothing.
    """

    def __init__(self, run: Run, data: TrainingData, start: WarmStart | None = None):
        self.step_number = 0  # of all stages, from the beginning
        self.first_look = 0 if start else FIRST_LOOK
        self.figures: dict[str, float] = {}
        self.stage = ""
        self._began = time.monotonic()
        self._learn(run, data, start)

    def relabel(self, run: Run, data: TrainingData) -> None:
        """Go on with other labels, from what is known now: as `eseg train --from` does from a finished model."""
        known = WarmStart(self.checkpoint(), "the training so far")
        if run.semi_supervised.steps:
            most = steps_for(run, data.training, data.differences, goes_on=True)["semi_supervised"]
            short = min(run.semi_supervised.steps, most)
            run = with_steps(run, training=self._supervised_left, semi_supervised=short)
        self.figures.pop("dice", None)
        self._learn(run, data, known)

    def _learn(self, run: Run, data: TrainingData, start: WarmStart | None) -> None:
        run = with_likeness(run, data.differences)
        run = suited_to_labels(run, data.training, data.differences, goes_on=start is not None)
        channels = len(data.channel_names)
        hvae, architecture = first_network(run, channels=channels, voxel_size=data.voxel_size, start=start)
        self.device = torch.device(device_of(run.training))
        self.run, self.data, self.hvae, self.architecture = run, data, hvae.to(self.device), architecture
        geometry = architecture.geometry
        self.source = data.source(PatchGeometry(geometry.stride, geometry.margin))
        self.held_out = validation_batches(self.source, data.validation, run)
        self.average, self._followed = Teacher(hvae.classifier, kept=0.0), 0
        self.best: tuple[float, Classifier] | None = None
        self._found: tuple[int, Checkpoint] | None = None
        self.stages = stages_of(run, data.training.stroke_count)
        self.total = self.step_number + sum(stage.steps for stage in self.stages)
        self._supervised_left = run.training.steps
        self._steps = self._all_steps()

    @property
    def is_worth_a_look(self) -> bool:
        """Whether a map of the weights shows more than chance."""
        return self.step_number >= min(self.first_look, self.total)

    def step(self) -> bool:
        """Make the next step; returns whether there was one."""
        if next(self._steps, None) is None:
            return False
        self.step_number += 1
        self.figures["seconds"] = time.monotonic() - self._began
        if self.held_out and self.step_number % VALIDATED_EVERY == 0:
            self._validate()
        return True

    def _all_steps(self) -> Iterator[int]:
        for stage in self.stages:
            self.stage = stage.name
            yield from self._steps_of(stage)

    def _steps_of(self, stage: Stage) -> Iterator[int]:
        settings = self.run.training.model_copy(update={"steps": stage.steps})
        steps = stage.kind(self.run, settings, self.hvae, self.source.geometry).to(self.device)
        optimiser, schedule = optimiser_and_schedule(self.hvae.parameters(), settings)
        batches = StepBatches(
            self.source, self.data.training_sections, self.data.training, self.run, stage=stage.name,
            labelled=stage.labelled, unlabelled=stage.unlabelled,
        )  # fmt: skip
        for number in range(stage.steps):
            noise = steps.noise_of(number, 0, self.device)
            losses = steps.losses(moved(batches[number], self.device), noise)
            optimiser.zero_grad()
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.hvae.parameters(), settings.gradient_clip)
            if not bool(norm.isfinite()):
                raise TrainingError(
                    f"the training diverged at step {self.step_number + 1}; start anew with a lower "
                    f"training.learning_rate than {settings.learning_rate:g}"
                )
            optimiser.step()
            schedule.step()
            steps.after_step()
            self._follow()
            if isinstance(steps, SupervisedSteps):
                self._supervised_left -= 1
            self.figures["loss"] = float(losses["loss"].detach())
            yield number
        steps.settle()

    def _follow(self) -> None:
        """Let the average follow the weights: closely at first, and at last as slowly as the teacher does."""
        most, steps = self.run.semi_supervised.teacher, self._followed
        self.average.kept = min(most, (1 + steps) / (AVERAGE_DELAY + steps))
        self.average.follow(self.hvae.classifier)
        self._followed += 1

    @torch.no_grad()
    def _validate(self) -> None:
        """Judge the averaged weights by the held-out labels, and keep the best ones."""
        logits, labels = [], []
        for batch in self.held_out:
            logits.append(self._at_anchors(batch))
            labels.append(batch.labels)
        scores, truth = torch.cat(logits), torch.cat(labels).numpy()
        confusion = Confusion.of(truth, scores.argmax(1).numpy(), classes=len(self.run.classes))
        self.figures["dice"] = confusion.mean_dice
        choice = float(soft_dice(scores.softmax(1).numpy(), truth)[confusion.pixels > 0].mean())
        if self.best is None or choice > self.best[0]:
            self.best = choice, copy.deepcopy(self.average.classifier)

    def _at_anchors(self, batch: Batch) -> torch.Tensor:
        ones = tuple(1 for _ in self.source.geometry.region)
        logits = self.average.classifier(batch.patches.to(self.device)).cpu()
        return Anchors(batch.position, batch.labels).pick(logits, ones)

    def checkpoint(self, *, best: bool = False) -> Checkpoint:
        """Return the finished model of the averaged weights: the newest ones, or the best ones that were validated.

        Its correction follows from a part of what `eseg train` looks at.
        """
        if best and self.best:
            return self._finished(self.best[1])
        if self._found and self._found[0] == self.step_number:
            return self._found[1]
        found = self._finished(self.average.classifier)
        self._found = self.step_number, found
        return found

    def _finished(self, classifier: Classifier) -> Checkpoint:
        whole = copy.deepcopy(self.hvae)
        whole.classifier.load_state_dict(classifier.state_dict())
        return finish(
            self.run, self.data, self.held_out, whole.eval().cpu(), self.architecture, steps=self.step_number,
            seconds=self.figures.get("seconds", 0.0), look=QUICK,
        )  # fmt: skip
