"""The command line: eseg init | check | train | predict | evaluate | suggest | export | ..., thin over the API.

Results go to stdout, progress and errors to stderr. What a verb needs is imported when it runs, because torch and
Lightning take seconds. Packages beside this one add verbs by the entry points `eseg.commands`.
"""

from __future__ import annotations

import os
import shlex
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from eseg_zoo.console import plain_console, run_app
from eseg_zoo.example_run import SMALLEST_RUN


class _Commands(TyperGroup):
    """The verbs of this package, and those of others, which are imported when they are shown or used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *self._added()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        added = None if cmd_name in self.commands else self._added().get(cmd_name)
        return get_command(added.load()) if added else super().get_command(ctx, cmd_name)

    def _added(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group="eseg.commands")}


app = typer.Typer(
    name="eseg",
    cls=_Commands,
    help="Train ε-Seg models from a few labelled pixels, apply them, and export them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Force = Annotated[bool, typer.Option("--force", help="Replace results that exist.")]
Axes = Annotated[
    str | None,
    typer.Option(help="Axes of the images, such as zyx; by default what the files say, or else as in training."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; by default cuda if there is one.")]
Slices = Annotated[str | None, typer.Option(help="First and last slice, counted from 0, such as 12-13.")]
MissingChunks = Annotated[
    bool, typer.Option("--missing-chunks", help="Take parts of a file that are absent for empty ones.")
]
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
    typer.Option(min=8, help="Side of the tiles in pixels, where the default takes too much memory; same result."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        plain_console().print(f"eseg_zoo {version('eseg_zoo')}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Take the options before the verb; `run_app` reads --debug, because it catches what the verbs raise."""


@app.command()
def init(
    files: Annotated[list[Path], typer.Argument(help="Images and their labels, or an ilastik project, in any order.")],
    out: Annotated[Path, typer.Option(help="The YAML file to write; one that exists is never replaced.")] = Path(
        "run.yaml"
    ),
    labels: Annotated[
        list[Path] | None, typer.Option(help="A file of labels, where it would be taken for an image; may be repeated.")
    ] = None,
) -> None:
    """Write the YAML file of a run on images and labels, with classes, preset and comments.

    Which files are labels follows from what they hold. It ends with the next commands.
    """
    from eseg_zoo.look.init import write_run

    write_run(files, labels or [], out)
    plain_console().print(f"{out}", soft_wrap=True)
    for line in ("Next:", f"  eseg check {out}", f"  eseg train {out}"):
        plain_console(stderr=True).print(line, soft_wrap=True)


@app.command()
def check(
    run: Annotated[Path, typer.Argument(help="YAML file with the settings of the run.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was found to this file too.")] = None,
    missing_chunks: MissingChunks = False,
    force: Force = False,
) -> None:
    """Say what a training would find: images, labels, what is held out, time and memory, and what will hurt.

    It takes seconds, and trains nothing. Of large images samples are read. Warnings are no errors; it ends with 1 where
    the training would refuse its settings or files.
    """
    from eseg_zoo.config import load_run
    from eseg_zoo.look.check import check_run, write_figures
    from eseg_zoo.look.check_text import print_check
    from eseg_zoo.output import refuse_existing, refuse_inputs

    if json_file:
        refuse_existing(json_file, force=force)
        refuse_inputs([json_file], [run])
    found = check_run(load_run(run, {"missing_chunks": True} if missing_chunks else {}))
    print_check(found, plain_console())
    if json_file:
        write_figures(found, json_file, force=force)


@app.command()
def settings(
    key: Annotated[
        str | None, typer.Argument(help="A section such as training, or a key such as training.steps.")
    ] = None,
) -> None:
    """Print every setting of a run, or those of a section: type, default, value of each preset, and meaning."""
    from eseg_zoo.look.settings_page import print_settings

    print_settings(key, plain_console())


@app.command(
    help="Train a model as the YAML file RUN says; writes OUT/model.pt.\n\n"
    "The smallest file that works:\n\n" + "\n\n".join(SMALLEST_RUN.splitlines())
)
def train(
    run: Annotated[Path, typer.Argument(help="YAML file with the settings of the run.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished training; with more steps in RUN, extend it.")
    ] = False,
    start_from: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Go on from this model.pt, or its package, with the images, labels and classes of RUN."
        ),
    ] = None,
    missing_chunks: MissingChunks = False,
    force: Force = False,
) -> None:
    """Train a model and print its figures."""
    from eseg_zoo.config import load_run
    from eseg_zoo.training.folder import refuse_begun

    settings = load_run(run, {"missing_chunks": True} if missing_chunks else {})
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the processes that this one starts find its training begun
        refuse_begun(settings, force=force, resume=resume)
    from eseg_zoo.commands import train_files  # torch and Lightning take seconds: mistakes are told before

    train_files(
        settings, start_from=start_from, force=force, resume=resume, command=_typed(run, start_from, missing_chunks)
    )


