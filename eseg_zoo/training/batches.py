"""The batches of a stage: class-balanced patches around labelled pixels, random patches of unlabelled ones, or both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from eseg_zoo.config import Run
from eseg_zoo.data.augment import augment
from eseg_zoo.data.patches import Symmetry, scattered_squares
from eseg_zoo.data.sampling import AnchorSet, Batch, PatchSource, draw_anywhere, draw_balanced
from eseg_zoo.training.processes import place

# Enough to rank two models, few enough that validating costs little beside 100 steps.
VALIDATION_ANCHORS_PER_CLASS = 100


class Unlabelled(NamedTuple):
    """Patches from anywhere, each in two views: the teacher sees all of it, the student only a part."""

    clean: Tensor  # (b, c, *region + 2 * margin), normalised, as it is
    student: Batch  # the same places augmented, with random squares hidden; the labels are -1


class StepBatch(NamedTuple):
    """What one optimisation step sees; a stage without one of the two kinds has None there."""

    labelled: Batch | None  # patches around anchors
    unlabelled: Unlabelled | None


class StepBatches(IterableDataset[StepBatch]):
    """`steps` batches an epoch, each of `labelled` patches and of `unlabelled` ones, which come from `sections`.

    Of several processes that train together each draws the places, symmetries and masks for all and cuts its own part.
    The random state goes on from one epoch to the next; `state` and `restore` keep it over an interruption.
    """

    def __init__(
        self,
        source: PatchSource,
        sections: list[int],
        anchors: AnchorSet,
        run: Run,
        *,
        steps: int,
        labelled: int = 0,
        unlabelled: int = 0,
    ):
        super().__init__()
        self.source, self.sections, self.anchors, self.run = source, sections, anchors, run
        self.steps, self.labelled, self.unlabelled = steps, labelled, unlabelled
        self.wide = source.with_region(run.unlabelled_region(source.geometry.region))
        self.rng = np.random.default_rng(run.seed)
        # A stream of its own: augmenting more or less draws the same anchors.
        self.augmentation = torch.Generator().manual_seed(int(self.rng.spawn(1)[0].integers(2**63)))
        self.rank, self.processes = 0, 1

    def __iter__(self) -> Iterator[StepBatch]:
        self.rank, self.processes = place()
        if self.rank:
            # Another process than the first augments by a stream of its own. It starts anew with every epoch, from the
            # state that all share, because checkpoints hold the first one's.
            shared = self.rng.bit_generator.state["state"]["state"]
            self.augmentation.manual_seed((shared + self.rank) % 2**63)
        for _ in range(self.steps):
            yield StepBatch(
                self._draw_labelled() if self.labelled else None,
                self._draw_unlabelled() if self.unlabelled else None,
            )

    def state(self) -> dict[str, Any]:
        """Return the random state, as plain containers and tensors."""
        return {"rng": self.rng.bit_generator.state, "augmentation": self.augmentation.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a random state that `state` returned."""
        self.rng.bit_generator.state = state["rng"]
        self.augmentation.set_state(state["augmentation"])

    def _draw_labelled(self) -> Batch:
        mask, region = self.run.mask, self.source.geometry.region
        count, own = self._counts(self.labelled)
        anchors = draw_balanced(self.anchors, count, self.rng)
        hidden = self.rng.random(count) < mask.probability
        symmetries = self._draw_symmetries(count)
        phases = self.rng.integers(region, size=(count, len(region)))
        batch = self.source.batch(
            anchors.select(own),
            phases[own],
            mask_sides=np.where(hidden, mask.size, 0)[own],
            symmetries=symmetries and [symmetries[i] for i in own],
        )
        return augment(batch, self.source.geometry, self.run.augmentation, self.augmentation)

    def _draw_unlabelled(self) -> Unlabelled:
        """Return patches whose views differ by what is hidden and by the optics and the detector.

        The shape stays: zoom and elastic changes would move the teacher's labels.
        """
        mask, geometry = self.run.mask, self.wide.geometry
        count, own = self._counts(self.unlabelled)
        places = draw_anywhere(self.source, self.sections, count, self.rng)
        phases = self.rng.integers(geometry.region, size=(count, len(geometry.region)))
        symmetries = self._draw_symmetries(count)
        batch = self.wide.batch(
            places.select(own),
            phases[own],
            mask_sides=np.zeros(len(own), np.int64),
            symmetries=symmetries and [symmetries[i] for i in own],
        )
        sides = self.rng.choice(mask.sides, count)
        squares = [scattered_squares(geometry.size, mask.share, int(side), self.rng) for side in sides]
        hidden = torch.from_numpy(np.stack(squares)[own, None].astype(np.float32))
        rigid = self.run.augmentation.model_copy(update={"zoom": 0.0, "elastic": 0.0})
        student = augment(batch._replace(hidden=hidden), geometry, rigid, self.augmentation)
        return Unlabelled(batch.patches, student)

    def _counts(self, each: int) -> tuple[int, NDArray[np.int64]]:
        """Return how many patches to draw for all processes, and which of them are this one's."""
        return each * self.processes, np.arange(each) + each * self.rank

    def _draw_symmetries(self, count: int) -> list[Symmetry] | None:
        drawn = [Symmetry.draw(len(self.source.geometry.region), self.rng) for _ in range(count)]
        return drawn if self.run.augmentation.symmetries else None


def validation_batches(source: PatchSource, anchors: AnchorSet, run: Run) -> list[Batch]:
    """Return the validation patches, nothing hidden or turned, each at a fixed random phase."""
    rng = np.random.default_rng(run.seed)
    chosen = anchors.at_most(VALIDATION_ANCHORS_PER_CLASS, rng)
    phases = rng.integers(source.geometry.region, size=(len(chosen), len(source.geometry.region)))
    starts = range(0, len(chosen), run.training.batch_size)
    parts = [np.arange(start, min(start + run.training.batch_size, len(chosen))) for start in starts]
    return [source.batch(chosen.select(part), phases[part], mask_sides=np.zeros(len(part), int)) for part in parts]
