"""The batches of a stage: class-balanced patches around labelled pixels, random patches of unlabelled ones, or both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from eseg_zoo.config import Run
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.augment import augment
from eseg_zoo.patches.geometry import PatchGeometry, Symmetry, random_box, scattered_squares
from eseg_zoo.patches.source import Batch, PatchSource
from eseg_zoo.training.machine import rank_and_count
from eseg_zoo.training.plans import VALIDATION_ANCHORS_PER_CLASS


class Unlabelled(NamedTuple):
    """Patches from anywhere, each in two views: the teacher sees all of it, the student only a part."""

    clean: Tensor  # (b, c, *region + 2 * margin), normalised, as it is
    student: Batch  # the same places augmented, with random squares hidden; the labels are -1
    pasted: Tensor  # (b, 1, *region), where the student sees the next patch of the batch instead

    def labels_of(self, teacher: Tensor) -> Tensor:
        """Return what the teacher says of the clean patches, (b, classes, *region), as the student sees them."""
        return torch.where(self.pasted, _next(teacher), teacher)


class StepBatch(NamedTuple):
    """What one optimisation step sees; a stage without one of the two kinds has None there."""

    labelled: Batch | None  # patches around anchors
    unlabelled: Unlabelled | None


class StepBatches(Dataset[StepBatch]):
    """The batches of a stage by their number: `labelled` patches and `unlabelled` ones, these from `sections`.

    A batch follows from the seed, the stage and its number alone. So it is the same whichever worker process cuts it,
    and a training that is resumed goes on with the batches that it would have had. Of several processes that train
    together each draws the places, symmetries and masks for all and cuts its own part.
    """

    def __init__(
        self, source: PatchSource, sections: list[int], anchors: AnchorSet, run: Run, *, stage: str, labelled: int = 0,
        unlabelled: int = 0,
    ):  # fmt: skip
        self.source, self.sections, self.anchors, self.run = source, sections, anchors, run
        self.labelled, self.unlabelled = labelled, unlabelled
        self.wide = source.with_region(run.unlabelled_region(source.geometry.region))
        self.key = [run.seed, *stage.encode()]

    def __getitem__(self, number: int) -> StepBatch:
        rng = np.random.default_rng([*self.key, number])
        rank, _ = rank_and_count()
        # A stream of its own, for each process: augmenting more or less draws the same anchors.
        augmentation = torch.Generator().manual_seed(int(rng.spawn(rank + 1)[-1].integers(2**63)))
        return StepBatch(
            self._draw_labelled(rng, augmentation) if self.labelled else None,
            self._draw_unlabelled(rng, augmentation) if self.unlabelled else None,
        )

    def _draw_labelled(self, rng: np.random.Generator, augmentation: torch.Generator) -> Batch:
        mask, region = self.run.mask, self.source.geometry.region
        count, own = self._counts(self.labelled)
        anchors = self.anchors.draw_balanced(count, rng)
        hidden = rng.random(count) < mask.probability
        symmetries = self._draw_symmetries(count, rng)
        phases = rng.integers(region, size=(count, len(region)))
        batch = self.source.batch(
            anchors.select(own),
            phases[own],
            mask_sides=np.where(hidden, mask.size, 0)[own],
            symmetries=symmetries and [symmetries[i] for i in own],
        )
        return augment(batch, self.source.geometry, self.run.augmentation, augmentation)

    def _draw_unlabelled(self, rng: np.random.Generator, augmentation: torch.Generator) -> Unlabelled:
        """Return patches whose views differ by what is hidden or pasted, and by the optics and the detector.

        The shape stays: zoom and elastic changes would move the teacher's labels.
        """
        mask, geometry = self.run.mask, self.wide.geometry
        count, own = self._counts(self.unlabelled)
        places = self.wide.draw_anywhere(self.sections, count, rng)
        phases = rng.integers(geometry.region, size=(count, len(geometry.region)))
        symmetries = self._draw_symmetries(count, rng)
        batch = self.wide.batch(
            places.select(own),
            phases[own],
            mask_sides=np.zeros(len(own), np.int64),
            symmetries=symmetries and [symmetries[i] for i in own],
        )
        sides = rng.choice(mask.sides, count)
        squares = [scattered_squares(geometry.size, mask.share, int(side), rng) for side in sides]
        hidden = torch.from_numpy(np.stack(squares)[own, None].astype(np.float32))
        boxes = np.stack([random_box(geometry.region, rng) for _ in range(count)])
        boxes[rng.random(count) >= self.run.augmentation.cutmix] = False
        rigid = self.run.augmentation.model_copy(update={"zoom": 0.0, "elastic": 0.0})
        student = augment(batch._replace(hidden=hidden), geometry, rigid, augmentation)
        pasted = torch.from_numpy(boxes[own, None])
        return Unlabelled(batch.patches, paste_next(student, pasted, geometry), pasted)

    def _counts(self, each: int) -> tuple[int, NDArray[np.int64]]:
        """Return how many patches to draw for all processes, and which of them are this one's.

        The processes meet when the training starts, after this was made.
        """
        rank, processes = rank_and_count()
        return each * processes, np.arange(each) + each * rank

    def _draw_symmetries(self, count: int, rng: np.random.Generator) -> list[Symmetry] | None:
        drawn = Symmetry.draw(len(self.source.geometry.region), count, rng)
        return drawn if self.run.augmentation.symmetries else None


def paste_next(batch: Batch, pasted: Tensor, geometry: PatchGeometry) -> Batch:
    """Return patches with a part of the next one in each, and of what is hidden there.

    `pasted` (b, 1, *region) is True where it is. Source: S. Yun et al., "CutMix: regularization strategy to train
    strong classifiers with localizable features", ICCV 2019; for segmentation with few labels G. French et al., BMVC
    2020.
    """
    whole = F.pad(pasted, [margin for margin in reversed(geometry.margin) for _ in range(2)])
    return batch._replace(
        patches=torch.where(whole, _next(batch.patches), batch.patches),
        hidden=torch.where(whole, _next(batch.hidden), batch.hidden),
        target=torch.where(pasted, _next(batch.target), batch.target),
    )


def _next(x: Tensor) -> Tensor:
    """Return x (b, ...) with each of the batch in the place of the one before; the first is after the last."""
    return x.roll(-1, 0)


class EpochNumbers(Sampler[int]):
    """The numbers of the batches of an epoch; Lightning says which epoch it is, after a resumption too."""

    def __init__(self, batches: int):
        self.batches, self.epoch = batches, 0

    def set_epoch(self, epoch: int) -> None:
        """Go to this epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[int]:
        yield from range(self.epoch * self.batches, (self.epoch + 1) * self.batches)


def validation_anchors(anchors: AnchorSet, run: Run) -> AnchorSet:
    """Return which of the held-out anchors are validated on, in the order of `validation_batches`."""
    return anchors.at_most(VALIDATION_ANCHORS_PER_CLASS, np.random.default_rng(run.seed))


def validation_batches(source: PatchSource, anchors: AnchorSet, run: Run) -> list[Batch]:
    """Return the validation patches, nothing hidden or turned.

    Each anchor has the phase that it has in its section, so what is found at it is what a whole image's map says there.
    """
    chosen = validation_anchors(anchors, run)
    phases = chosen.places[:, 1:] % source.geometry.region
    starts = range(0, len(chosen), run.training.batch_size)
    parts = [np.arange(start, min(start + run.training.batch_size, len(chosen))) for start in starts]
    return [source.batch(chosen.select(part), phases[part], mask_sides=np.zeros(len(part), int)) for part in parts]
