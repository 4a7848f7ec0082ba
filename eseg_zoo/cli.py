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

Force = Annotated[bool, typer.Option("--force", help="Replace existing results.")]
Axes = Annotated[
    str | None,
    typer.Option(help="Axes of the images, such as zyx. Default: what the files state, else as in training."),
]
Device = Annotated[
    str | None,
    typer.Option(help="Where to compute: cpu, cuda, cuda:1 or mps. Default: cuda if there is one, else cpu."),
]
Slices = Annotated[str | None, typer.Option(help="First and last slice to use, such as 12-13. The first slice is 0.")]
MissingChunks = Annotated[
    bool,
    typer.Option(
        "--missing-chunks", help="Treat missing parts of an image file as empty. Without it they are an error."
    ),
]
TestTimeAugmentation = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Test-time augmentation: average the maps of all flips and right-angle rotations of the image. It takes 8 "
        "times as long, and 16 times with 3D models.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(min=8, help="Side of the tiles in pixels. Set it if memory runs out. The result is the same."),
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
    files: Annotated[
        list[Path], typer.Argument(help="Images and their label files, in any order, or an ilastik project.")
    ],
    out: Annotated[Path, typer.Option(help="YAML file to write. An existing file is never replaced.")] = Path(
        "run.yaml"
    ),
    labels: Annotated[
        list[Path] | None, typer.Option(help="A label file that would be taken for an image. May be repeated.")
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Axes of the images, such as yxc for colours that are channels. Default: what the files state."
        ),
    ] = None,
) -> None:
    """Write the YAML file of a run, with classes, preset and comments, for these images and labels.

    It looks into the files to find out which of them hold labels. At the end it prints the next commands.
    """
    from eseg_zoo.look.init import write_run

    write_run(files, labels or [], out, axes=axes)
    plain_console().print(f"{out}", soft_wrap=True)
    for line in ("Next:", f"  eseg check {out}", f"  eseg train {out}"):
        plain_console(stderr=True).print(line, soft_wrap=True)


