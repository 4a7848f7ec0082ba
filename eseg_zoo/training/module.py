"""The optimisation as Lightning sees it: one step, one validation, the optimiser and its schedule."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.data.patches import PatchGeometry
from eseg_zoo.data.sampling import Batch, inner_region
from eseg_zoo.losses import Anchors, loss_terms
from eseg_zoo.metrics import Confusion, soft_dice
from eseg_zoo.model.dense import Architecture
from eseg_zoo.model.hvae import HVAE

# What the best checkpoint and early stopping go by: on the few held-out pixels the plain Dice has ties and jumps.
CHOICE = "val/soft_dice"
# A soft Dice that rises by less than this counts as stalled.
SMALLEST_GAIN = 1e-3

OPTIMISERS: dict[str, type[torch.optim.AdamW | torch.optim.Adamax]] = {
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
}


class SupervisedTraining(pl.LightningModule):
    """Stage 1 of ε-Seg: all four losses on patches around labelled pixels."""

    def __init__(self, run: Run, architecture: Architecture, geometry: PatchGeometry, class_names: tuple[str, ...]):
        super().__init__()
        self.run, self.patch_geometry, self.class_names = run, geometry, class_names
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            self.hvae = HVAE(architecture)
        axes = self.hvae.classifier.geometry.axes
        levels = range(1, len(architecture.strides) + 1)
        self.strides = [tuple(math.prod(axis.strides[:level]) for axis in axes) for level in levels]
        self.noise = torch.Generator()
        self.held_out: list[tuple[Tensor, Tensor]] = []  # logits and labels of the validation at hand

    def on_fit_start(self) -> None:
        self.noise = torch.Generator(self.device).manual_seed(self.run.seed)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        generation = self.hvae(batch.patches * (1 - batch.hidden), self.noise)
        terms = loss_terms(
            generation,
            self.hvae.mixture,
            Anchors(batch.position, batch.labels),
            image=batch.target,
            hidden=inner_region(batch.hidden, self.patch_geometry),
            strides=self.strides,
        )
        total = terms.total(self.run.loss)
        self.log_dict(
            {
                "train/loss": total,
                "train/inpainting": terms.inpainting,
                "train/kl": terms.kl,
                "train/contrastive": terms.contrastive,
                "train/cross_entropy": terms.cross_entropy,
            },
            on_step=False,
            on_epoch=True,
            batch_size=len(batch.labels),
        )
        return total

    def on_validation_epoch_start(self) -> None:
        self.held_out = []

    def validation_step(self, batch: Batch, index: int) -> None:
        logits = self.hvae.classifier(batch.patches)
        at_anchor = Anchors(batch.position, batch.labels).pick(logits, tuple(1 for _ in self.patch_geometry.region))
        self.log("val/loss", F.cross_entropy(at_anchor, batch.labels), batch_size=len(batch.labels))
        self.held_out.append((at_anchor.cpu(), batch.labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        logits, labels = (torch.cat(parts) for parts in zip(*self.held_out, strict=True))
        confusion = Confusion.of(labels.numpy(), logits.argmax(1).numpy(), classes=len(self.class_names))
        labelled = confusion.pixels > 0
        self.log("val/mean_dice", confusion.mean_dice)
        self.log(CHOICE, float(soft_dice(logits.softmax(1).numpy(), labels.numpy())[labelled].mean()))
        for name, dice, present in zip(self.class_names, confusion.dice, labelled, strict=True):
            if present:
                self.log(f"val/dice/{name}", float(dice))

    def configure_optimizers(self) -> Any:
        settings = self.run.training
        optimiser = OPTIMISERS[settings.optimiser](
            self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = {"cosine": cosine_schedule, "plateau": plateau_schedule}[settings.schedule]
        return [optimiser], schedule(optimiser, settings)


def cosine_schedule(optimiser: Optimizer, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Return Lightning's description of a warm-up from 0, then a cosine that ends at 0 with the last step."""
    rising = _warmup_steps(settings)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(settings.steps - rising, 1)))

    return [{"scheduler": LambdaLR(optimiser, share), "interval": "step"}]


def plateau_schedule(optimiser: Optimizer, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Return Lightning's description of the same warm-up, then half the rate whenever the soft Dice has stalled."""
    rising = _warmup_steps(settings)
    warmup = LinearLR(optimiser, 1 / rising, total_iters=rising - 1)
    plateau = ReduceLROnPlateau(
        optimiser,
        "max",
        factor=0.5,
        patience=settings.plateau_patience - 1,  # torch lowers the rate one validation after its patience
        threshold=SMALLEST_GAIN,
        threshold_mode="abs",
    )
    plateau.cooldown_counter = rising // settings.epoch_steps  # validations within the warm-up do not count
    return [
        {"scheduler": warmup, "interval": "step"},
        {"scheduler": plateau, "interval": "epoch", "monitor": CHOICE},
    ]


def _warmup_steps(settings: TrainingSettings) -> int:
    return max(round(settings.warmup * settings.steps), 1)
