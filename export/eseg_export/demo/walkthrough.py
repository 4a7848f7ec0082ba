"""The whole road on a synthetic volume, by the commands a person would type; leaves a folder with a report."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import yaml

from eseg_export.demo import Kind
from eseg_export.demo.em import em_phantom
from eseg_export.demo.fluorescence import CHANNELS, fluorescence_phantom
from eseg_export.demo.phantom import Phantom
from eseg_export.demo.report import write_report
from eseg_export.demo.strokes import sparse_strokes
from eseg_zoo.console import plain_console
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
    """Run one of the package's programs as a person would, showing the command.

    Raises `EsegError` when it fails, or is not installed for this Python.
    """
    words = [program, *map(str, arguments)]
    console.print(f"\n$ {shlex.join(words)}", style="bold", soft_wrap=True)
    folders = sysconfig.get_path("scripts"), str(Path(sys.executable).parent)
    installed = shutil.which(program, path=os.pathsep.join(folders))
    if installed is None:
        raise EsegError(f"{program} is not installed in {' or '.join(dict.fromkeys(folders))}")
    done = subprocess.run([installed, *words[1:]], check=False)
    if done.returncode:
        raise EsegError(f"{program} ended with exit code {done.returncode}")


@dataclass(frozen=True)
class Walk:
    """What came out of a demo."""

    report: Path
    mean_dice: float  # on the slices that training never saw
    difference: float  # largest, in probability, between the package in bioimageio.core and the checkpoint
    seconds: float


def walk_through(kind: Kind, out: Path, *, seed: int, steps: int, force: bool) -> Walk:
    """Make the inputs in `out`, then train, evaluate, predict and export by the commands, and write the report.

    `steps` are those of both stages of the training together. Raises `OutputError` when there is a report already and
    `force` is not set, and `EsegError` when a command fails.
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
    call(
        "eseg-export", "--ckpt", model, "--template", sample.template, "--evaluation", out / "evaluation.json",
        "--out", package, *replace,
    )  # fmt: skip
    difference = write_report(report, out, phantom, title=sample.title, unseen=SHAPE[0] - 1)
    figures = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    return Walk(report, figures["mean_dice"], difference, time.monotonic() - started)
