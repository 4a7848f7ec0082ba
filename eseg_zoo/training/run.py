"""One training run: read, train stage after stage, measure, and write `model.pt`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.errors import ConfigError
from eseg_zoo.model.dense import Architecture
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.output import make_folder, refuse_existing
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch, PatchSource
from eseg_zoo.progress import Watch
from eseg_zoo.training.batches import StepBatches, validation_batches
from eseg_zoo.training.data import LabelledImage, TrainingData, read_training_data
from eseg_zoo.training.finish import finish
from eseg_zoo.training.fit import Fitted, fit
from eseg_zoo.training.folder import STAGES, prepare_folder, writing_to
from eseg_zoo.training.paper import PaperSemiSupervised, PaperSupervised
from eseg_zoo.training.processes import is_first
from eseg_zoo.training.stages import SemiSupervised, Stage, Supervised


@dataclass(frozen=True)
class StagePlan:
    """One stage of a run: its name, which is its folder's, and what a step of it sees."""

    name: str
    kind: type[Stage]
    steps: int
    labelled: int
    unlabelled: int


def plans(run: Run) -> list[StagePlan]:
    """Return the stages that the run asks for, in their order."""
    semi = run.semi_supervised
    first, second = (PaperSupervised, PaperSemiSupervised) if run.preset == "paper" else (Supervised, SemiSupervised)
    stages = [
        (first, run.training.steps, run.training.batch_size, 0),
        (second, semi.steps, semi.labelled, semi.unlabelled),
    ]
    return [StagePlan(name, *stage) for name, stage in zip(STAGES, stages, strict=True) if stage[1]]


def train_run(
    run: Run, pairs: Sequence[LabelledImage] | None = None, *, force: bool = False, resume: bool = False,
    watch: Watch | None = None,
) -> Path:  # fmt: skip
    """Train and return the path of `out/model.pt`; each stage has a folder beside it.

    `pairs` are the images and labels, by default what the run's files hold. A stage's folder holds `metrics.csv`,
    `best.ckpt` and `last.ckpt`. Ctrl-C, or a `watch` that is stopped, ends the training early and still writes the best
    model so far; `resume` goes on with an unfinished training, whatever ended it, and gives the result that it would
    have had. With `training.devices` above 1 the command line is started again for each of the other processes, which
    end here without writing anything.

    Raises `InputError` for unusable data, `ConfigError` when the settings differ from those of the training to resume,
    `OutputError` when there is a model or an unfinished training in `out` already (unless `force`), or when it cannot
    be written to, and `TrainingError` when the weights of a stage are no longer finite and it has no earlier ones that
    were validated.
    """
    target, watch = run.out / "model.pt", watch or Watch()
    refuse_existing(target, force=force or resume)
    _check_machine(run.training)
    data = read_training_data(run, pairs)
    architecture = run.network.architecture(
        channels=len(data.channel_names), classes=len(run.classes), voxel_size=data.voxel_size
    )
    geometry = architecture.geometry
    source = data.source(PatchGeometry(geometry.stride, geometry.margin))
    held_out = validation_batches(source, data.validation, run)
    hvae = _network(run, architecture)
    make_folder(run.out)
    steps, seconds = 0, 0.0
    with writing_to(run.out):
        if is_first():
            prepare_folder(run, force=force, resume=resume)
        for plan in plans(run):
            fitted = _fit(run, plan, hvae, source, data, held_out, watch)
            steps, seconds = steps + fitted.steps, seconds + fitted.seconds
            if fitted.interrupted:
                break
    if not is_first():
        return target
    model = finish(run, data, held_out, hvae, architecture, steps=steps, seconds=seconds)
    model.save(target, force=force or resume)
    return target


def _check_machine(settings: TrainingSettings) -> None:
    """Raise `ConfigError` for an accelerator, a number of GPUs or a precision that this machine does not have."""
    mps = torch.backends.mps.is_available()
    gpus = 1 if mps else torch.cuda.device_count()
    if (settings.accelerator == "gpu" and not gpus) or (settings.accelerator == "mps" and not mps):
        raise ConfigError(f"training.accelerator is {settings.accelerator}, which this machine does not have")
    if settings.accelerator != "cpu" and 0 < gpus < settings.devices:
        raise ConfigError(
            f"training.devices is {settings.devices}, the GPUs of this machine are {gpus}; accelerator: cpu needs none"
        )
    cpu = settings.accelerator == "cpu" or (settings.accelerator == "auto" and not torch.cuda.is_available())
    if settings.precision == "16-mixed" and cpu:
        raise ConfigError("training.precision is 16-mixed, which needs a GPU; bf16-mixed runs anywhere")


def _network(run: Run, architecture: Architecture) -> HVAE:
    """Return the network with its first weights, random ones by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return HVAE(architecture)


def _fit(
    run: Run, plan: StagePlan, hvae: HVAE, source: PatchSource, data: TrainingData, held_out: list[Batch], watch: Watch
) -> Fitted:
    """Train one stage, or take what it left if it was finished before; the network ends with its weights."""
    folder = run.out / plan.name
    done = folder / "finished.json"
    settings = _of_stage(run.training, plan.steps)
    stage = plan.kind(run, settings, hvae, source.geometry)
    if done.exists():
        kept = folder / "best.ckpt" if (folder / "best.ckpt").exists() else folder / "last.ckpt"
        stage.load_state_dict(torch.load(kept, map_location="cpu", weights_only=True)["state_dict"])
        stage.settle()
        found = json.loads(done.read_text(encoding="utf-8"))
        return Fitted(**{field.name: found[field.name] for field in fields(Fitted)})
    batches = StepBatches(
        source,
        data.training_sections,
        data.training,
        run,
        stage=plan.name,
        labelled=plan.labelled,
        unlabelled=plan.unlabelled,
    )
    fitted = fit(stage, batches, held_out, folder, name=plan.name, watch=watch)
    stage.settle()
    if is_first() and not fitted.interrupted:
        done.write_text(json.dumps(asdict(fitted)) + "\n", encoding="utf-8")
    return fitted


def _of_stage(settings: TrainingSettings, steps: int) -> TrainingSettings:
    """Return the settings of the optimisation for a stage of at most this many steps, in epochs of equal length."""
    epochs = max(round(steps / settings.epoch_steps), 1)
    length = steps // epochs
    return settings.model_copy(update={"steps": epochs * length, "epoch_steps": length})
