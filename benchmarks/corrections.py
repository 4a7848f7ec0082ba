"""What the correction does to weak models: none, the earlier one, and today's, judged on dense labels.

Trains short and interrupted runs on three data sets, and some longer ones, and keeps of each the logits that a
correction sees (held-out labels, unlabelled pixels) and those that it is judged by (dense labels of unseen sections). A
model whose file exists is not trained again; after a change of `eseg_zoo/calibration` the table takes seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray
from rich.console import Console
from scipy.special import softmax

from earlier_correction import earlier_correction
from eseg_zoo.calibration.correction import HeldOut, fit_correction
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import load_run
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.network import Predictor
from eseg_zoo.metrics import Confusion, Reliability
from eseg_zoo.output import replacing
from eseg_zoo.patches.sections import sections_of
from eseg_zoo.progress import Progress, Watch
from eseg_zoo.training import finish
from eseg_zoo.training.run import train_run
from learners import logits_of_section, merged
from report import Report
from vnc import CLASSES, TRAINING, UNSEEN, thin_labels

# Every so many pixels along y and x a dense label is compared: neighbours say the same.
JUDGED_STEP = 2
AXONS = {1: "background", 2: "myelin", 3: "axon"}
NUCLEI = {1: "background", 2: "nucleus", 3: "border"}


@dataclass(frozen=True)
class Training:
    """A run of the supervised stage; each of `stops` gives a model, those before the last are interruptions."""

    data: str  # a key of `WRITERS`
    per_class: int  # labels of each class and slice (vnc); the other data sets have their own
    held_out: int  # the same for validation; 0 holds out a tenth of the strokes
    seed: int
    stops: tuple[int, ...]  # steps

    def name(self, stop: int) -> str:
        """Return the name of the model at this stop."""
        kind = "" if stop == self.stops[-1] else f"-of-{self.stops[-1]}"
        return f"{self.data}-{self.per_class}-{self.held_out}-seed{self.seed}-{stop}{kind}"


# Weak models first; the last stops of the long ones are the strong models.
TRAININGS = (
    Training("vnc", 1, 0, 0, (60,)),
    Training("vnc", 1, 5, 1, (100,)),
    Training("vnc", 2, 100, 2, (60,)),
    Training("scribbles", 0, 0, 3, (100,)),
    Training("vnc", 5, 0, 4, (90,)),
    Training("vnc", 5, 100, 5, (100,)),
    Training("axons", 20, 0, 0, (60,)),
    Training("nuclei", 5, 0, 0, (60,)),
    Training("vnc", 5, 100, 0, (60, 150, 600)),
    Training("vnc", 1, 100, 6, (100, 300)),
    Training("vnc", 2, 0, 7, (60,)),
    Training("axons", 20, 0, 1, (100,)),
    Training("nuclei", 5, 0, 1, (100,)),
    Training("scribbles", 0, 3, 8, (60,)),
    Training("vnc", 5, 5, 1, (60, 120, 600)),
    Training("vnc", 1, 0, 9, (150,)),
    Training("nuclei", 5, 0, 2, (120, 500)),
    Training("axons", 20, 0, 2, (90, 500)),
    Training("vnc", 5, 0, 11, (100, 450)),
    Training("axons", 20, 0, 12, (60,)),
    Training("nuclei", 5, 0, 20, (60,)),
    Training("vnc", 1, 0, 21, (60,)),
    Training("axons", 20, 0, 22, (60,)),
    Training("vnc", 2, 0, 23, (90,)),
    Training("nuclei", 5, 0, 24, (90,)),
    Training("scribbles", 0, 0, 25, (80,)),
    Training("vnc", 5, 0, 26, (60, 120)),
    Training("axons", 20, 0, 27, (90,)),
    Training("nuclei", 5, 0, 28, (120,)),
    Training("vnc", 5, 100, 29, (60,)),
)
STRONG = 400  # steps from which a model counts as strong
LOST = 0.05  # Dice that a class must have without a correction, to be asked how much of it is kept
KINDS = ("none", "earlier", "now")
NOTE = (
    "Mean Dice over dense labels of unseen images, every second pixel along y and x. A model's name says data, labels "
    "of each class and slice, the same held out (0: a tenth of the strokes), seed, and steps; `60-of-600` was "
    "interrupted. *Class kept* is the Dice with the correction over that without, of the class where it is least."
)


@dataclass(frozen=True)
class Logits:
    """What a correction sees of a model, and what it is judged by."""

    held_out: HeldOut
    unlabelled: list[NDArray[np.float32]]  # (pixels, classes) of each section
    judged: NDArray[np.float32]  # (pixels, classes)
    truth: NDArray[np.int64]  # (pixels,)

    @property
    def strokes(self) -> NDArray[np.integer]:
        """The strokes of the held-out labels (pixels,)."""
        assert self.held_out.strokes is not None, "training gives them"
        return self.held_out.strokes

    @classmethod
    def read(cls, path: Path) -> Logits:
        """Return what `write` wrote."""
        with np.load(path) as found:
            held_out = HeldOut(found["logits"], found["labels"], found["strokes"])
            unlabelled = np.split(found["unlabelled"], np.cumsum(found["lengths"])[:-1])
            return cls(held_out, unlabelled, found["judged"].astype(np.float32), found["truth"])

    def write(self, path: Path) -> None:
        """Write them to an NPZ file."""
        known = self.held_out
        np.savez_compressed(
            path, logits=known.logits, labels=known.labels, strokes=self.strokes,
            unlabelled=np.concatenate(self.unlabelled), lengths=[len(one) for one in self.unlabelled],
            judged=self.judged.astype(np.float16), truth=self.truth,
        )  # fmt: skip


def vnc_files(data: Path, training: Training, folder: Path) -> dict[str, Any]:
    """Write the labels of a run on the VNC data, points or scribbles; return its settings."""
    kind = "scribbles" if training.data == "scribbles" else "points"
    labels = tifffile.imread(data / f"vnc/labels_{kind}.tif")
    if training.per_class:
        labels = thin_labels(labels, TRAINING, training.per_class, training.seed)
    points = tifffile.imread(data / "vnc/labels_points.tif")
    labels[list(UNSEEN)] = thin_labels(points, UNSEEN, training.held_out, training.seed)[list(UNSEEN)]
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack", compression="zlib")
    slices = {"training": "0-11"} | ({"validation": "12-13"} if training.held_out else {})
    image = str((data / "vnc/raw.tif").resolve())
    return {"images": image, "labels": "labels.tif", "axes": "zyx", "slices": slices, "classes": CLASSES}


def axon_files(data: Path, training: Training, folder: Path) -> dict[str, Any]:
    """Return the settings of a run on the axons: two images with 60 labels each."""
    names = [str((data / "axons" / name).resolve()) for name in ("rat3_data9", "rat3_data10")]
    return {
        "images": [f"{name}.ome.tif" for name in names],
        "labels": [f"{name}_points.tif" for name in names],
        "classes": AXONS,
    }


def nuclei_files(data: Path, training: Training, folder: Path) -> dict[str, Any]:
    """Return the settings of a run on the nuclei: 15 labels in each of 16 slices."""
    found = {
        key: str((data / "nuclei" / name).resolve())
        for key, name in (("images", "raw.tif"), ("labels", "labels_points.tif"))
    }
    return {**found, "axes": "zyx", "slices": {"training": "0-15"}, "classes": NUCLEI}


WRITERS = {"vnc": vnc_files, "scribbles": vnc_files, "axons": axon_files, "nuclei": nuclei_files}


def unseen(data: Path, kind: str) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield the images (y, x) that a model is judged by, with their dense labels."""
    if kind == "axons":
        name = data / "axons/rat3_data11"
        yield tifffile.imread(f"{name}.ome.tif"), tifffile.imread(f"{name}_dense.tif")
        return
    folder, slices = (data / "nuclei", range(16, 24)) if kind == "nuclei" else (data / "vnc", UNSEEN)
    raw, dense = tifffile.imread(folder / "raw.tif"), tifffile.imread(folder / "labels_dense.tif")
    yield from ((raw[z], dense[z]) for z in slices)


