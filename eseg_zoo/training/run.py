"""One training run: read, train stage after stage, measure, and write `model.pt`."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.data.patches import PatchGeometry
from eseg_zoo.data.sampling import PatchSource
from eseg_zoo.errors import CheckpointError, ConfigError, OutputError, TrainingError
from eseg_zoo.model.dense import Architecture
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.output import make_folder, refuse_existing
from eseg_zoo.training.batches import StepBatches, validation_batches
from eseg_zoo.training.data import TrainingData, read_training_data
from eseg_zoo.training.finish import finish
from eseg_zoo.training.fit import Fitted, fit
from eseg_zoo.training.processes import is_first
from eseg_zoo.training.stages import Pretraining, SemiSupervised, Stage, Supervised

log = logging.getLogger(__name__)


# What a training leaves beside `model.pt` and `run.json`: these files in the folder of each stage.
STAGES = ("pretraining", "supervised", "semi_supervised")
STAGE_FILES = ("best.ckpt", "last.ckpt", "finished.json", "metrics.csv", "metrics.[0-9]*.csv")


@dataclass(frozen=True)
class Plan:
    """One stage of a run: its name, which is its folder's, and what a step of it sees."""

    name: str
    kind: type[Stage]
    steps: int
    labelled: int
    unlabelled: int


def plans(run: Run) -> list[Plan]:
    """Return the stages that the run asks for, in their order."""
    semi = run.semi_supervised
    stages = [
        (Pretraining, run.pretraining.steps, 0, semi.unlabelled),
        (Supervised, run.training.steps, run.training.batch_size, 0),
        (SemiSupervised, semi.steps, semi.labelled, semi.unlabelled),
    ]
    return [Plan(name, *stage) for name, stage in zip(STAGES, stages, strict=True) if stage[1]]


def train(run: Run, *, force: bool = False, resume: bool = False) -> Path:
    """Train and return the path of `out/model.pt`; each stage has a folder beside it.

    A stage's folder holds `metrics.csv`, `best.ckpt` and `last.ckpt`. An interruption (Ctrl-C) ends the training early
    and still writes the best model so far, unless only pre-training has begun; `resume` goes on with an unfinished
    training, whatever ended it, and gives the result that it would have had. With `training.devices` above 1 the
    command line is started again for each of the other processes, which end here without writing anything.

    Raises `InputError` for unusable data, `ConfigError` when the settings differ from those of the training to resume,
    `OutputError` when there is a model or an unfinished training in `out` already (unless `force`), or when it cannot
    be written to, and `TrainingError` after an interruption of pre-training, or when the weights of a stage are no
    longer finite and it has no earlier ones that were validated.
    """
    target = run.out / "model.pt"
    refuse_existing(target, force=force or resume)
    _check_machine(run.training)
    data = read_training_data(run)
    architecture = run.network.architecture(
        channels=data.channels, classes=len(run.classes), voxel_size=data.voxel_size
    )
    geometry = Architecture(**architecture).geometry
    region = PatchGeometry(geometry.stride, geometry.margin)
    source = PatchSource.of(data.images, region, data.statistics, widest=run.unlabelled_region(geometry.stride))
    hvae = _network(run, architecture)
    make_folder(run.out)
    steps, seconds = 0, 0.0
    with _writing_to(run.out):
        if is_first():
            _prepare(run, force=force, resume=resume)
        for plan in plans(run):
            fitted = _fit(run, plan, hvae, source, data)
            steps, seconds = steps + fitted.steps, seconds + fitted.seconds
            if fitted.interrupted:
                break
    if not is_first():
        return target
    if plan.kind is Pretraining:
        raise TrainingError(f"{run.out} has no model yet: pre-training learns no class; --resume goes on")
    model = finish(run, data, source, hvae, architecture, steps=steps, seconds=seconds)
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


