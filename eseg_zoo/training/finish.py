"""What is done with trained weights: they are corrected, and become the checkpoint with all it needs beside them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import softmax

from eseg_zoo.calibration.correction import Correction, HeldOut, fit_correction
from eseg_zoo.checkpoint import Checkpoint, Class, TrainingRecord
from eseg_zoo.config import Run
from eseg_zoo.inference.network import prepare
from eseg_zoo.labels.landmarks import landmarks_of
from eseg_zoo.losses import Anchors
from eseg_zoo.metrics import Confusion, Reliability
from eseg_zoo.model.architecture import Architecture, Geometry
from eseg_zoo.model.dense import Classifier, DenseSegmenter
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.patches.source import Batch
from eseg_zoo.training.batches import validation_anchors
from eseg_zoo.training.data import TrainingData

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What EM sees of the training images: sections spread over the stack, and of each the centre.

    Of that it sees every few pixels along each axis, because neighbours say the same. Sides and steps are by the
    spatial rank.
    """

    sections: int
    side: Mapping[int, int]
    step: Mapping[int, int]


THOROUGH = Look(8, {2: 768, 3: 96}, {2: 5, 3: 3})
# A tenth of the pixels, for models that are looked at while they learn.
QUICK = Look(8, {2: 240, 3: 48}, {2: 3, 3: 3})
# Side of the sample in the checkpoint, in 3D of a cube of as many voxels: large enough to look at, small to ship.
SAMPLE_SIDE = {2: 512, 3: 64}


def finish(
    run: Run,
    data: TrainingData,
    held_out_patches: Sequence[Batch],
    hvae: HVAE,
    architecture: Architecture,
    *,
    steps: int,
    seconds: float,
    look: Look = THOROUGH,
    machine: str = "",
    command: str = "",
) -> Checkpoint:
    """Return the finished model: statistics, temperature and class-frequency correction go into its network.

    The class frequencies follow from what `look` sees. The figures in its record are those of this model, on the
    held-out labelled pixels. `machine` and `command` say what trained it.
    """
    segmenter = DenseSegmenter.of(architecture)
    segmenter.classifier.load_state_dict(hvae.classifier.state_dict())
    segmenter.mean.copy_(torch.from_numpy(data.statistics.mean).reshape(segmenter.mean.shape))
    segmenter.std.copy_(torch.from_numpy(data.statistics.std).reshape(segmenter.std.shape))
    strokes = validation_anchors(data.validation, run).strokes
    held_out = _held_out(hvae.classifier, held_out_patches, strokes, architecture)
    correction = _correction(run, data, segmenter, held_out, look)
    _add_to_logits(segmenter.classifier, correction.temperature * correction.biases)
    segmenter.temperature.fill_(correction.temperature)
    segmenter.log_prior_shift.copy_(torch.from_numpy(correction.shift).reshape(segmenter.log_prior_shift.shape))
    return Checkpoint(
        architecture=architecture,
        segmenter_state=segmenter.state_dict(),
        generative_state=hvae.generative_state(),
        classes=tuple(
            Class(name, value, frequency, colour)
            for (value, name), frequency, colour in zip(
                run.classes.items(), correction.frequencies.tolist(), data.colours, strict=True
            )
        ),
        frequency_source={"estimate": "estimated", "balanced": "balanced"}.get(str(run.frequencies), "given"),
        channel_names=data.channel_names,
        axes=data.images[0].axes,
        voxel_size=data.voxel_size,
        image_dtype=data.dtype.name,
        sample=torch.from_numpy(_sample(data, sample_size(architecture.geometry))),
        settings=run.model_dump(mode="json"),
        training=TrainingRecord(
            seconds=seconds,
            steps=steps,
            labelled_pixels=_pixels(data.training.labels, run),
            labelled_fraction=data.labelled_fraction,
            validation_pixels=_pixels(held_out.labels, run),
            validation=_figures(held_out, correction, run),
            landmarks=landmarks_of(data.sections, data.training),
            versions={package: version(package) for package in ("eseg_zoo", "torch", "lightning", "numpy")},
            strokes=_distinct(data.training.labels, data.training.strokes, run),
            slices=_distinct(data.training.labels, data.training.places[:, 0], run),
            validation_strokes=_distinct(held_out.labels, strokes, run),
            confusion=_confusion(held_out, correction).counts.tolist() if len(held_out.labels) else [],
            reliability=_reliability(held_out, correction),
            expected_dice=_expected_dice(correction, run),
            machine=machine,
            command=command,
        ),
    )


