"""The command line: eseg train | predict | evaluate. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import TaskID
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import SMALLEST_RUN, load_run
from eseg_zoo.console import Tenths, image_progress, plain_console, run_app, volume_progress
from eseg_zoo.errors import InputError
from eseg_zoo.inference.evaluate import Evaluation, evaluate_files
from eseg_zoo.inference.predict import Predictor, WantedMaps, predict_file, stem
from eseg_zoo.inference.reliability import FORMATS, write_reliability_plot
from eseg_zoo.output import make_folder, refuse_existing, replacing

if TYPE_CHECKING:
    from eseg_zoo.inference.stream import Computing, Reading

app = typer.Typer(
    name="eseg",
    help="Train ε-Seg models from a few labelled pixels, and apply them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Force = Annotated[bool, typer.Option("--force", help="Replace results that exist.")]
Axes = Annotated[str | None, typer.Option(help="Axes of the images, such as zyx; by default as in training.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; by default cuda if there is one.")]
TestTimeAugmentation = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Test-time augmentation: average over all flips and right-angle rotations of an image. It takes 8 times "
        "as long, with 3D models 16 times.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(min=8, help="Side of the tiles in pixels, by default what fits the memory; the result is the same."),
]


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Take the options before the verb; `run_app` reads --debug, because it catches what the verbs raise."""


@app.command(
    help="Train a model as the YAML file RUN says; writes OUT/model.pt.\n\n"
    "The smallest file that works:\n\n" + "\n\n".join(SMALLEST_RUN.splitlines())
)
def train(
    run: Annotated[Path, typer.Argument(help="YAML file with the settings of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
    force: Force = False,
) -> None:
    """Train a model and print its figures."""
    settings = load_run(run)
    refuse_existing(settings.out / "model.pt", force=force or resume)
    # Lightning takes seconds to import; nothing else needs it.
    from eseg_zoo.training.processes import is_first
    from eseg_zoo.training.run import train as train_run

    target = train_run(settings, force=force, resume=resume)
    if not is_first():
        return
    checkpoint = Checkpoint.load(target)
    figures = checkpoint.training.validation
    table = Table("class", "labelled pixels", "validation Dice", "frequency")
    for name, frequency in zip(checkpoint.class_names, checkpoint.class_frequencies, strict=True):
        dice = figures.get(f"dice/{name}")
        pixels = str(checkpoint.training.labelled_pixels[name])
        table.add_row(name, pixels, "-" if dice is None else f"{dice:.3f}", f"{frequency:.3f}")
    plain_console().print(table)
    plain_console().print(f"{target}", soft_wrap=True)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="model.pt")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    out: Annotated[Path, typer.Option(help="Folder for the maps, or NAME.ome.zarr for one of any size.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write class probabilities too.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Write the normalised entropy too.")] = False,
    axes: Axes = None,
    tile: Tile = None,
    tta: TestTimeAugmentation = False,
    device: Device = None,
    level: Annotated[int | None, typer.Option(min=0, help="Resolution level of an OME-Zarr, 0 the finest.")] = None,
    missing_chunks: Annotated[
        bool, typer.Option("--missing-chunks", help="Take missing chunks of an OME-Zarr for its fill value.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes of this machine to predict chunks.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to predict chunks.")] = None,
    force: Force = False,
) -> None:
    """Write a class map for each image: NAME_classes.ome.tif, with class names and pixel size.

    OME-Zarr, HDF5, NPY and folders of TIFFs, and every image for which OUT ends in .zarr, are predicted chunk by chunk
    into an OME-Zarr, whatever their size; interrupted and started again, the command goes on where it was.
    """
    from eseg_zoo.data.lazy import is_volume  # zarr and h5py take a second to import; TIFF files do not need them

    wanted = WantedMaps(probabilities=probabilities, uncertainty=uncertainty)
    if out.suffix == ".zarr" or any(is_volume(path) for path in images):
        from eseg_zoo.inference.stream import Computing, Reading

        reading = Reading(axes=axes, level=level, allow_missing=missing_chunks)
        computing = Computing(scheduler=scheduler, workers=workers, device=device, tile=tile, tta=tta)
        _predict_volumes(model, images, out, reading=reading, computing=computing, wanted=wanted, force=force)
        return
    if workers or scheduler or level is not None:
        raise InputError("--workers, --scheduler and --level are for volumes: give --out a name that ends in .zarr")
    _require_distinct(images, [wanted.targets(path, out)["classes"] for path in images])
    predictor = Predictor(Checkpoint.load(model), device=device, tile=tile, tta=tta)
    with image_progress() as progress:
        for path in images:
            task = progress.add_task(path.name, total=None)
            steps = predict_file(predictor, path, out, axes=axes, wanted=wanted, force=force)
            for done, total in steps:
                progress.update(task, completed=done, total=total)
    for path in images:
        for target in wanted.targets(path, out).values():
            plain_console().print(f"{target}", soft_wrap=True)


