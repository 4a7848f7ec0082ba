"""What a script or a notebook uses: train, load, and the model with what it can do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eseg_zoo.checkpoint import Checkpoint, Class
from eseg_zoo.config import Run, load_run
from eseg_zoo.errors import CheckpointError, ConfigError
from eseg_zoo.images.image import Image, tell
from eseg_zoo.images.writers import MemoryWriter
from eseg_zoo.inference.evaluate import Evaluation, evaluate_images
from eseg_zoo.inference.foreign import ForeignNetwork, open_model
from eseg_zoo.inference.jobs import WantedMaps
from eseg_zoo.inference.network import AppliedPredictor, InMemory, Predictor
from eseg_zoo.inference.predict import (
    ChunksDone,
    Computing,
    MapPlan,
    Reading,
    open_for,
    predict_to_files,
    run_plan,
    targets_of,
)
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels
from eseg_zoo.progress import Progress, Watch
from eseg_zoo.reporting import report_after
from eseg_zoo.suggest.places import Place, suggest_places
from eseg_zoo.training.data import LabelledImage, open_pairs

if TYPE_CHECKING:
    from eseg_zoo.training.warm import WarmStart

Callback = Callable[[Progress], None]


class Model:
    """A trained model: its classes, what it was trained on, and what it makes of images.

    Images are paths (str or Path) of every format that the package reads, or arrays of numpy, Dask or xarray.
    """

    def __init__(self, applied: Checkpoint | ForeignNetwork):
        self.applied = applied
        self._predictors: dict[tuple[str | None, bool], AppliedPredictor] = {}

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Model:
        """Return the model in a file: a `model.pt`, or a package of the BioImage Model Zoo.

        Out of a package that `eseg export` wrote comes the model that it was made of. A package of other software, of
        one image and one output, can predict and nothing else; it is run by bioimageio.core.

        Raises `CheckpointError` for any other file.
        """
        return cls(open_model(Path(path)))

    @property
    def checkpoint(self) -> Checkpoint:
        """All that is known of the model; raises `CheckpointError` for one of other software."""
        if isinstance(self.applied, Checkpoint):
            return self.applied
        raise CheckpointError(self.applied.package.refusal)

    def save(self, path: str | PathLike[str], *, force: bool = False) -> Path:
        """Write the model into one file; raises `OutputError` when it exists and `force` is not set."""
        self.checkpoint.save(Path(path), force=force)
        return Path(path)

    @property
    def classes(self) -> tuple[Class, ...]:
        """Name, label value and frequency of each class, in the order of the probabilities."""
        return self.applied.classes

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of its images."""
        return self.applied.channel_names

    @property
    def axes(self) -> str:
        """Axes of the training images, such as `zyx`: what an image that states none is taken for."""
        return self.applied.axes

    @property
    def dims(self) -> int:
        """Spatial rank: 2 for a model of slices, 3 for one of volumes."""
        return self.applied.dims

    @property
    def voxel_size(self) -> dict[str, float]:
        """Micrometres per voxel of the training images along z, y and x; axes that they did not state are missing."""
        return dict(self.applied.voxel_size)

    def __repr__(self) -> str:
        is_ours = isinstance(self.applied, Checkpoint)
        dice = self.checkpoint.training.validation.get("mean_dice") if is_ours else None
        judged = "" if dice is None else f", Dice {dice:.3f} on held-out labels"
        names = ", ".join(one.name for one in self.classes)
        return f"<Model: {self.dims}D, {tell(len(self.channels), 'channel')}, classes {names}{judged}>"

    def predict(
        self,
        image: Any,
        *,
        axes: str | None = None,
        slices: str | None = None,
        level: int | None = None,
        missing_chunks: bool = False,
        tile: int | None = None,
        tta: bool = False,
        device: str | None = None,
        probabilities: bool = True,
        progress: Callback | None = None,
    ) -> xr.Dataset:
        """Return the maps of an image in memory, with its axes (t, z, y, x, those that it has) and voxel size.

        `classes` holds the label values; `probabilities` (class, *axes) and `uncertainty`, the normalised entropy,
        are float32 from 0 to 1 (`probabilities=False` leaves both out). Where the voxel size is known the coordinates
        are micrometres. `axes` are the image's, by default those that it states, or else those of training; `slices`
        such as '12-13' are the first and last slice to predict; `level` is the resolution level of an OME-Zarr;
        `missing_chunks` takes parts of a file that are absent for empty ones; `tile`
        is the side of the tiles in pixels, on which the maps do not depend; `tta` averages over all flips and
        right-angle rotations. For images whose maps do not fit the memory see `predict_to`.

        Raises `InputError` for an image that cannot be read or does not fit, and `StoppedError` after
        `progress.stop()`.
        """
        wanted = WantedMaps(probabilities=probabilities, uncertainty=probabilities)
        predictor = self.predictor(device, tta=tta)
        found = open_for(self.applied, image, Reading(axes, level, missing_chunks), name=_name("image", image))
        plan = MapPlan.of(self.applied, found, wanted, slices=slices, tile=tile)
        writer, watch = MemoryWriter(plan.single(), plan.described), Watch(progress)
        run_plan(
            InMemory(predictor), self.applied, plan, writer, wanted=wanted, computing=Computing(tile=tile),
            device=device, report=lambda step: watch.report_or_stop(found.name, step.chunks, step.total),
        )  # fmt: skip
        return _dataset(self, plan, writer, has_maps=probabilities)

    def predict_to(
        self,
        image: Any,
        out: str | PathLike[str],
        *,
        axes: str | None = None,
        slices: str | None = None,
        level: int | None = None,
        missing_chunks: bool = False,
        tile: int | None = None,
        tta: bool = False,
        device: str | None = None,
        probabilities: bool = False,
        uncertainty: bool = False,
        eight_bit: bool = False,
        force: bool = False,
        progress: Callback | None = None,
    ) -> dict[str, Path]:
        """Write the maps of an image of any size and return their files, by the kind of the map.

        `out` is a folder, for OME-TIFFs (or an OME-Zarr, where the image is one or is very large), or a name that ends
        in `.ome.zarr`. Memory stays that of a few tiles. An interrupted prediction goes on when it is called again.
        `eight_bit` writes probabilities and uncertainty in steps of 1/255, a byte each. The rest is as in `predict`.

        Raises `OutputError` when a file exists and `force` is not set, and what `predict` does.
        """
        wanted, watch = WantedMaps(probabilities, uncertainty, eight_bit), Watch(progress)
        predictor = self.predictor(device, tta=tta)
        found = open_for(self.applied, image, Reading(axes, level, missing_chunks), name=_name("image", image))
        targets = targets_of(found, Path(out), wanted)

        def report(step: ChunksDone) -> None:
            watch.report_or_stop(found.name, step.chunks, step.total)

        predict_to_files(
            InMemory(predictor), self.applied, found, targets, wanted=wanted, slices=slices,
            computing=Computing(tile=tile), device=device, force=force, report=report,
        )  # fmt: skip
        return targets

    def evaluate(
        self,
        images: Any,
        labels: Any,
        *,
        axes: str | None = None,
        slices: str | None = None,
        unlabelled: int | None = None,
        missing_chunks: bool = False,
        tile: int | None = None,
        tta: bool = False,
        device: str | None = None,
        progress: Callback | None = None,
    ) -> Evaluation:
        """Return how well the maps of images agree with labels, over labelled pixels only.

        `images` is one or a list, and `labels` what they may be in `train`; classes that a label file names are matched
        to those of the model by name. `unlabelled` is the label value that means 'not labelled', by default that of
        training. Raises `InputError` for images and labels that do not fit, and where
        no pixel is labelled.
        """
        predictor, watch = self._own_predictor(device, tta=tta), Watch(progress)
        opened = self._open(images, Reading(axes, missing_chunks=missing_chunks))
        pairs = list(zip(opened, self._open_labels(opened, labels, unlabelled, missing_chunks), strict=True))
        return evaluate_images(
            predictor,
            pairs,
            slices=slices,
            tile=tile,
            progress=lambda done, total: watch.report_or_stop("evaluation", done, total),
        )

    def suggest(
        self,
        images: Any,
        labels: Any = None,
        *,
        count: int = 10,
        axes: str | None = None,
        slices: str | None = None,
        unlabelled: int | None = None,
        missing_chunks: bool = False,
        seed: int = 0,
        device: str | None = None,
        progress: Callback | None = None,
    ) -> list[Place]:
        """Return up to `count` places to label next, the best first: what may be of classes with few strokes.

        `images` are one or several, `labels` what is painted in each so far: no place is suggested there, and those
        that look like it come last. Without labels those that the model remembers of its training count. The class with
        the fewest strokes is looked for next, where the model is not sure. Places are spread over slices and images;
        none is in padding or at the very border. Of images above 16 megapixels (volumes: 6 megavoxels) a sample is
        read, the same one for the same `seed`.

        Raises `InputError` for images, labels and slices that do not fit, and where there is no place to label.
        """
        opened = self._open(images, Reading(axes, missing_chunks=missing_chunks))
        painted = None if labels is None else self._open_labels(opened, labels, unlabelled, missing_chunks)
        watch = Watch(progress)
        return suggest_places(
            self._own_predictor(device), opened, painted, count=count, slices=slices, seed=seed,
            progress=lambda done, total: watch.report_or_stop("suggestion", done, total),
        )  # fmt: skip

    def _open(self, images: Any, reading: Reading) -> list[Image]:
        """Return images opened and checked against the model."""
        given = enumerate(as_list(images))
        return [open_for(self.checkpoint, one, reading, name=_name(f"images[{number}]", one)) for number, one in given]

    def _open_labels(
        self, images: Sequence[Image], labels: Any, unlabelled: int | None, missing_chunks: bool
    ) -> list[LabelImage]:
        """Return the labels of each image; raises `InputError` where they do not fit."""
        reading = LabelReading(
            classes={one.value: one.name for one in self.classes},
            unlabelled=self.checkpoint.unlabelled if unlabelled is None else unlabelled,
            dims=self.dims,
            allow_missing=missing_chunks,
        )
        return open_labels(images, given_labels(labels, len(images)), reading)

    def train(
        self,
        images: Any,
        labels: Any,
        *,
        out: str | PathLike[str] | None = None,
        force: bool = False,
        resume: bool = False,
        progress: Callback | None = None,
        **settings: Any,
    ) -> Model:
        """Return a new model that goes on from this one with these images and labels; this one stays as it is.

        `classes`, `unlabelled` and, for arrays, `axes` are by default the model's. See the function `train` for the
        rest, and for what it raises.
        """
        return train(
            images, labels, start_from=self, out=out, force=force, resume=resume, progress=progress,
            **self.own_settings(images) | settings,
        )  # fmt: skip

    def own_settings(self, images: Any) -> dict[str, Any]:
        """Return the settings of its training that a further one shares, where that does not say them."""
        shared: dict[str, Any] = {
            "classes": {one.value: one.name for one in self.classes},
            "unlabelled": self.checkpoint.unlabelled,
        }
        # Files state their axes, or are asked for them; of an array only the number is known.
        if all(isinstance(image, np.ndarray) and image.ndim == len(self.axes) for image in as_list(images)):
            shared["axes"] = self.axes
        return shared

    def predictor(self, device: str | None = None, *, tta: bool = False) -> AppliedPredictor:
        """Return the model on a device, ready to make maps; the same one for the same arguments."""
        key, applied = (device, tta), self.applied
        if key not in self._predictors:
            if isinstance(applied, Checkpoint):
                self._predictors[key] = Predictor(applied, device=device, tta=tta)
            else:
                self._predictors[key] = applied.predictor(device=device, tta=tta)
        return self._predictors[key]

    def _own_predictor(self, device: str | None, *, tta: bool = False) -> Predictor:
        """Return the predictor of a checkpoint; raises `CheckpointError` for a model of other software."""
        if not isinstance(self.applied, Checkpoint):
            raise CheckpointError(self.applied.package.refusal)
        found = self.predictor(device, tta=tta)
        assert isinstance(found, Predictor)
        return found