def _pixels(labels: NDArray[np.integer], run: Run) -> dict[str, int]:
    """Return how many of these class indices are of each class."""
    counts = np.bincount(labels, minlength=len(run.classes))
    return dict(zip(run.classes.values(), counts.tolist(), strict=True))


def _distinct(labels: NDArray[np.integer], of: NDArray[np.integer], run: Run) -> dict[str, int]:
    """Return how many different strokes or sections, `of` each pixel, the pixels of each class are of."""
    return {name: len(np.unique(of[labels == index])) for index, name in enumerate(run.classes.values())}


def _scores(held_out: HeldOut, correction: Correction) -> NDArray[np.floating]:
    """Return what the corrected model gives the held-out pixels, (pixels, classes)."""
    return correction.calibrate(held_out.logits.T).T + correction.shift


def _confusion(held_out: HeldOut, correction: Correction) -> Confusion:
    return Confusion.of(held_out.labels, _scores(held_out, correction).argmax(1), classes=len(correction.frequencies))


def _reliability(held_out: HeldOut, correction: Correction) -> dict[str, list[list[float]]]:
    """Return the reliability on the held-out pixels, with and without the temperature; nothing where there are none.

    The classes are as frequent there as people painted them, so the class frequencies of the data are left out.
    """
    if not len(held_out.labels):
        return {}
    logits = {"with": correction.calibrate(held_out.logits.T), "without": held_out.logits.T}
    found = {kind: Reliability.of(held_out.labels, softmax(each, axis=0)) for kind, each in logits.items()}
    return {kind: np.stack([one.pixels, one.right, one.confidences], axis=1).tolist() for kind, one in found.items()}


def _expected_dice(correction: Correction, run: Run) -> dict[str, list[float]]:
    """Return the Dice of each class that is expected in the data: without a shift, with the one chosen, the whole."""
    expected = correction.chosen
    columns = zip(expected.none.tolist(), expected.chosen.tolist(), expected.full.tolist(), strict=True)
    return dict(zip(run.classes.values(), map(list, columns), strict=True))


def _figures(held_out: HeldOut, correction: Correction, run: Run) -> dict[str, float]:
    """Return how the corrected model does on the held-out pixels; nothing where there are none."""
    if not len(held_out.labels):
        return {}
    scores = torch.from_numpy(_scores(held_out, correction))
    confusion = _confusion(held_out, correction)
    loss = F.cross_entropy(scores, torch.from_numpy(held_out.labels))
    dice = zip(run.classes.values(), confusion.dice.tolist(), confusion.pixels, strict=True)
    figures = {f"dice/{name}": value for name, value, pixels in dice if pixels}
    return {"mean_dice": confusion.mean_dice, "loss": float(loss)} | figures


def _correction(run: Run, data: TrainingData, segmenter: DenseSegmenter, held_out: HeldOut, look: Look) -> Correction:
    """Return the correction that the run asks for."""
    given = None
    if run.frequencies == "balanced":
        given = np.full(len(run.classes), 1 / len(run.classes))
    elif isinstance(run.frequencies, dict):
        given = np.array([run.frequencies[name] for name in run.classes.values()])
        given = given / given.sum()
    unlabelled = _unlabelled_logits(data, segmenter, look)
    found = fit_correction(held_out, unlabelled, frequencies=given, limit=run.prior_strength)
    # Of a model that is looked at while it learns, nobody wants to read this again and again.
    if look is THOROUGH and (weakened := found.tell_weakening(list(run.classes.values()))):
        log.warning("The correction for class frequencies has the strength %s.", weakened)
    return found


def _add_to_logits(classifier: Classifier, amounts: NDArray[np.float64]) -> None:
    """Add `amounts` (classes,) to what the classifier returns, in its last layer."""
    bias = classifier.head.classify.bias
    assert isinstance(bias, torch.Tensor)
    with torch.no_grad():
        bias += torch.from_numpy(amounts).to(bias)