def _predict_volumes(
    model: Path, images: list[Path], out: Path, *, reading: Reading, computing: Computing, wanted: WantedMaps,
    force: bool,
) -> None:  # fmt: skip
    from eseg_zoo.inference.stream import Step, predict_volume

    if out.suffix == ".zarr" and len(images) > 1:
        raise InputError(f"{out} takes one image, not {len(images)}; give --out a folder")
    if computing.workers and computing.scheduler:
        raise InputError("--workers starts workers here, --scheduler uses those of a cluster; give one of them")
    targets = [out if out.suffix == ".zarr" else out / f"{stem(path)}_classes.ome.zarr" for path in images]
    _require_distinct(images, targets)
    with volume_progress() as progress:
        for path, target in zip(images, targets, strict=True):
            task, tenths = progress.add_task(path.name, total=None), Tenths(path.name)

            def report(step: Step, task: TaskID = task, tenths: Tenths = tenths) -> None:
                tenths.report(step.chunks, step.total)
                if progress.tasks[task].total is None:  # what an interrupted run did says nothing about the rate
                    progress.reset(task, total=step.total, completed=step.chunks)
                progress.update(task, completed=step.chunks)

            volume = predict_volume(
                model, path, target, reading=reading, computing=computing, wanted=wanted, force=force, report=report
            )
            if volume.array:
                plain_console(stderr=True).print(f"{path}: read {volume.array}", soft_wrap=True)
            plain_console().print(f"{target}", soft_wrap=True)


def _require_distinct(images: list[Path], targets: list[Path]) -> None:
    """Raise `InputError` when two images would have the same map."""
    owners: dict[Path, Path] = {}
    for image, target in zip(images, targets, strict=True):
        if target in owners:
            raise InputError(
                f"{owners[target]} and {image} would have the same map, {target}; predict them into two folders"
            )
        owners[target] = image


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="model.pt")],
    images: Annotated[list[Path], typer.Option(help="Image file; repeat for several.")],
    labels: Annotated[list[Path], typer.Option(help="Label image for each image, sparse or dense.")],
    slices: Annotated[str | None, typer.Option(help="First and last slice to judge, such as 12-13.")] = None,
    unlabelled: Annotated[
        int | None, typer.Option(help="Label value that means 'not labelled'; by default as in training.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    reliability: Annotated[
        Path | None, typer.Option(help="Draw how often the model is right, by its confidence: a .png, .svg or .pdf.")
    ] = None,
    axes: Axes = None,
    tile: Tile = None,
    tta: TestTimeAugmentation = False,
    device: Device = None,
    force: Force = False,
) -> None:
    """Compare predictions with labels, over labelled pixels only: Dice, confusion matrix, calibration.

    The figures of calibration mean something where the labels cover whole regions: among points painted evenly for
    each class, rare classes are not rare. With --tta the figure without the temperature is an approximation.
    """
    if reliability and reliability.suffix not in FORMATS:
        raise InputError(f"reliability is {reliability}; its name must end in one of {', '.join(FORMATS)}")
    for target in (json_file, reliability):
        if target:
            refuse_existing(target, force=force)
    if len(images) != len(labels):
        raise InputError(f"there are {len(images)} images but {len(labels)} label images")
    predictor = Predictor(Checkpoint.load(model), device=device, tile=tile, tta=tta)
    evaluation = evaluate_files(
        predictor, list(zip(images, labels, strict=True)), slices=slices, unlabelled=unlabelled, axes=axes
    )
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
        dice.add_row(name, str(pixels), f"{value:.3f}" if pixels else "-")
    dice.add_row("mean", str(evaluation.confusion.pixels.sum()), f"{evaluation.confusion.mean_dice:.3f}", style="bold")
    confusion = Table("true \\ predicted", *evaluation.class_names, title="Confusion matrix (pixels)")
    for name, counts in zip(evaluation.class_names, evaluation.confusion.counts, strict=True):
        confusion.add_row(name, *(str(count) for count in counts))
    calibration = Table("figure", "value", title="Calibration")
    calibration.add_row("expected calibration error", f"{evaluation.reliability.error:.3f}")
    calibration.add_row("  without the temperature", f"{evaluation.reliability_without_temperature.error:.3f}")
    auroc = evaluation.ranking.auroc
    calibration.add_row("AUROC of the uncertainty against error", "-" if isnan(auroc) else f"{auroc:.3f}")
    return [dice, confusion, calibration]


def main() -> None:
    """Entry point of `eseg`."""
    run_app(app)