def train(
    images: Any,
    labels: Any = None,
    *,
    start_from: Model | str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    force: bool = False,
    resume: bool = False,
    progress: Callback | None = None,
    **settings: Any,
) -> Model:
    """Train a model and return it.

    Either `train("run.yaml")`, or `train(images, labels, classes={1: "membrane", 2: "cytoplasm"})` with one image and
    its labels, or lists of them: paths or arrays. Labels may be label files of all kinds, several for an image in a
    list of their own, and mappings as in the YAML file, such as `{"file": array, "offset": {"z": 3}}`. All further
    settings are keyword arguments named as in the YAML file, such as `axes="zyx"`, `preset="small"` or
    `training={"steps": 200}`; beside a YAML file they replace what stands there.

    From the model `start_from`, or its file, the training goes on in a third of the usual time: with more or
    other labels, images and classes, which are matched by name. The network keeps its shape.

    `out` gets `model.pt`, `report.html`, `metrics.csv` and the checkpoints; without it nothing is left on disk.
    `progress` is called at every step; its `stop` ends the training, which then returns its best model so far. `resume`
    goes on with an unfinished training in `out`; with more steps than before it extends one.

    Raises `ConfigError` for settings, `InputError` for images and labels, `OutputError` when `out` holds a model or an
    unfinished training and neither `force` nor `resume` is set, and `TrainingError` when a training ends without a
    model.
    """
    from eseg_zoo.training.run import train_run  # Lightning takes seconds to import; nothing else needs it

    start = None if start_from is None else start_of(start_from)
    with ExitStack() as stack:
        is_kept = out is not None or _is_run_file(images, labels)
        if not is_kept:
            out = stack.enter_context(tempfile.TemporaryDirectory(prefix="eseg_zoo_"))
        if out is not None:
            settings["out"] = Path(out).absolute()
        if _is_run_file(images, labels):
            run, pairs = load_run(Path(images), settings), None
        else:
            run, pairs = run_of(images, labels, settings, start)
        if run.training.distributed:
            devices = run.training.devices
            raise ConfigError(f"training.devices is {devices}; several processes need the command, eseg train")
        target = train_run(run, pairs, start=start, force=force, resume=resume, watch=Watch(progress))
        if is_kept:
            report_after(run.out, pairs, force=force or resume)
        return Model.load(target)


