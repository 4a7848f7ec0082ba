"""What a training will take, worked out before it begins: arithmetic, time and memory.

The constants come from `python benchmarks/expected.py`, which trains networks of several shapes for a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from eseg_zoo.config import Run
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.cost import Cost, classifier_cost, parameters_of, training_cost
from eseg_zoo.training.plans import StagePlan, epoch_steps, plans

# A pass forward, and the pass backward, which costs twice as much.
_LEARNT = 3
# How many multiply-adds of a large matrix product take as long as one of the network's, and as one value that a layer
# returns: narrow layers are held up by memory more than by arithmetic. In volumes both take longer.
_OF_A_MULTIPLY_ADD, _OF_A_VALUE = 1.0, 160.0
_OF_VOLUMES = 1.3
# Memory: what Python, torch and Lightning take, bytes of a value (single precision, half of them kept twice for the
# pass backward), and of a weight (itself, its gradient and the two means of AdamW).
_BASE_BYTES, _VALUE_BYTES, _WEIGHT_BYTES = 750e6, 6, 16


@dataclass(frozen=True)
class Expected:
    """What all stages of a training take together, about."""

    work: float  # as multiply-adds of a large matrix product
    memory: float  # bytes, without the images


def expected(run: Run, shape: Architecture, *, validated: int = 0) -> Expected:
    """Return what a training takes in all its steps and in its validations of so many patches each."""
    stages = [plan.within(epoch_steps(plan.steps, run.training.epoch_steps)) for plan in plans(run)]
    looks = sum(plan.steps // plan.epoch for plan in stages)
    validation = looks * _work(classifier_cost(shape, shape.geometry.stride) * validated, shape)
    most = max(_pass_forward(plan, run, shape).values for plan in stages)
    memory = _BASE_BYTES + _VALUE_BYTES * most + _WEIGHT_BYTES * parameters_of(shape)
    return Expected(sum(plan.steps * step_work(plan, run, shape) for plan in stages) + validation, memory)


def step_work(plan: StagePlan, run: Run, shape: Architecture) -> float:
    """Return what a step of a stage takes in one process, as multiply-adds of a large matrix product.

    An unlabelled patch is seen by the network that learns and by the one that tells its labels.
    """
    region = run.unlabelled_region(shape.geometry.stride)
    looked_at = classifier_cost(shape, region) * plan.unlabelled
    return run.training.accumulate * _work(_pass_forward(plan, run, shape) * _LEARNT + looked_at, shape)


def _pass_forward(plan: StagePlan, run: Run, shape: Architecture) -> Cost:
    """Return the cost of a batch in the network that learns."""
    wide = training_cost(shape, run.unlabelled_region(shape.geometry.stride))
    return training_cost(shape, shape.geometry.stride) * plan.labelled + wide * plan.unlabelled


def _work(cost: Cost, shape: Architecture) -> float:
    found = _OF_A_MULTIPLY_ADD * cost.multiply_adds + _OF_A_VALUE * cost.values
    return found if shape.dims == 2 else _OF_VOLUMES * found
