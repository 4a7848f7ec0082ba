"""An image of any size predicted chunk by chunk, to be interrupted and continued at any moment."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import torch

from eseg_zoo.errors import InputError, OutputError
from eseg_zoo.images.channels import tell_count
from eseg_zoo.images.image import Image, Spacing, tell_voxel_size
from eseg_zoo.images.ome_tiff_writer import OmeTiffWriter
from eseg_zoo.images.ome_zarr import is_zarr
from eseg_zoo.images.ome_zarr_writer import OmeZarrWriter
from eseg_zoo.images.opening import files_of_source, open_image
from eseg_zoo.images.pyramid import Pyramid
from eseg_zoo.images.slices import chosen_slices
from eseg_zoo.images.writers import Described, FileWriter, MapWriter
from eseg_zoo.inference.executors import Index, open_executor
from eseg_zoo.inference.jobs import Job, WantedMaps
from eseg_zoo.inference.network import Applied, Network, preferred_device
from eseg_zoo.inference.tiles import passes_at_once, tile_size
from eseg_zoo.memory import telling_way_out
from eseg_zoo.output import (
    Owner,
    fitting,
    followed,
    make_folder,
    owning,
    refuse_existing,
    refuse_inputs,
    refuse_other_than_file,
)

log = logging.getLogger(__name__)

# Class maps of more bytes become an OME-Zarr where only a folder is said: few programs open such a TIFF.
LARGEST_TIFF = 2 << 30
# Pixels that are larger or smaller than those of training by more than this factor are told.
OTHER_SIZE = 1.5
WAY_OUT = "give a smaller --tile, such as 256, or fewer --workers; what is finished is kept"
UNCERTAINTY = "uncertainty (normalised entropy)"


@dataclass(frozen=True)
class Reading:
    """How to read an image; None takes what the file and the model say."""

    axes: str | None = None
    level: int | None = None
    missing_chunks: bool = False  # parts of the file that are absent are empty
    slices: str | None = None  # the first and the last slice to predict, such as 12-13


@dataclass(frozen=True)
class Computing:
    """Where to predict, and in tiles of which side (pixels; None: what suits the network and the image)."""

    scheduler: str | None = None
    workers: int | None = None
    tile: int | None = None


@dataclass(frozen=True)
class ChunksDone:
    """How far a prediction is."""

    chunks: int  # finished ones of all levels, those of an interrupted run too
    total: int


Report = Callable[[ChunksDone], None]


def open_for(checkpoint: Applied, source: Any, reading: Reading, *, name: str | None = None) -> Image:
    """Return the image in `source`, a path or an array, checked against the model; what differs is told.

    Raises `InputError` for what cannot be read, and for axes, channels or a depth that do not fit the model.
    """
    image = open_image(
        source, axes=reading.axes, usual_axes=checkpoint.axes, level=reading.level, voxel_size=checkpoint.voxel_size,
        allow_missing=reading.missing_chunks, name=name,
    )  # fmt: skip
    _check_sizes(checkpoint, image)
    if checkpoint.image_dtype and image.dtype.name != checkpoint.image_dtype:
        log.warning(
            "%s holds %s pixels, but the model was trained on %s: its map is only right if the values mean the same",
            image.name,
            image.dtype.name,
            checkpoint.image_dtype,
        )
    _tell_other_voxels(checkpoint, image)
    log.info("%s: %s", image.name, image.describe())
    return image


def _check_sizes(checkpoint: Applied, image: Image) -> None:
    """Raise `InputError` when an image has other channels than the model, or planes where it needs volumes."""
    names, sizes = checkpoint.channel_names, image.sizes
    taken = f"its axes were taken for {image.axes!r}; give axes if they are others"
    if sizes["c"] != len(names):
        trained = f"the model was trained with {len(names)}: {', '.join(names)}"
        raise InputError(f"{image.name} has {tell_count(sizes['c'])}, but {trained} ({taken})")
    if checkpoint.dims == 3 and sizes["z"] == 1:
        frames = f": its {sizes['t']} frames are time, not depth" if sizes["t"] > 1 else ""
        raise InputError(f"{image.name} has one slice along z, but the model was trained on volumes{frames} ({taken})")


def _tell_other_voxels(checkpoint: Applied, image: Image) -> None:
    trained, found = checkpoint.voxel_size, image.voxel_size
    compared = [axis for axis in "zyx"[-checkpoint.dims :] if axis in trained and axis in found]
    if any(max(trained[axis] / found[axis], found[axis] / trained[axis]) > OTHER_SIZE for axis in compared):
        sizes = [tell_voxel_size({axis: one[axis] for axis in compared}) for one in (found, trained)]
        log.warning(
            "%s has pixels of %s, but the model was trained on %s: resample it, or expect a poor map",
            image.name,
            *sizes,
        )


# ------------------------------------------------------------------------------------------------ where maps go


def stem(name: str) -> str:
    """Return what the names of an image's maps start with: its own without `.tif`, `.ome.tif` and the like.

    Of a pattern such as `planes/*.tif` it is the name of the folder, of `file.tif#1` it is `file_1`.
    """
    path = Path(name)
    while any(character in path.name for character in "*?[") and not os.path.exists(path):
        path = path.parent
    file, _, number = path.name.rpartition("#")
    path = Path(file or path.name)
    found = path.name.removesuffix(path.suffix).removesuffix(".ome") or "image"
    return f"{found}_{number}" if file else found


def suits_zarr(image: Image) -> bool:
    """Say whether the maps of an image are rather an OME-Zarr than TIFFs: it is a Zarr itself, or very large."""
    sizes = image.sizes
    return ".zarr" in Path(image.name).suffixes or prod(sizes[axis] for axis in "tzyx") > LARGEST_TIFF


def targets_of(image: Image, out: Path, wanted: WantedMaps) -> dict[str, Path]:
    """Return the files that the maps of an image go to, the class map first.

    An `out` that ends in `.zarr` is one OME-Zarr; in a folder the maps are TIFFs, or an OME-Zarr where that suits.
    """
    if out.suffix == ".zarr":
        return {"classes": out}
    if suits_zarr(image):
        return {"classes": out / fitting(stem(image.name), after="_classes.ome.zarr")}
    kinds = {"classes": True, "probabilities": wanted.probabilities, "uncertainty": wanted.uncertainty}
    name = stem(image.name)
    return {kind: out / fitting(name, after=f"_{kind}.ome.tif") for kind, is_wanted in kinds.items() if is_wanted}


def refuse_targets(targets: Iterable[Path], inputs: Iterable[Path], *, force: bool) -> None:
    """Raise `OutputError` for targets that exist (unless `force`), may never be replaced, or are inputs themselves.

    Neither a folder that is no Zarr is ever replaced, nor a device, nor what the maps are made of.
    """
    targets = list(targets)
    for target in targets:
        refuse_existing(target, force=force)
        if target.suffix != ".zarr":
            refuse_other_than_file(target)
        elif target.exists() and not is_zarr(target):
            raise OutputError(f"{target} is no Zarr, and only a Zarr is ever replaced by one; give another name")
    refuse_inputs(targets, inputs)


@dataclass(frozen=True)
class MapPlan:
    """What of an image is predicted, in which chunks, and what the maps are."""

    image: Image
    axes: str  # of the result
    shape: tuple[int, ...]
    first: tuple[int, ...]  # the pixel of the image that the result begins with
    chunk: tuple[int, ...]
    spacing: tuple[Spacing, ...]
    described: Described

    @classmethod
    def of(
        cls, checkpoint: Applied, image: Image, wanted: WantedMaps, *, slices: str | None, tile: int | None
    ) -> MapPlan:
        """MapPlan the prediction of an image; raises `InputError` where `slices` are not there."""
        sizes, axes = dict(image.sizes), "".join(axis for axis in "tzyx" if axis in image.axes)
        first = dict.fromkeys(axes, 0)
        if slices is not None:
            along = "z" if sizes["z"] > 1 or "t" not in axes else "t"
            chosen = chosen_slices(slices, sizes[along], image.name, setting="slices")
            first[along], sizes[along] = chosen.start, len(chosen)
        space = [sizes[axis] for axis in "zyx"[-checkpoint.dims :]]
        count = sizes["t"] * (sizes["z"] if checkpoint.dims == 2 else 1)
        size = tile_size(checkpoint.architecture, space, count, side=tile)
        chunk = {"t": 1, "z": 1} | dict(zip("zyx"[-checkpoint.dims :], size, strict=True))
        given = dict(zip(image.axes, image.spacing, strict=True))
        channels = [one.name for one in checkpoint.classes] if wanted.probabilities else []
        if wanted.uncertainty:
            channels.append(UNCERTAINTY)
        classes = tuple((one.value, one.name) for one in checkpoint.classes)
        return cls(
            image,
            axes,
            tuple(sizes[axis] for axis in axes),
            tuple(first[axis] for axis in axes),
            tuple(chunk[axis] for axis in axes),
            tuple(given[axis].moved(first[axis]) for axis in axes),
            Described(classes, tuple(channels), wanted.dtype.name, tuple(one.colour for one in checkpoint.classes)),
        )

    def writer(self, targets: dict[str, Path], *, force: bool, owner: Owner | None = None) -> FileWriter:
        """Return the writer for these files; links among them are followed."""
        main = followed(targets["classes"])
        if main.suffix == ".zarr":
            grid = Pyramid.of(self.axes, self.shape, self.chunk, self.spacing)
            return OmeZarrWriter(main, grid, self.described, owner)
        return OmeTiffWriter(
            {kind: followed(path) for kind, path in targets.items()}, self.single(), self.described, force, owner
        )

    def single(self) -> Pyramid:
        """Return the chunks without coarser levels."""
        return Pyramid.single(self.axes, self.shape, self.chunk, self.spacing)


def predict_to_files(
    network: Network, checkpoint: Applied, image: Image, targets: dict[str, Path], *, wanted: WantedMaps,
    slices: str | None = None, computing: Computing, device: str | None, force: bool, report: Report,
) -> None:  # fmt: skip
    """Write the maps of an image into `targets`.

    Until it is finished the result is called `TARGET.partial`; where that is there already and from the same input,
    model and settings, only what it lacks is made. `report` is called at the start and after every chunk.

    Raises `InputError`, `OutputError` and `ClusterError`, each in one line; finished chunks stay. While another
    process makes the same maps it is an `OutputError`, with `force` too.
    """
    refuse_targets(targets.values(), files_of_source(image.name), force=force)
    if computing.scheduler is None:  # the nodes of a cluster may have other devices than this machine
        preferred_device(device)
    plan = MapPlan.of(checkpoint, image, wanted, slices=slices, tile=computing.tile)
    make_folder(targets["classes"].absolute().parent)
    with owning(targets["classes"]) as owner:
        for target in targets.values():
            refuse_existing(target, force=force)  # another process has finished it meanwhile
        writer = plan.writer(targets, force=force, owner=owner)
        is_new = writer.begin(_origin(network, plan, wanted), force=force)
        run_plan(
            network, checkpoint, plan, writer, wanted=wanted, computing=computing, device=device, is_new=is_new,
            report=report,
        )  # fmt: skip


def run_plan(
    network: Network, checkpoint: Applied, plan: MapPlan, writer: MapWriter, *, wanted: WantedMaps,
    computing: Computing, device: str | None, is_new: bool = True, report: Report = lambda step: None,
) -> None:  # fmt: skip
    """Make the chunks of a plan that the writer lacks, all where it is new, and finish the result."""
    at_once = 1  # in a worker: there are others beside it
    if computing.scheduler is None and computing.workers is None:
        size = dict(zip(plan.axes, plan.chunk, strict=True))
        tile = [size[axis] for axis in "zyx"[-checkpoint.dims :]]
        at_once = passes_at_once(checkpoint.architecture, tile, preferred_device(device))
    job = Job(network, plan.image, writer, wanted, plan.first, at_once)
    threads = torch.get_num_threads()
    with telling_way_out(WAY_OUT):
        try:
            _make_chunks(job, computing, report, is_new=is_new)
        finally:
            torch.set_num_threads(threads)  # those of the matrix products are of the whole process
        writer.finish()


def _origin(network: Network, plan: MapPlan, wanted: WantedMaps) -> dict[str, Any]:
    """Return what the bytes of a result follow from."""
    return {
        "version": version("eseg_zoo"),
        "model": network.digest,
        "image": plan.image.name,
        "content of the image": plan.image.fingerprint,
        "axes": plan.image.axes,
        "shape": list(plan.shape),
        "slices": list(plan.first),
        "dtype": plan.image.dtype.name,
        "chunk": list(plan.chunk),
        "maps": list(plan.described.channels),
        "type of the maps": wanted.dtype.name,
        "tta": network.tta,
    }


def _make_chunks(job: Job, computing: Computing, report: Report, *, is_new: bool) -> None:
    grid, writer = job.writer.grid, job.writer
    levels = range(len(grid.shapes))
    total = sum(grid.count(level) for level in levels)

    def missing(level: int) -> Iterator[Index]:
        return (index for index in grid.indices(level) if is_new or not writer.is_done(level, index))

    done = 0 if is_new else total - sum(1 for level in levels for _ in missing(level))

    def count() -> None:
        nonlocal done
        done += 1
        report(ChunksDone(done, total))

    report(ChunksDone(done, total))
    if done == total:
        return
    with open_executor(computing.scheduler, computing.workers, threads=job.at_once + 1) as where:
        for level in levels:  # a level is made from the one before
            where.run(job.make, level, missing(level), count)


def require_distinct(owners: Sequence[tuple[str, Path]]) -> None:
    """Raise `InputError` when two images, told by their names, would have the same map."""
    seen: dict[Path, str] = {}
    for name, target in owners:
        if target in seen:
            raise InputError(
                f"{seen[target]} and {name} would have the same map, {target}; predict them into two folders"
            )
        seen[target] = name