def _prepare(run: Run, *, force: bool, resume: bool) -> None:
    """Make the folder ready for a new training, or check that it holds the one to resume."""
    settings = run.out / "run.json"
    begun = settings.exists() and any(run.out.glob("*/last.ckpt"))
    wanted = _seen_from(run.out, run).model_dump(mode="json")
    if resume and begun:
        differing = _differing(json.loads(settings.read_text(encoding="utf-8")), wanted)
        if differing:
            raise ConfigError(
                f"{run.out} holds a training with other settings ({', '.join(differing)}); it can only be resumed with "
                "the same"
            )
        return
    if begun and not force:
        raise OutputError(f"{run.out} holds an unfinished training; --resume goes on with it, --force starts anew")
    refuse_existing(run.out / "model.pt", force=force)  # of `resume`, there is nothing to go on with
    _clear(run, force=force or settings.exists())
    settings.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _clear(run: Run, *, force: bool) -> None:
    """Delete what an earlier training left in the folders of its stages, and nothing else.

    Raises `OutputError` where such files are there and `force` is not set, and `ConfigError` where the run starts from
    one of them.
    """
    start = run.pretraining.start
    left = [file for stage in STAGES for pattern in STAGE_FILES for file in (run.out / stage).glob(pattern)]
    for file in left:
        refuse_existing(file, force=force)
        if start and start.exists() and start.samefile(file):
            raise ConfigError(
                f"pretraining.start is {start}, which a new training in {run.out} replaces; set another out"
            )
    for file in left:
        file.unlink()
    for stage in STAGES:
        with suppress(OSError):  # it is not there, or holds files of somebody else
            (run.out / stage).rmdir()


def _seen_from(folder: Path, run: Run) -> Run:
    """Return the settings with paths as seen from `folder`, which do not depend on where the command was started."""

    def seen(path: Path) -> Path:
        try:
            return Path(os.path.relpath(path, folder))
        except ValueError:  # on another drive
            return path.resolve()

    return run.with_paths(seen)


def _differing(before: Any, after: Any, key: str = "") -> list[str]:
    """Return the keys, such as `loss.beta`, whose values differ between two nested settings."""
    if isinstance(before, dict) and isinstance(after, dict):
        if before.keys() == after.keys() and list(before) != list(after):  # of the classes, which is the channels'
            return [key]
        inner = [
            _differing(before.get(name), after.get(name), f"{key}.{name}" if key else str(name))
            for name in sorted({*before, *after})
        ]
        return [found for part in inner for found in part]
    return [] if before == after else [key]


def _network(run: Run, architecture: dict[str, Any]) -> HVAE:
    """Return the network with its first weights: random ones by the seed, or those of an earlier pre-training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        hvae = HVAE(Architecture(**architecture))
    hvae.mixture.requires_grad_(run.network.learn_prior)
    start = run.pretraining.start
    if start is None:
        return hvae
    try:
        state = torch.load(start, map_location="cpu", weights_only=True)["state_dict"]
    except (OSError, RuntimeError, LookupError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"pretraining.start: {start} cannot be read") from error
    own = hvae.state_dict()
    given = {key.removeprefix("hvae."): value for key, value in state.items()}
    # With another number of classes the few layers that have them start anew.
    with torch.device("meta"):
        fewer = HVAE(Architecture(**architecture | {"classes": len(run.classes) - 1})).state_dict()
    for_classes = {key for key, value in own.items() if value.shape != fewer[key].shape}
    usable = {key: value for key, value in given.items() if key in own and value.shape == own[key].shape}
    lacking = [key for key in own if key not in usable and key not in for_classes]
    if lacking:
        raise CheckpointError(f"pretraining.start: {start} is of another network: {lacking[0]} has another shape")
    hvae.load_state_dict(usable, strict=False)
    return hvae


def _fit(run: Run, plan: Plan, hvae: HVAE, source: PatchSource, data: TrainingData) -> Fitted:
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
        steps=settings.epoch_steps * settings.accumulate,
        labelled=plan.labelled,
        unlabelled=plan.unlabelled,
    )
    fitted = fit(stage, batches, validation_batches(source, data.validation, run), folder, name=plan.name)
    stage.settle()
    if is_first() and not fitted.interrupted:
        done.write_text(json.dumps(asdict(fitted)) + "\n", encoding="utf-8")
    return fitted


def _of_stage(settings: TrainingSettings, steps: int) -> TrainingSettings:
    """Return the settings of the optimisation for a stage of at most this many steps, in epochs of equal length."""
    epochs = max(round(steps / settings.epoch_steps), 1)
    length = steps // epochs
    return settings.model_copy(update={"steps": epochs * length, "epoch_steps": length})


@contextmanager
def _writing_to(out: Path) -> Iterator[None]:
    """Turn a full disk, however it shows, into one `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{out} cannot be written to: {error.strerror or error}") from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error):  # how torch reports a full disk
            raise
        raise OutputError(f"{out} cannot be written to: {error}") from error
