"""A volume of any size predicted chunk by chunk into an OME-Zarr, to be interrupted and continued at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.data.lazy import Volume, open_volume
from eseg_zoo.errors import OutputError
from eseg_zoo.inference.chunks import BYTES_FOR_PASSES, DEFAULT_CHUNK, Job, sha256
from eseg_zoo.inference.cluster import Index, place
from eseg_zoo.inference.memory import passes_at_once
from eseg_zoo.inference.ome_zarr import Result, discard, unfinished
from eseg_zoo.inference.predict import WantedMaps, check_sizes, preferred_device, tell_other_type
from eseg_zoo.inference.pyramid import Pyramid
from eseg_zoo.output import make_folder, refuse_existing


@dataclass(frozen=True)
class Reading:
    """How to read a volume; None takes what the volume and the model say."""

    axes: str | None = None
    level: int | None = None
    allow_missing: bool = False  # chunks that are missing hold the fill value


@dataclass(frozen=True)
class Computing:
    """Where to predict, and in chunks of which side (pixels; None: the default of the model's rank)."""

    scheduler: str | None = None
    workers: int | None = None
    device: str | None = None
    tile: int | None = None
    tta: bool = False  # as for `Predictor`


@dataclass(frozen=True)
class Step:
    """How far a prediction is."""

    chunks: int  # finished ones of all levels, those of an interrupted run too
    total: int


def predict_volume(
    model: Path, image: Path, target: Path, *, reading: Reading, computing: Computing, wanted: WantedMaps, force: bool,
    report: Callable[[Step], None],
) -> Volume:  # fmt: skip
    """Write the OME-Zarr `target` and return the volume that it was predicted from.

    Until it is finished it is called `TARGET.partial`; where that is there already and from the same command, only what
    it lacks is made. `report` is called at the start and after every chunk.

    Raises `InputError`, `CheckpointError`, `OutputError` and `ClusterError`, each in one line; finished chunks stay.
    """
    refuse_existing(target, force=force)
    checkpoint = Checkpoint.load(model)
    volume = open_volume(
        image, axes=reading.axes, usual_axes=checkpoint.axes, voxel_size=checkpoint.voxel_size, level=reading.level,
        allow_missing=reading.allow_missing,
    )  # fmt: skip
    sizes = volume.sizes
    check_sizes(checkpoint, image, volume.axes, channels=sizes["c"], depth=sizes["z"])
    tell_other_type(checkpoint, image, np.dtype(volume.dtype))
    job = _job(model.absolute(), checkpoint, volume, unfinished(target.absolute()), computing, wanted)
    make_folder(target.absolute().parent)
    is_new = _prepare(job, target, force=force)
    _make_chunks(job, computing, report, is_new=is_new)
    job.result.finish(target)
    return volume


def _job(
    model: Path, checkpoint: Checkpoint, volume: Volume, path: Path, computing: Computing, wanted: WantedMaps
) -> Job:
    axes = "".join(axis for axis in "tzyx" if axis in volume.axes)
    spacing = dict(zip(volume.axes, volume.spacing, strict=True))
    shape, chunk = [volume.sizes[axis] for axis in axes], _chunk(checkpoint, computing.tile)
    pyramid = Pyramid.of(axes, shape, [chunk[axis] for axis in axes], [spacing[axis] for axis in axes])
    channels = list(checkpoint.class_names) if wanted.probabilities else []
    if wanted.uncertainty:
        channels.append("uncertainty (normalised entropy)")
    classes = tuple(zip(checkpoint.class_values, checkpoint.class_names, strict=True))
    result = Result(path, pyramid, classes, tuple(channels))
    at_once = 1  # in a worker: there are others beside it
    # The nodes of a cluster may have other devices than this one.
    here = None if computing.scheduler else preferred_device(computing.device)
    if here and here.type == "cpu" and computing.workers is None:
        tile = [chunk[axis] for axis in "zyx"[-checkpoint.dims :]]
        at_once = passes_at_once(checkpoint.segmenter(), tile, bytes_for_all=BYTES_FOR_PASSES)
    return Job(model, sha256(model), volume, result, wanted, computing.device, computing.tta, at_once)


def _chunk(checkpoint: Checkpoint, tile: int | None) -> dict[str, int]:
    """Return the pixels of a chunk along each axis: whole cells of the network, so that all sit on its grid."""
    side, chunk = tile or DEFAULT_CHUNK[checkpoint.dims], {"t": 1, "z": 1}
    for axis, stride in zip("zyx"[-checkpoint.dims :], checkpoint.segmenter().geometry.stride, strict=True):
        chunk[axis] = -(-side // stride) * stride
    return chunk


def _prepare(job: Job, target: Path, *, force: bool) -> bool:
    """Make the unfinished result, or take up the one that is there; returns whether it is new.

    Raises `OutputError` when the one that is there comes from another command and `force` is not set.
    """
    run, path = _describe_run(job), job.result.path
    found = job.result.run() if path.exists() else None
    if found == run:
        return False
    if found is not None and not force:
        changed = ", ".join(key for key in run if found.get(key) != run[key])
        raise OutputError(
            f"{path} is the unfinished result of another prediction (it differs in {changed}); "
            f"remove it, or give --force to start {target.name} anew"
        )
    discard(path)
    job.result.create(run)
    return True


def _describe_run(job: Job) -> dict[str, Any]:
    """Return what the bytes of a result follow from."""
    volume = job.volume
    return {
        "version": version("eseg_zoo"),
        "model": job.model_sha256,
        "image": volume.path.name,
        "level": volume.array,
        "axes": volume.axes,
        "shape": list(volume.shape),
        "dtype": volume.dtype,
        "chunk": list(job.result.pyramid.chunk),
        "maps": list(job.result.channels),
        "tta": job.tta,
    }


def _make_chunks(job: Job, computing: Computing, report: Callable[[Step], None], *, is_new: bool) -> None:
    pyramid, result = job.result.pyramid, job.result
    levels = range(len(pyramid.shapes))
    total = sum(pyramid.count(level) for level in levels)

    def missing(level: int) -> Iterator[Index]:
        return (index for index in pyramid.indices(level) if is_new or not result.is_done(level, index))

    done = 0 if is_new else total - sum(1 for level in levels for _ in missing(level))

    def count() -> None:
        nonlocal done
        done += 1
        report(Step(done, total))

    report(Step(done, total))
    if done == total:
        return
    with place(computing.scheduler, computing.workers, threads=job.at_once + 1) as where:
        for level in levels:  # a level is made from the one before
            where.run(job.make, level, missing(level), count)