def make_models(data: Path, training: Training, out: Path) -> None:
    """Train, and write the logits of the model at each stop."""
    if all((out / f"{training.name(stop)}.npz").exists() for stop in training.stops):
        return
    folder = out / training.name(training.stops[-1])
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "out": ".", "preset": "small", "seed": training.seed, "semi_supervised": {"steps": 0},
        "training": {"steps": training.stops[-1], "epoch_steps": 30, "accelerator": "cpu"},
    }  # fmt: skip
    run = folder / "run.yaml"
    settings = merged(settings, WRITERS[training.data](data, training, folder))
    run.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    for number, stop in enumerate(training.stops):
        with mock.patch.object(finish, "fit_correction", wraps=fit_correction) as called:
            model = train_run(
                load_run(run), force=number == 0, resume=number > 0, watch=Watch(partial(_stop_after, stop))
            )
        held_out, unlabelled = called.call_args.args
        correction = fit_correction(*called.call_args.args, **called.call_args.kwargs)
        checkpoint = Checkpoint.load(model)
        # What the finished network returns has the biases in it.
        added = (correction.temperature * correction.biases).astype(np.float32)
        judged, truth = zip(*(_judged(checkpoint, *pair) for pair in unseen(data, training.data)), strict=True)
        found = Logits(held_out, unlabelled, np.concatenate(judged) - added, np.concatenate(truth))
        found.write(out / f"{training.name(stop)}.npz")
        print(training.name(stop), flush=True)


