"""The methods that are compared: each learns from one row's labels and is judged on the unseen slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray

import unet
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import load_run
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import logits_of_window, tile_size, tiles_of
from eseg_zoo.patches.sections import Section, sections_of
from eseg_zoo.training.run import train_run
from forest import PixelForest
from multiply_adds import prediction_cost
from rows import Outcome, Row
from vnc import CLASSES, TRAINING, UNSEEN, VOXEL_SIZE, Judged, Volume, judge, judge_method


def learn(data: Path, row: Row, folder: Path) -> Outcome:
    """Return the outcome of one row on the VNC data in `data`; files of the run go to `folder`."""
    return LEARNERS[row.learner](Volume.read(data), row, folder)


def merged(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the overrides, which may go into nested blocks."""
    both = dict(settings)
    for key, value in overrides.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = merged(both[key], value) if nested else value
    return both


def _labelled_pixels(labels: NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(labels[list(TRAINING)]))


def learn_network(volume: Volume, row: Row, folder: Path) -> Outcome:
    """Train the small preset as a user would; the correction is its own."""
    labels = volume.draw(row.labels, row.per_class, row.draw)
    _write(folder / "labels.tif", labels)
    files = {
        "images": str((volume.folder / "raw.tif").resolve()),
        "labels": "labels.tif",
        "axes": "zyx",
        "slices": {"training": _span(TRAINING), "validation": _span(UNSEEN)},
    }
    return _train_and_judge(volume, row, folder, files, labelled=_labelled_pixels(labels))


def learn_network_alone(volume: Volume, row: Row, folder: Path) -> Outcome:
    """Train the small preset on the drawn labels and no others: it validates and calibrates on a tenth of them."""
    labels = volume.draw(row.labels, row.per_class, row.draw)
    labels[list(UNSEEN)] = 0
    _write(folder / "labels.tif", labels)
    files = {
        "images": str((volume.folder / "raw.tif").resolve()),
        "labels": "labels.tif",
        "axes": "zyx",
        "slices": {"training": _span(TRAINING)},
    }
    return _train_and_judge(volume, row, folder, files, labelled=_labelled_pixels(labels))


def learn_neighbours(volume: Volume, row: Row, folder: Path) -> Outcome:
    """Train the small preset on slices with their neighbours as channels: 2.5D."""
    labels = volume.draw(row.labels, row.per_class, row.draw)
    _write(folder / "raw.tif", with_neighbours(volume.raw))
    _write(folder / "labels.tif", labels)
    files = {
        "images": "raw.tif",
        "labels": "labels.tif",
        "axes": "zcyx",
        "channels": ["before", "slice", "after"],
        "slices": {"training": _span(TRAINING), "validation": _span(UNSEEN)},
    }
    return _train_and_judge(volume, row, folder, files, labelled=_labelled_pixels(labels))


