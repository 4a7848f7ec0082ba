"""The whole road on a synthetic volume, by the commands a person would type; leaves a folder with a report."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import tifffile
import typer
import yaml

from eseg_export.report import DemoFigures, write_report
from eseg_zoo.console import plain_console, run_app
from eseg_zoo.data.fluorescence_phantom import CHANNELS, fluorescence_phantom
from eseg_zoo.data.phantom import Phantom, em_phantom, sparse_strokes
from eseg_zoo.errors import EsegError
from eseg_zoo.output import make_folder, refuse_existing

SHAPE = (24, 512, 512)  # z, y, x
TRAINING_SLICES = 20  # the first ones; the others are unseen until the evaluation
LABELLED_FRACTION = 0.0005

console = plain_console()


@dataclass(frozen=True)
class Sample:
    """What a demo is about, and how its model is packed."""

    title: str
    make: Callable[..., Phantom]
    voxel_size: tuple[float, float, float]  # micrometres along z, y, x
    channels: tuple[str, ...]  # none: the image is grey
    template: str


class Kind(StrEnum):
    """What the demo is about."""

    EM = "em"
    FLUORESCENCE = "fluorescence"


SAMPLES = {
    # Voxel sizes of a serial-section EM volume and of a confocal stack.
    Kind.EM: Sample("a synthetic EM volume", em_phantom, (0.05, 0.005, 0.005), (), "em2d"),
    Kind.FLUORESCENCE: Sample(
        "a synthetic fluorescence volume", fluorescence_phantom, (0.6, 0.2, 0.2), CHANNELS, "fluorescence2d"
    ),
}


def make_inputs(folder: Path, sample: Sample, *, seed: int, steps: int) -> Phantom:
    """Write `volume.tif`, `strokes.tif`, `truth.tif` and `run.yaml` into `folder`; returns the phantom."""
    phantom = sample.make(SHAPE, rng=np.random.default_rng(seed))
    strokes = np.zeros(SHAPE, np.uint8)
    painted = slice(0, TRAINING_SLICES)
    rng = np.random.default_rng(seed + 1)
    strokes[painted] = sparse_strokes(phantom.truth[painted], fraction=LABELLED_FRACTION, rng=rng)
    z, y, x = sample.voxel_size
    axes = "zcyx" if sample.channels else "zyx"
    for name, array in {"volume": phantom.image, "strokes": strokes, "truth": phantom.truth}.items():
        tifffile.imwrite(
            folder / f"{name}.tif",
            array,
            imagej=True,
            resolution=(1 / x, 1 / y),
            metadata={"axes": axes.upper() if name == "volume" else "ZYX", "spacing": z, "unit": "micron"},
            compression="zlib",
        )
    settings = {
        "images": "volume.tif",
        "labels": "strokes.tif",
        "axes": axes,
        **({"channels": list(sample.channels)} if sample.channels else {}),
        "classes": phantom.classes,
        "preset": "small",
        "out": "training",
        "slices": {"training": f"0-{TRAINING_SLICES - 1}"},
        "training": {"steps": max(steps // 3, 1)},
        "semi_supervised": {"steps": steps - steps // 3},
        "seed": seed,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return phantom


def call(program: str, *arguments: str | Path) -> None:
    """Run one of the package's programs as a person would, showing the command; an error ends the demo."""
    words = [program, *map(str, arguments)]
    console.print(f"\n$ {shlex.join(words)}", style="bold", soft_wrap=True)
    done = subprocess.run([Path(sys.executable).with_name(program), *words[1:]], check=False)
    if done.returncode:
        raise EsegError(f"{program} ended with exit code {done.returncode}")


def run_demo(
    kind: Annotated[Kind, typer.Option(help="Make a volume like this.")] = Kind.EM,
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the volume, the strokes and the training.")] = 0,
    steps: Annotated[int, typer.Option(min=3, help="Training steps; fewer are faster and worse.")] = 800,
    force: Annotated[bool, typer.Option("--force", help="Replace the results of an earlier demo.")] = False,
) -> None:
    """Make a volume like EM or two-channel fluorescence, label 0.05 % of it, and go the whole road with it.

    It trains, evaluates, predicts, exports and verifies by the commands that it shows, and writes a report.
    """
    started = time.monotonic()
    report = out / "report.html"
    refuse_existing(report, force=force)
    make_folder(out)
    sample = SAMPLES[kind]
    phantom = make_inputs(out, sample, seed=seed, steps=steps)
    replace = ["--force"] if force else []
    model, package = out / "training" / "model.pt", out / "model.zip"
    unseen = f"{TRAINING_SLICES}-{SHAPE[0] - 1}"
    call("eseg", "train", out / "run.yaml", *replace)
    call(
        "eseg", "evaluate", model, "--images", out / "volume.tif", "--labels", out / "truth.tif",
        "--slices", unseen, "--json", out / "evaluation.json",
        "--reliability", out / "reliability.png", *replace,
    )  # fmt: skip
    call("eseg", "predict", model, out / "volume.tif", "--out", out / "maps", "--uncertainty", *replace)
    call("eseg-export", "--ckpt", model, "--template", sample.template, "--out", package, *replace)
    maps = out / "maps"
    figures = DemoFigures(
        title=sample.title,
        phantom=phantom,
        channels=sample.channels,
        strokes=tifffile.imread(out / "strokes.tif"),
        prediction=tifffile.imread(maps / "volume_classes.ome.tif").reshape(SHAPE),
        uncertainty=tifffile.imread(maps / "volume_uncertainty.ome.tif").reshape(SHAPE),
        unseen=SHAPE[0] - 1,
        training=TRAINING_SLICES // 2,
        evaluation=json.loads((out / "evaluation.json").read_text(encoding="utf-8")),
        reliability=out / "reliability.png",
        metrics=[out / "training" / stage / "metrics.csv" for stage in ("supervised", "semi_supervised")],
        package=package,
    )
    difference = write_report(report, figures, model)
    console.print(
        f"\nmean Dice on unseen slices {figures.evaluation['mean_dice']:.3f}; the package in bioimageio.core differs "
        f"from the checkpoint by at most {difference:.1e}; {time.monotonic() - started:.0f} s in all\n{report}",
        soft_wrap=True,
    )


def main() -> None:
    """Entry point of `eseg-demo`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(run_demo)
    run_app(app)
