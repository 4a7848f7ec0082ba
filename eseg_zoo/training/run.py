"""One training run: read, train stage after stage, measure, and write `model.pt`."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path

import torch

from eseg_zoo.config import Run, TrainingSettings
from eseg_zoo.errors import CheckpointError, ConfigError
from eseg_zoo.images.image import tell
from eseg_zoo.machine import multiply_adds_per_second
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.output import make_folder, owning
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch, PatchSource
from eseg_zoo.progress import Watch
from eseg_zoo.training.batches import StepBatches, validation_batches
from eseg_zoo.training.cautions import cautions, intensities_of_images
from eseg_zoo.training.data import LabelledImage, TrainingData, open_pairs, read_training_data, with_classes
from eseg_zoo.training.durable import read_record, write_record
from eseg_zoo.training.epoch_log import Before, EpochLog, require_tensorboard
from eseg_zoo.training.estimate import Estimate
from eseg_zoo.training.expected import step_work
from eseg_zoo.training.finish import finish
from eseg_zoo.training.fit import Fitted, fit
from eseg_zoo.training.folder import CHECKPOINTS, Begun, clear_stage, prepare_folder, refuse_begun, writing_to
from eseg_zoo.training.inputs import records_of, require_same
from eseg_zoo.training.length import suited_to_labels
from eseg_zoo.training.likeness import with_likeness
from eseg_zoo.training.machine import device_of
from eseg_zoo.training.paper import PaperSemiSupervised, PaperSupervised
from eseg_zoo.training.plans import StagePlan, epoch_steps, plans, with_preset_of_machine
from eseg_zoo.training.processes import counted, is_first, require_environment
from eseg_zoo.training.saving import resumable, weights_in
from eseg_zoo.training.stages import SemiSupervised, Stage, Supervised
from eseg_zoo.training.warm import WarmStart, first_network, loosen

log = logging.getLogger(__name__)


# What Lightning trains in each stage: as here, and as published (`preset: paper`).
_KINDS: dict[str, tuple[type[Stage], type[Stage]]] = {
    "supervised": (Supervised, PaperSupervised),
    "semi_supervised": (SemiSupervised, PaperSemiSupervised),
}


def train_run(
    run: Run, pairs: Sequence[LabelledImage] | None = None, *, start: WarmStart | None = None, force: bool = False,
    resume: bool = False, watch: Watch | None = None, command: str = "",
) -> Path:  # fmt: skip
    """Train and return the path of `out/model.pt`; beside it are `metrics.csv` and a folder for each stage.

    `pairs` are the images and labels, by default what the run's files hold. From the model `start` the training goes
    on with its network, in fewer steps (`WarmStart.settings`). A stage's folder holds its checkpoints. Ctrl-C, or a
    `watch` that is stopped, ends the training early and still writes the best model so
    far; `resume` goes on with an unfinished training, whatever ended it and when, and gives the result that it would
    have had. With more steps than it was begun with it extends the training, a finished one too: a stage goes on from
    its last step at the learning rate that a stage of so many steps has there, and a stage after it starts again.
    Without a `preset` it is `default` where there is a GPU, else `small`. With `training.devices` above 1 the command
    line is started again for each of the other processes, which end here without writing anything. `command` is
    remembered as what a person typed to train it.

    Raises `InputError` for unusable data and for images that are not those of the training to resume, `ConfigError`
    when its settings were others, `OutputError` when there is a model or an unfinished training in `out` already
    (unless `force`), while another process trains there, or when it cannot be written to, `CheckpointError` when
    `run.json` is damaged, `StoppedError` after SIGTERM, and `TrainingError` when the weights of a stage are no longer
    finite and it has no earlier ones that were validated.
    """
    watch = watch or Watch()
    _check_machine(run.training)
    with counted(run.training):
        if is_first():
            refuse_begun(run, force=force, resume=resume)
        run = start.settings(run) if start else _with_preset(run, Begun.read(run.out) if resume else None)
        return _train(run, pairs, start=start, force=force, resume=resume, watch=watch, command=command)


def _train(
    run: Run, pairs: Sequence[LabelledImage] | None, *, start: WarmStart | None, force: bool, resume: bool,
    watch: Watch, command: str,
) -> Path:  # fmt: skip
    """Train with settings that are complete, as `train_run` says."""
    target = run.out / "model.pt"
    pairs = open_pairs(run) if pairs is None else pairs
    run = with_classes(run, pairs)
    data = read_training_data(run, pairs)
    run = with_likeness(run, data.differences)
    run = suited_to_labels(run, data.training, data.differences, goes_on=start is not None)
    hvae, architecture = first_network(run, channels=len(data.channel_names), voxel_size=data.voxel_size, start=start)
    if start:
        loosen(hvae, run, architecture)
    geometry = architecture.geometry
    source = data.source(PatchGeometry(geometry.stride, geometry.margin))
    if is_first():
        for line in cautions(run, data, geometry, intensities_of_images(data, data.contents)):
            log.warning("%s", line)
    held_out = validation_batches(source, data.validation, run)
    make_folder(run.out)
    with owning(target) if is_first() else nullcontext():
        with writing_to(run.out):
            begun = _prepare(run, pairs, data, start, force=force, resume=resume)
            planned = [plan.within(begun.epochs[plan.name]) for plan in plans(run)]
            _tell_plan(run, planned, resumed=resume and not _has_checkpoint(run, planned))
            works = {plan.name: (plan.steps, step_work(plan, run, architecture)) for plan in planned}
            estimate = Estimate(works, _rate(run.training))
            steps, seconds = 0, 0.0
            for plan in planned:
                fitted = _fit(run, plan, hvae, source, data, held_out, watch, estimate, Before(steps, seconds))
                steps, seconds = steps + fitted.steps, seconds + fitted.seconds
                if fitted.interrupted:
                    break
        if not is_first():
            return target
        log.info("Measuring how frequent each class is, and how sure the model may be.")
        model = finish(
            run, data, held_out, hvae, architecture, steps=steps, seconds=seconds, machine=_tell_machine(run.training),
            command=command,
        )  # fmt: skip
        log.info("Writing %s.", target)
        model.save(target, force=force or resume)
        return target


def _with_preset(run: Run, begun: Begun | None) -> Run:
    """Return the settings with a preset: the one given, that of the training to resume, or one for this machine."""
    if run.preset is not None:
        return run
    if begun:
        return run.with_preset(str(begun.settings["preset"]))
    return with_preset_of_machine(run, on_gpu=device_of(run.training) != "cpu")


def _rate(settings: TrainingSettings) -> float | None:
    """Return the work of a second in each process, before anything was timed; None on a GPU, where nobody knows it."""
    if not is_first() or device_of(settings) != "cpu":
        return None
    return multiply_adds_per_second() / settings.devices


def _prepare(
    run: Run, pairs: Sequence[LabelledImage], data: TrainingData, start: WarmStart | None, *, force: bool, resume: bool
) -> Begun:
    """Return how the training is begun, or was, and make the folder ready; only the first process touches it."""
    epochs = {plan.name: epoch_steps(plan.steps, run.training.epoch_steps) for plan in plans(run)}
    before, device = Begun.read(run.out) if resume else None, device_of(run.training)
    if not is_first():
        return Begun({}, [], {**epochs, **(before.epochs if before else {})}, device)
    inputs = records_of(pairs, data.images)
    if before and len(before.inputs) == len(inputs):  # else the settings differ, which is told
        require_same(before.inputs, inputs)
    digest = start.digest if start else ""
    return prepare_folder(run, inputs, epochs, device, start=digest, force=force, resume=resume)


def _has_checkpoint(run: Run, planned: Sequence[StagePlan]) -> bool:
    return any((run.out / plan.name / name).exists() for plan in planned for name in CHECKPOINTS)


def _tell_plan(run: Run, planned: Sequence[StagePlan], *, resumed: bool) -> None:
    """Log what is trained on which device, before it begins."""
    device = device_of(run.training)
    where = f"the CPU with {tell(torch.get_num_threads(), 'thread')}" if device == "cpu" else device
    stages = "; ".join(f"{plan.name.replace('_', '-')}, at most {plan.steps} steps" for plan in planned)
    what = f"a {run.network.dims}D network (preset {run.preset})"
    log.info("Training %s on %s, in %s: %s.", what, where, tell(len(planned), "stage"), stages)
    if resumed:
        log.info("No checkpoint was written before: the training starts at its first step.")


def _tell_machine(settings: TrainingSettings) -> str:
    """Return what computed, such as `Linux x86_64, CPU with 8 threads`."""
    device = device_of(settings)
    name = f"CPU with {tell(torch.get_num_threads(), 'thread')}" if device == "cpu" else device
    if device == "cuda":
        name = torch.cuda.get_device_name()
    several = f"{settings.devices} x " if settings.devices > 1 else ""
    return f"{platform.system()} {platform.machine()}, {several}{name}"


def _check_machine(settings: TrainingSettings) -> None:
    """Raise `ConfigError` for an accelerator, a number of GPUs or a precision that this machine does not have."""
    mps = torch.backends.mps.is_available()
    gpus = 1 if mps else torch.cuda.device_count()
    if (settings.accelerator == "gpu" and not gpus) or (settings.accelerator == "mps" and not mps):
        raise ConfigError(f"training.accelerator is {settings.accelerator}, which this machine does not have")
    if settings.accelerator != "cpu" and 0 < gpus < settings.devices:
        raise ConfigError(
            f"training.devices is {settings.devices}, but this machine has {tell(gpus, 'GPU')}; take fewer, or "
            "accelerator: cpu"
        )
    cpu = settings.accelerator == "cpu" or (settings.accelerator == "auto" and not torch.cuda.is_available())
    require_environment(settings)
    require_tensorboard(settings)
    if settings.precision == "16-mixed" and cpu:
        raise ConfigError("training.precision is 16-mixed, which needs a GPU; bf16-mixed runs anywhere")


def _fit(
    run: Run,
    plan: StagePlan,
    hvae: HVAE,
    source: PatchSource,
    data: TrainingData,
    held_out: list[Batch],
    watch: Watch,
    estimate: Estimate,
    before: Before,
) -> Fitted:
    """Train one stage, or take what it left if it was finished before; the network ends with its weights."""
    folder = run.out / plan.name
    settings = run.training.model_copy(update={"steps": plan.steps, "epoch_steps": plan.epoch})
    stage = _KINDS[plan.name][run.preset == "paper"](run, settings, hvae, source.geometry)
    found = _finished(folder, stage, validated=bool(held_out))
    if found:
        stage.settle()
        return found
    batches = StepBatches(
        source,
        data.training_sections,
        data.training,
        run,
        stage=plan.name,
        labelled=plan.labelled,
        unlabelled=plan.unlabelled,
    )
    start = resumable(folder, stage.state_dict(), validated=bool(held_out))
    if start is None and is_first():
        if any((folder / name).exists() for name in CHECKPOINTS):
            log.warning("No checkpoint in %s can be used: the stage starts again.", folder)
        clear_stage(run.out, plan.name)
    epoch_log = EpochLog(run.out, plan.name, before, tensorboard=run.training.tensorboard)
    callbacks = [estimate.of(plan.name), epoch_log]
    fitted = fit(stage, batches, held_out, folder, name=plan.name, watch=watch, start=start, callbacks=callbacks)
    stage.settle()
    if is_first() and not fitted.interrupted:
        write_record(folder / "finished.json", asdict(fitted))
    return fitted


def _finished(folder: Path, stage: Stage, *, validated: bool) -> Fitted | None:
    """Return what came of a stage that is over, whose weights are then in it; None where it has to be trained."""
    try:
        found = read_record(folder / "finished.json")
        fitted = Fitted(**{field.name: found[field.name] for field in fields(Fitted)})
        stage.load_state_dict(weights_in(folder, stage.state_dict(), validated=validated))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (CheckpointError, KeyError) as error:
        log.warning("%s: this part of the stage is done again.", error)
        return None
    return fitted
