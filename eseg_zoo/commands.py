"""What the verbs of the command line do: the API with bars, tables and files around it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from rich.table import Table

from eseg_zoo.api import Model, start_of
from eseg_zoo.checkpoint import TrainingRecord
from eseg_zoo.config import Run
from eseg_zoo.console import Tenths, TrainingBars, part_progress, plain_console, shown
from eseg_zoo.errors import InputError
from eseg_zoo.images.opening import files_of_source
from eseg_zoo.inference.evaluate import Evaluation
from eseg_zoo.inference.jobs import WantedMaps
from eseg_zoo.inference.network import InMemory, Network, OnDisk, Predictor
from eseg_zoo.inference.predict import (
    ChunksDone,
    Computing,
    Reading,
    open_for,
    predict_to_files,
    refuse_targets,
    require_distinct,
    targets_of,
)
from eseg_zoo.output import make_folder, refuse_existing, refuse_inputs, refuse_other_than_file, replacing
from eseg_zoo.progress import Progress, Watch, told_time
from eseg_zoo.reporting import report_after, write_report

log = logging.getLogger(__name__)


def train_files(run: Run, *, start_from: Path | None = None, force: bool, resume: bool, command: str) -> None:
    """Train, from the model in `start_from` if there is one, and write the report.

    Prints the figures of the finished model, where it is, and what to do with it.
    """
    # Lightning takes seconds to import; no other verb needs it.
    from eseg_zoo.training.processes import is_first
    from eseg_zoo.training.run import train_run

    start = None if start_from is None else start_of(start_from)
    with TrainingBars() as bars:
        target = train_run(run, start=start, force=force, resume=resume, watch=Watch(bars), command=command)
    if run.training.distributed and not is_first():
        return
    report_after(run.out, force=force or resume)
    model = Model.load(target)
    training = model.checkpoint.training
    table = Table("class", "labelled pixels", "validation Dice", "frequency")
    for one in model.classes:
        dice = shown(training.validation.get(f"dice/{one.name}"))
        table.add_row(one.name, str(training.labelled_pixels[one.name]), dice, f"{one.frequency:.3f}")
    table.add_row("mean", str(sum(training.labelled_pixels.values())), shown(training.validation.get("mean_dice")), "")
    plain_console().print(table)
    _tell_end(run.out, target, training)
    plain_console().print(f"{target}", soft_wrap=True)


def _tell_end(out: Path, model: Path, training: TrainingRecord) -> None:
    """Say on stderr how long it took, how much of it was done, and what comes next."""
    from eseg_zoo.training.folder import Begun

    begun = Begun.read(out)
    assert begun is not None, "the training has just ended"
    steps = f"{training.steps} of {begun.planned} steps in {told_time(training.seconds)}"
    if not begun.is_finished(out):
        steps += "; the training is not finished, --resume goes on with it"
    elif training.steps < begun.planned:
        steps += "; it ended where validation stalled"
    console = plain_console(stderr=True)
    for line in (f"{steps}. Next:", f"  eseg predict {model} IMAGE --out maps", f"  eseg export --ckpt {model}"):
        console.print(line, soft_wrap=True)


def report_file(out: Path, path: Path | None, *, force: bool) -> Path:
    """Write the report of the training in a folder and return its file."""
    log.info("Writing the report.")
    return write_report(out, path, force=force)


def predict_files(
    model: Path, images: list[Path], out: Path, *, reading: Reading, wanted: WantedMaps, computing: Computing,
    device: str | None, tta: bool, force: bool,
) -> list[Path]:  # fmt: skip
    """Write the maps of all images and return their files, in the order of the images.

    All images are opened and checked before the first is predicted.
    """
    if computing.workers and computing.scheduler:
        raise InputError("--workers starts workers here, --scheduler uses those of a cluster; give one of them")
    if out.suffix == ".zarr" and len(images) > 1:
        raise InputError(f"{out} takes one image, not {len(images)}; give --out a folder")
    loaded = Model.load(model)
    elsewhere = computing.workers is not None or computing.scheduler is not None
    digest = loaded.checkpoint.digest if elsewhere else ""  # of a checkpoint: no other model goes to other processes
    opened = [open_for(loaded.applied, path, reading) for path in images]
    targets = [targets_of(image, out, wanted) for image in opened]
    require_distinct([(image.name, files["classes"]) for image, files in zip(opened, targets, strict=True)])
    inputs = [model, *(file for path in images for file in files_of_source(str(path)))]
    refuse_targets([target for files in targets for target in files.values()], inputs, force=force)
    network: Network
    if elsewhere:  # the processes load the model by themselves
        network = OnDisk(model.absolute(), digest, device, tta)
    else:
        network = InMemory(loaded.predictor(device, tta=tta))
    with part_progress() as bars:
        for image, files in zip(opened, targets, strict=True):
            name = Path(image.name).name
            task, tenths = bars.add_task(name, total=None), Tenths(name)

            def report(step: ChunksDone, task=task, tenths: Tenths = tenths) -> None:  # type: ignore[no-untyped-def]
                tenths.report(step.chunks, step.total)
                if bars.tasks[task].total is None:  # what an interrupted run did says nothing about the rate
                    bars.reset(task, total=step.total, completed=step.chunks)
                bars.update(task, completed=step.chunks)

            predict_to_files(
                network, loaded.applied, image, files, wanted=wanted, slices=reading.slices, computing=computing,
                device=device, force=force, report=report,
            )  # fmt: skip
    return [target for files in targets for target in files.values()]


def evaluate_files(
    model: Path, images: list[Path], labels: list[Path], *, reading: Reading, unlabelled: int | None,
    json_file: Path | None, reliability: Path | None, tile: int | None, tta: bool, device: str | None, force: bool,
) -> None:  # fmt: skip
    """Print how well predictions agree with labels, and write what was asked for."""
    from eseg_zoo.inference.reliability import FORMATS, write_reliability_plot

    if reliability and reliability.suffix not in FORMATS:
        raise InputError(f"reliability is {reliability}; its name must end in one of {', '.join(FORMATS)}")
    written = [target for target in (json_file, reliability) if target]
    for target in written:
        refuse_existing(target, force=force)
        refuse_other_than_file(target)
    refuse_inputs(written, [model, *(file for path in [*images, *labels] for file in files_of_source(str(path)))])
    with part_progress() as bars:
        task = bars.add_task("evaluation", total=None)

        def report(progress: Progress) -> None:
            bars.update(task, completed=progress.done, total=progress.total)

        evaluation = Model.load(model).evaluate(
            images, labels, axes=reading.axes, slices=reading.slices, missing_chunks=reading.missing_chunks,
            unlabelled=unlabelled, tile=tile, tta=tta, device=device, progress=report,
        )  # fmt: skip
    for table in _tables(evaluation):
        plain_console().print(table)
    if json_file:
        make_folder(json_file.parent)
        with replacing(json_file, force=force) as temporary:
            temporary.write_text(json.dumps(evaluation.figures(), indent=2) + "\n", encoding="utf-8")
    if reliability:
        write_reliability_plot(reliability, evaluation, force=force)


def _tables(evaluation: Evaluation) -> list[Table]:
    dice = Table("class", "pixels", "Dice", title="Dice over labelled pixels")
    rows = zip(evaluation.class_names, evaluation.confusion.pixels, evaluation.confusion.dice, strict=True)
    for name, pixels, value in rows:
        dice.add_row(name, str(pixels), shown(value) if pixels else "-")
    dice.add_row("mean", str(evaluation.confusion.pixels.sum()), shown(evaluation.confusion.mean_dice), style="bold")
    confusion = Table("true \\ predicted", *evaluation.class_names, title="Confusion matrix (pixels)")
    for name, counts in zip(evaluation.class_names, evaluation.confusion.counts, strict=True):
        confusion.add_row(name, *(str(count) for count in counts))
    calibration = Table("figure", "value", title="Calibration")
    calibration.add_row("expected calibration error", shown(evaluation.reliability.error))
    calibration.add_row("  without the temperature", shown(evaluation.reliability_without_temperature.error))
    calibration.add_row("AUROC of the uncertainty against error", shown(evaluation.ranking.auroc))
    return [dice, confusion, calibration]


def suggest_files(
    model: Path, images: list[Path], labels: list[Path] | None, *, out: Path, rois: Path | None, pictures: Path | None,
    count: int, unlabelled: int | None, seed: int, reading: Reading, device: str | None, force: bool,
) -> None:  # fmt: skip
    """Print where to label next, and write it as points, ROIs and pictures."""
    from eseg_zoo.suggest.files import SuggestionFiles

    loaded = Model.load(model)
    files = SuggestionFiles.of([str(path) for path in images], out, rois, pictures, count=count)
    for target in files.all:
        refuse_existing(target, force=force)
        refuse_other_than_file(target)
    read = [*images, *(labels or [])]
    refuse_inputs(files.all, [model, *(file for path in read for file in files_of_source(str(path)))])
    with part_progress() as bars:
        task = bars.add_task("looking", total=None)

        def report(progress: Progress) -> None:
            bars.update(task, completed=progress.done, total=progress.total)

        places = loaded.suggest(
            images, labels, count=count, axes=reading.axes, slices=reading.slices, unlabelled=unlabelled,
            missing_chunks=reading.missing_chunks, seed=seed, device=device, progress=report,
        )  # fmt: skip
    table = Table("", "place", "uncertainty", "difference")
    for place in places:
        table.add_row(str(place.rank), place.tell(), shown(place.uncertainty), shown(place.difference))
    plain_console().print(table)
    for path in files.write(Predictor(loaded.checkpoint, device=device), places, force=force):
        plain_console().print(f"{path}", soft_wrap=True)