def _is_run_file(images: Any, labels: Any) -> bool:
    """Say whether the first argument of `train` is a YAML file: it comes without labels."""
    return labels is None and isinstance(images, (str, PathLike)) and Path(images).suffix.lower() in {".yaml", ".yml"}


def start_of(given: Model | str | PathLike[str]) -> WarmStart:
    """Return a model, or the one in a file, as the start of a training."""
    from eseg_zoo.training.warm import WarmStart

    return WarmStart(given.checkpoint) if isinstance(given, Model) else WarmStart.load(Path(given))


def settings_of(images: Any, labels: Any, settings: Mapping[str, Any], start: WarmStart | None) -> Run:
    """Return the settings of a training on these images and labels; arrays get names."""
    if labels is None:
        raise ConfigError("labels is missing: give train a YAML file, or images and their labels")
    opened = as_list(images)
    named = [_named(one, f"images[{number}]") for number, one in enumerate(opened)]
    said = [[one.said for one in entry] for entry in given_labels(labels, len(opened))]
    run = Run.checked({"images": named, "labels": said, **settings}, "train")
    return start.settings(run) if start else run


def run_of(
    images: Any, labels: Any, settings: Mapping[str, Any], start: WarmStart | None
) -> tuple[Run, list[LabelledImage]]:
    """Return the settings of a training on these images and labels, and both opened."""
    run = settings_of(images, labels, settings, start)
    return run, open_pairs(run, as_list(images), labels)