def _held_out(
    classifier: Classifier, patches: Sequence[Batch], strokes: NDArray[np.integer], architecture: Architecture
) -> HeldOut:
    """Return the held-out labelled pixels, which are of these strokes."""
    logits, labels = [np.zeros((0, architecture.classes), np.float32)], [np.zeros(0, np.int64)]
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        for batch in patches:
            found = classifier(batch.patches.to(device)).cpu()
            logits.append(Anchors(batch.position, batch.labels).pick(found, (1,) * architecture.dims).numpy())
            labels.append(batch.labels.numpy())
    return HeldOut(np.concatenate(logits), np.concatenate(labels), strokes)


def _unlabelled_logits(data: TrainingData, segmenter: DenseSegmenter, look: Look) -> list[NDArray[np.floating]]:
    """Return logits (pixels, classes) of pixels all over some of the training sections, padding left out."""
    ready = prepare(copy.deepcopy(segmenter).eval(), torch.device("cpu"))
    seen = []
    for number in frequency_sections(len(data.training_sections), look):
        chosen = data.training_sections[number]
        section, window = data.sections[chosen], frequency_window(data.contents[chosen], look)
        # One tile, whose edges are reflected, and not what fits the memory: two runs with one seed are identical.
        with torch.inference_mode():
            centre = torch.from_numpy(section.read(window).astype(np.float32))[None]
            logits = ready.logits(ready.reflect(centre))[0].numpy()
        seen.append(thin(logits[(slice(None), *(slice(0, part.stop - part.start) for part in window))], look))
    return seen


def frequency_sections(count: int, look: Look = THOROUGH) -> list[int]:
    """Return which of so many sections EM looks at."""
    return sorted(set(np.linspace(0, count - 1, look.sections).round().astype(int).tolist()))


def frequency_window(content: Sequence[slice], look: Look = THOROUGH) -> tuple[slice, ...]:
    """Return the part of a section's content, (z,) y, x, that EM looks at: its centre."""
    side, window = look.side[len(content)], []
    for part in content:
        length = part.stop - part.start
        start = part.start + max(length - side, 0) // 2
        window.append(slice(start, min(start + side, part.stop)))
    return tuple(window)


def thin(scores: NDArray[np.floating], look: Look = THOROUGH) -> NDArray[np.floating]:
    """Return what EM sees of the scores (classes, *window) in a window: (pixels, classes)."""
    step = slice(None, None, look.step[scores.ndim - 1])
    return scores[(slice(None), *[step] * (scores.ndim - 1))].reshape(len(scores), -1).T


def sample_size(geometry: Geometry) -> tuple[int, ...]:
    """Return the size of the sample, (z,) y, x: at least what the exported model takes at once, its smallest tile."""
    *z, y, x = [2 * axis.margin + 5 * axis.stride for axis in geometry.axes]
    side = SAMPLE_SIDE[len(geometry.axes)]
    if not z:
        return max(y, side), max(x, side)
    y, x = max(y, side), max(x, side)
    return max(z[0], side**3 // (y * x)), y, x


def _sample(data: TrainingData, size: tuple[int, ...]) -> NDArray[np.generic]:
    """Return the crop (c, *size or less) of a training section in which the most classes have labels."""
    half = np.array(size) // 2
    places = data.training.places
    best, best_count = places[0], 0
    for candidate in places[np.linspace(0, len(places) - 1, 100).round().astype(int)]:
        near = (places[:, 0] == candidate[0]) & (np.abs(places[:, 1:] - candidate[1:]) < half).all(1)
        count = len(np.unique(data.training.labels[near]))
        if count > best_count:
            best, best_count = candidate, count
    section = data.sections[int(best[0])]
    window = []
    for place, side, length in zip(best[1:].tolist(), size, section.space, strict=True):
        start = min(max(place - side // 2, 0), max(length - side, 0))
        window.append(slice(start, min(start + side, length)))
    return np.array(section.read(window), order="C")  # a copy: what is read may be a read-only part of the file