def _typed(run: Path, start_from: Path | None, missing_chunks: bool) -> str:
    """Return the command that trains by a file, without what it does to earlier results."""
    start = [] if start_from is None else ["--from", str(start_from)]
    return shlex.join(["eseg", "train", str(run), *start, *(["--missing-chunks"] if missing_chunks else [])])


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="model.pt, or a package of the BioImage Model Zoo.")],
    images: Annotated[list[Path], typer.Argument(help="Images: files, folders of planes, OME-Zarr, file.h5/dataset.")],
    out: Annotated[Path, typer.Option(help="Folder for the maps, or NAME.ome.zarr.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write class probabilities too.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Write the normalised entropy too.")] = False,
    eight_bit: Annotated[
        bool, typer.Option("--uint8", help="Write both of these in steps of 1/255, a byte each, not as float32.")
    ] = False,
    axes: Axes = None,
    slices: Slices = None,
    tile: Tile = None,
    tta: TestTimeAugmentation = False,
    device: Device = None,
    level: Annotated[int | None, typer.Option(min=0, help="Resolution level of an image, 0 the finest.")] = None,
    missing_chunks: MissingChunks = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes of this machine to predict tiles.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to predict tiles.")] = None,
    force: Force = False,
) -> None:
    """Write a class map for each image, with class names, colours and pixel size, whatever its size.

    In a folder a map is NAME_classes.ome.tif, or NAME_classes.ome.zarr for an image that is a Zarr or very large; an
    OUT that ends in .ome.zarr takes the maps of one image. Interrupted and started again, the command goes on.
    """
    from eseg_zoo.commands import predict_files
    from eseg_zoo.inference.jobs import WantedMaps
    from eseg_zoo.inference.predict import Computing, Reading

    written = predict_files(
        model, images, out, reading=Reading(axes, level, missing_chunks, slices),
        wanted=WantedMaps(probabilities, uncertainty, eight_bit), computing=Computing(scheduler, workers, tile),
        device=device, tta=tta, force=force,
    )  # fmt: skip
    for target in written:
        plain_console().print(f"{target}", soft_wrap=True)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="model.pt, or its package.")],
    images: Annotated[list[Path], typer.Option(help="Image; repeat for several.")],
    labels: Annotated[
        list[Path],
        typer.Option(help="Label file of any kind for each image, sparse or dense; with one image repeat for several."),
    ],
    slices: Slices = None,
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
    missing_chunks: MissingChunks = False,
    force: Force = False,
) -> None:
    """Compare predictions with labels, over labelled pixels only: Dice, confusion matrix, calibration.

    The figures of calibration mean something where the labels cover whole regions: among points painted evenly for
    each class, rare classes are not rare.
    """
    from eseg_zoo.commands import evaluate_files
    from eseg_zoo.inference.predict import Reading

    evaluate_files(
        model, images, labels, reading=Reading(axes, missing_chunks=missing_chunks, slices=slices),
        unlabelled=unlabelled, json_file=json_file, reliability=reliability, tile=tile, tta=tta, device=device,
        force=force,
    )  # fmt: skip


@app.command()
def suggest(
    model: Annotated[Path, typer.Argument(help="model.pt, or its package.")],
    images: Annotated[list[Path], typer.Argument(help="Images to choose places in, of any size.")],
    out: Annotated[Path, typer.Option(help="Points for napari, a .csv; of several images one each, with its name.")],
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="What is labelled so far, for each image; by default what the model remembers of it."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many places to suggest.")] = 10,
    rois: Annotated[Path | None, typer.Option(help="Write ROIs for ImageJ and Fiji too, a .zip.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Write a picture of each place into this folder.")] = None,
    axes: Axes = None,
    slices: Slices = None,
    unlabelled: Annotated[
        int | None, typer.Option(help="Label value that means 'not labelled'; by default as in training.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which places and parts of large images are looked at.")] = 0,
    device: Device = None,
    missing_chunks: MissingChunks = False,
    force: Force = False,
) -> None:
    """Tell where to label next: places that may be of the classes with the fewest strokes, unlike what is labelled.

    The model is not sure of them, they are unlike each other, and they are spread over the slices. Paint a short stroke
    at each, with the class that you see, and train again. Of very large images a sample is read.
    """
    from eseg_zoo.commands import suggest_files
    from eseg_zoo.inference.predict import Reading

    suggest_files(
        model, images, labels, out=out, rois=rois, pictures=pictures, count=count, unlabelled=unlabelled, seed=seed,
        reading=Reading(axes, missing_chunks=missing_chunks, slices=slices), device=device, force=force,
    )  # fmt: skip


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="Folder of a training, the out of its run.")],
    path: Annotated[
        Path | None, typer.Option("--out", help="File to write; by default report.html in the folder.")
    ] = None,
    force: Force = False,
) -> None:
    """Write the report of a training again: one HTML page that needs no network.

    Every training ends with it; this is for older ones, and for those whose images were not at hand.
    """
    from eseg_zoo.commands import report_file

    plain_console().print(f"{report_file(out, path, force=force)}", soft_wrap=True)


def main() -> None:
    """Entry point of `eseg`."""
    run_app(app)