@app.command()
def check(
    run: Annotated[Path, typer.Argument(help="YAML file with the settings of the run.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the findings to this JSON file.")] = None,
    missing_chunks: MissingChunks = False,
    force: Force = False,
) -> None:
    """Check images, labels and settings before a training.

    It prints what was understood of each image, how much is labelled, which strokes are held out, about how long the
    training will take and how much memory it needs, and what will make the model worse. It takes seconds and trains
    nothing; of large images it reads samples. Warnings are not errors: the command fails only where the training would
    refuse the settings or the files.
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
        str | None,
        typer.Argument(help="A section, such as training, or a setting, such as training.steps. Default: all."),
    ] = None,
) -> None:
    """Print the settings of a run: type, default, value in each preset, and meaning."""
    from eseg_zoo.look.settings_page import print_settings

    print_settings(key, plain_console())


@app.command(
    help="Train a model with the settings in the YAML file RUN. The model is OUT/model.pt.\n\n"
    "The smallest file that works:\n\n" + "\n\n".join(SMALLEST_RUN.splitlines())
)
def train(
    run: Annotated[Path, typer.Argument(help="YAML file with the settings of the run.")],
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue an interrupted training. With more steps in RUN, extend a finished one."
        ),
    ] = False,
    start_from: Annotated[
        Path | None,
        typer.Option("--from", help="Start from this model (model.pt or its package) instead of from scratch."),
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
    model: Annotated[Path, typer.Argument(help="A model.pt, or a package of the BioImage Model Zoo.")],
    images: Annotated[
        list[Path], typer.Argument(help="Images: files, folders of planes, an OME-Zarr, or file.h5/dataset.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the maps, or a name that ends in .ome.zarr.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probability of each class, 0 to 1.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write the uncertainty: the normalised entropy, 0 (sure) to 1.")
    ] = False,
    eight_bit: Annotated[
        bool,
        typer.Option(
            "--uint8", help="Write probabilities and uncertainty as 0 to 255, a byte each, instead of float32."
        ),
    ] = False,
    axes: Axes = None,
    slices: Slices = None,
    tile: Tile = None,
    tta: TestTimeAugmentation = False,
    device: Device = None,
    level: Annotated[
        int | None, typer.Option(min=0, help="Resolution level to read of an image with several. 0 is the finest.")
    ] = None,
    missing_chunks: MissingChunks = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Start this many processes on this machine, which predict the tiles.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler whose workers predict the tiles.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a class map for each image, of any size, with class names, colours and pixel size.

    In the folder OUT a map is called NAME_classes.ome.tif, or NAME_classes.ome.zarr where the image is a Zarr or very
    large. If OUT ends in .ome.zarr, it holds the maps of one image. If the command is interrupted, start it again: it
    continues where it was.
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
    model: Annotated[Path, typer.Argument(help="A model.pt, or its package.")],
    images: Annotated[list[Path], typer.Option(help="Image. Repeat the option for several.")],
    labels: Annotated[
        list[Path],
        typer.Option(help="Label file of each image, sparse or dense. One image may have several: repeat the option."),
    ],
    slices: Slices = None,
    unlabelled: Annotated[
        int | None, typer.Option(help="Label value that means 'not labelled'. Default: as in training.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this JSON file.")] = None,
    reliability: Annotated[
        Path | None, typer.Option(help="Draw accuracy against confidence into this .png, .svg or .pdf.")
    ] = None,
    axes: Axes = None,
    tile: Tile = None,
    tta: TestTimeAugmentation = False,
    device: Device = None,
    missing_chunks: MissingChunks = False,
    force: Force = False,
) -> None:
    """Compare predictions with labels: Dice, confusion matrix and calibration, over labelled pixels only.

    Read the calibration only where the labels cover whole regions. A person paints about as many strokes of a rare
    class as of a frequent one, and calibration depends on how frequent the classes are.
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
    model: Annotated[Path, typer.Argument(help="A model.pt, or its package.")],
    images: Annotated[list[Path], typer.Argument(help="Images in which to choose places, of any size.")],
    out: Annotated[
        Path, typer.Option(help="A .csv with points for napari. Of several images each gets one, with its name.")
    ],
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="Label files so far, of each image. Default: what the model remembers of its training."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many places to suggest, for all images together.")] = 10,
    rois: Annotated[
        Path | None, typer.Option(help="Also write the places as ROIs for ImageJ and Fiji, into this .zip.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Also write a picture of each place into this folder.")] = None,
    axes: Axes = None,
    slices: Slices = None,
    unlabelled: Annotated[
        int | None, typer.Option(help="Label value that means 'not labelled'. Default: as in training.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed looks at other places.")] = 0,
    device: Device = None,
    missing_chunks: MissingChunks = False,
    force: Force = False,
) -> None:
    """Suggest where to paint next: places of each class in turn, unlike what is labelled and unlike each other.

    The places are spread over the slices. Paint a short stroke at each, of the class that you see there, and train
    again. Of very large images a sample is read.
    """
    from eseg_zoo.commands import suggest_files
    from eseg_zoo.inference.predict import Reading

    suggest_files(
        model, images, labels, out=out, rois=rois, pictures=pictures, count=count, unlabelled=unlabelled, seed=seed,
        reading=Reading(axes, missing_chunks=missing_chunks, slices=slices), device=device, force=force,
    )  # fmt: skip


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="Folder of a training: what `out` in its run.yaml says.")],
    path: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: report.html in the folder.")
    ] = None,
    force: Force = False,
) -> None:
    """Write the report of a training again: one HTML page that needs no network.

    Every training writes it at its end. Use this command for older trainings, or where the images have moved.
    """
    from eseg_zoo.commands import report_file

    plain_console().print(f"{report_file(out, path, force=force)}", soft_wrap=True)


def main() -> None:
    """Entry point of `eseg`."""
    run_app(app)