def with_neighbours(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (z, 3, y, x): the slice before, the slice, the slice after; the ends stand in for what is not there."""
    padded = np.concatenate([raw[:1], raw, raw[-1:]])
    return np.stack([padded[:-2], raw, padded[2:]], axis=1)


def learn_volume(volume: Volume, row: Row, folder: Path) -> Outcome:
    """Train the small preset of a 3D network on two volumes of twelve slices: 0-11, and 2-13 for validation.

    The second has labels in slices 12-13 alone, with the images of the slices before them as context, which they have
    when a whole stack is predicted.
    """
    labels = volume.draw(row.labels, row.per_class, row.draw)
    learnt, held_out = labels[list(TRAINING)], np.zeros_like(labels)
    held_out[list(UNSEEN)] = labels[list(UNSEEN)]
    seen = slice(-len(TRAINING), None)
    _write(folder / "raw.tif", np.stack([volume.raw[list(TRAINING)], volume.raw[seen]]))
    _write(folder / "labels.tif", np.stack([learnt, held_out[seen]]))
    files = {
        "images": "raw.tif",
        "labels": "labels.tif",
        "axes": "tzyx",
        "slices": {"training": "0-0", "validation": "1-1"},
        "network": {"dims": 3},
        "voxel_size": VOXEL_SIZE,
    }
    return _train_and_judge(volume, row, folder, files, labelled=_labelled_pixels(labels))


def _write(path: Path, stack: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path, stack, photometric="minisblack", compression="zlib")


def _train_and_judge(volume: Volume, row: Row, folder: Path, files: Mapping[str, Any], *, labelled: int) -> Outcome:
    """Train on the CPU with the row's settings over those of the preset and of the files."""
    settings = {
        "classes": CLASSES,
        "preset": "small",
        "out": ".",
        "training": {"accelerator": "cpu"},
        "seed": row.seed,
        **files,
    }
    run = folder / "run.yaml"
    run.write_text(yaml.safe_dump(merged(settings, row.settings), sort_keys=False), encoding="utf-8")
    started = time.process_time()
    model = train_run(load_run(run), force=True)
    seconds = time.process_time() - started
    checkpoint = Checkpoint.load(model)
    judged = judge_checkpoint(checkpoint, volume)
    return Outcome(
        argmax=judged.argmax,
        corrected=judged.corrected,
        cpu_seconds=seconds,
        labelled_pixels=labelled,
        parameters=sum(p.numel() for p in checkpoint.segmenter().parameters()),
        multiply_adds=prediction_cost(checkpoint.architecture) if checkpoint.dims == 2 else None,
    )


def _span(slices: range) -> str:
    return f"{slices.start}-{slices.stop - 1}"


def judge_checkpoint(checkpoint: Checkpoint, volume: Volume) -> Judged:
    """Return the judgement of a trained model as it is, and without its correction for class frequencies."""
    predictor = Predictor(checkpoint, device="cpu")
    stack = volume.raw[:, None] if checkpoint.architecture.channels == 1 else with_neighbours(volume.raw)
    sections = sections_of(open_image(stack, axes="zcyx"), checkpoint.dims)
    if checkpoint.dims == 3:
        logits = logits_of_section(predictor, sections[0])[:, list(UNSEEN)].swapaxes(0, 1)
    else:
        logits = np.stack([logits_of_section(predictor, sections[z]) for z in UNSEEN])
    shift = predictor.segmenter.log_prior_shift.numpy().reshape(-1, 1, 1)
    truth = volume.labels["dense"][list(UNSEEN)]
    return Judged(judge(logits, truth), judge(logits / float(predictor.segmenter.temperature) + shift, truth))


def logits_of_section(predictor: Predictor, section: Section) -> NDArray[np.float32]:
    """Return class-balanced logits (classes, *space) of a section."""
    shape = predictor.checkpoint.architecture
    logits = np.empty((shape.classes, *section.space), np.float32)
    for window in tiles_of(section.space, tile_size(shape, section.space)):
        logits[(slice(None), *window)] = logits_of_window(predictor, section, window)
    return logits


def learn_forest(volume: Volume, row: Row, folder: Path) -> Outcome:
    """Train the random forest on the same labels and give it the common correction."""
    labels, slices = volume.draw(row.labels, row.per_class, row.draw), list(TRAINING)
    forest = PixelForest(seed=row.seed)
    started = time.process_time()
    forest.fit(volume.raw[slices], labels[slices], len(CLASSES))
    seconds = time.process_time() - started
    judged = judge_method(lambda image: np.log(forest.predict_probabilities(image) + 1e-6), volume)
    return Outcome(judged.argmax, judged.corrected, seconds, _labelled_pixels(labels))


def learn_unet(volume: Volume, row: Row, folder: Path) -> Outcome:
    """Train the U-Net on the same labels, with anchors of every class equally often."""
    labels = volume.draw(row.labels, row.per_class, row.draw).astype(np.int16) - 1
    return _learn_unet(volume, row, labels, unet.near_labels(labels[list(TRAINING)]))


def learn_dense_unet(volume: Volume, row: Row, folder: Path) -> Outcome:
    """Train the U-Net on every pixel of the training slices; each class weighs as much as any other."""
    labels = volume.draw(row.labels, row.per_class, row.draw).astype(np.int16) - 1
    training = labels[list(TRAINING)]
    frequencies = np.bincount(training[training >= 0], minlength=len(CLASSES)) / np.count_nonzero(training >= 0)
    return _learn_unet(volume, row, labels, unet.anywhere(training), weights=1 / frequencies)


def _learn_unet(
    volume: Volume,
    row: Row,
    labels: NDArray[np.int16],
    draw: unet.DrawPlaces,
    *,
    weights: NDArray[np.float64] | None = None,
) -> Outcome:
    training, unseen = (unet.Examples(volume.raw[list(part)], labels[list(part)]) for part in (TRAINING, UNSEEN))
    started = time.process_time()
    trained = unet.train_beside_preset(
        training, unseen, draw, classes=len(CLASSES), steps=row.settings.get("training", {}), seed=row.seed,
        weights=weights,
    )  # fmt: skip
    seconds = time.process_time() - started
    judged = judge_method(trained.logits, volume)
    parameters = sum(p.numel() for p in trained.network.parameters())
    labelled = _labelled_pixels((labels + 1).astype(np.uint8))
    cost = unet.cost(trained.network.width, len(CLASSES))
    return Outcome(judged.argmax, judged.corrected, seconds, labelled, parameters, cost)


LEARNERS: dict[str, Callable[[Volume, Row, Path], Outcome]] = {
    "network": learn_network,
    "network-alone": learn_network_alone,
    "neighbours": learn_neighbours,
    "volume": learn_volume,
    "forest": learn_forest,
    "unet": learn_unet,
    "dense-unet": learn_dense_unet,
}