def as_list(given: Any) -> list[Any]:
    """Return one image or several as a list; an array is one, whatever its first axis."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _named(given: Any, name: str) -> Any:
    """Return the path of an image, or what messages call it."""
    return given.name if isinstance(given, Image) else given if _name(name, given) is None else name


def _name(kind: str, given: Any) -> str | None:
    """Return what messages call an image that is an array; a file has a name of its own."""
    return None if isinstance(given, (str, PathLike, Image)) else kind


def _dataset(model: Model, plan: MapPlan, writer: MemoryWriter, *, has_maps: bool) -> xr.Dataset:
    """Return the maps that were written to memory."""
    names, axes = [one.name for one in model.classes], tuple(plan.axes)
    maps: dict[str, Any] = {"classes": (axes, writer.labels)}
    coordinates: dict[str, Any] = {}
    for axis, spacing, length in zip(axes, plan.spacing, plan.shape, strict=True):
        if axis in "zyx" and (size := spacing.micrometres):
            first = spacing.translation * size / spacing.scale
            coordinates[axis] = (axis, first + size * np.arange(length), {"units": "micrometer"})
    if has_maps:
        maps["probabilities"] = (("class", *axes), writer.maps[: len(names)])
        maps["uncertainty"] = (axes, writer.maps[-1])
        coordinates["class"] = names
    legend = {one.value: one.name for one in model.classes}
    return xr.Dataset(maps, coordinates, {"voxel_size": plan.image.voxel_size, "classes": legend})