def _stop_after(steps: int, progress: Progress) -> None:
    if progress.is_validated and progress.done >= steps and progress.done < progress.total:
        progress.stop()


def _judged(
    checkpoint: Checkpoint, image: NDArray[np.uint8], dense: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the logits (pixels, classes) of an image and the class index of each, of every few pixels."""
    section = sections_of(open_image(image, axes="yx"), 2)[0]
    step = (slice(None, None, JUDGED_STEP),) * 2
    logits = logits_of_section(Predictor(checkpoint, device="cpu"), section)[(slice(None), *step)]
    return logits.reshape(len(logits), -1).T, dense[step].ravel().astype(np.int64) - 1


@dataclass(frozen=True)
class Line:
    """One model: the Dice of each class (classes,) and the calibration error, by what was done to its logits."""

    name: str
    strokes: int  # held out
    dice: dict[str, NDArray[np.float64]]
    calibration: dict[str, float]

    def gain(self, kind: str) -> float:
        """Return what a correction adds to the mean Dice."""
        return float(self.dice[kind].mean() - self.dice["none"].mean())

    def kept(self, kind: str) -> float:
        """Return the Dice with over that without a correction, of the class where this is least.

        Classes whose Dice is below 0.05 without are left out: they have nothing to lose.
        """
        before = self.dice["none"]
        return float((self.dice[kind][before > LOST] / before[before > LOST]).min())


def compare(name: str, found: Logits) -> Line:
    """Return what each correction does to a model."""
    temperature, biases, shift = earlier_correction(found.held_out, np.concatenate(found.unlabelled))
    now = fit_correction(found.held_out, found.unlabelled)
    scores: dict[str, NDArray[np.floating]] = {
        "none": found.judged,
        "earlier": found.judged / temperature + biases + shift,
        "now": now.calibrate(found.judged.T).T + now.shift,
    }
    classes = found.judged.shape[1]
    dice = {key: Confusion.of(found.truth, one.argmax(1), classes=classes).dice for key, one in scores.items()}
    errors = {
        key: Reliability.of(found.truth, softmax(one, axis=1).T.astype(np.float32)).error for key, one in scores.items()
    }
    return Line(name, len(np.unique(found.strokes)), dice, errors)


def report(lines: Sequence[Line], title: str) -> Report:
    """Return the table of the models."""
    rows = []
    for line in lines:
        means = [f"{line.dice[key].mean():.3f}" for key in KINDS]
        kept = [f"{line.kept(key):.2f}" for key in KINDS[1:]]
        rows.append([line.name, str(line.strokes), *means, *kept, *(f"{line.calibration[key]:.3f}" for key in KINDS)])
    gains = [f"{np.mean([line.gain(key) for line in lines]):+.3f}" for key in KINDS]
    least = [f"{min(line.gain(key) for line in lines):+.3f}" for key in KINDS]
    kept = [f"{min(line.kept(key) for line in lines):.2f}" for key in KINDS[1:]]
    errors = [f"{np.mean([line.calibration[key] for line in lines]):.3f}" for key in KINDS]
    rows += [["mean gain", "", *gains, "", "", *errors], ["least", "", *least, *kept, "", "", ""]]
    header = ["model", "held-out strokes", *(f"mean Dice, {key}" for key in KINDS)]
    header += [*(f"class kept, {key}" for key in KINDS[1:]), *(f"calibration error, {key}" for key in KINDS)]
    return Report(title, NOTE, header, rows)


def main() -> None:
    """Train what is missing, and print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds vnc, axons and nuclei")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/corrections"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    weak: list[Line] = []
    strong: list[Line] = []
    for training in TRAININGS:
        make_models(options.data, training, options.out)
        for stop in training.stops:
            line = compare(training.name(stop), Logits.read(options.out / f"{training.name(stop)}.npz"))
            (strong if stop >= STRONG else weak).append(line)
    reports = [report(weak, "Weak models"), report(strong, "Stronger models")]
    for made in reports:
        made.show(Console(width=180))
    with replacing(options.out / "tables.md", force=True) as temporary:
        temporary.write_text("\n".join(made.markdown() for made in reports), encoding="utf-8")


if __name__ == "__main__":
    main()
