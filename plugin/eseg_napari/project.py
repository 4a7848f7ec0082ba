"""A project on disk: run.yaml, the strokes and the model, as the command line takes them too."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from eseg_napari.chosen_image import ChosenImage
from eseg_napari.classes import PaintClass
from eseg_napari.strokes import Snapshot
from eseg_zoo.errors import EsegError, OutputError
from eseg_zoo.output import Owner, make_folder, owning, replacing

if TYPE_CHECKING:
    from eseg_zoo import Model

RUN, LABELS, MODEL, IMAGE = "run.yaml", "labels.ome.zarr", "model.pt", "image.ome.tif"
# Images that are in no file are saved with the project up to so many bytes.
LARGEST_COPY = 2 << 30
CHUNK = 512  # side of what of the strokes is written at once, pixels


@dataclass(frozen=True)
class State:
    """What is to be saved."""

    chosen: ChosenImage
    classes: tuple[PaintClass, ...]
    snapshot: Snapshot
    model: Model | None
    dims: int
    settings: Mapping[str, Any] = field(default_factory=dict)


class Project:
    """A folder that a session is saved in, again and again; only what has changed is written."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._versions: dict[Any, int] = {}  # of the planes that are on disk
        self._said: dict[str, Any] | None = None  # in run.yaml
        self._model: Model | None = None  # that is on disk
        self.notes: list[str] = []  # what could not be saved, one line each
        self._writing = threading.Lock()
        self._held, self._is_left = contextlib.ExitStack(), False
        self._owner: Owner | None = None

    def hold(self) -> None:
        """Keep other windows from writing here; raises `OutputError`, in one line, while one does."""
        make_folder(self.folder)
        try:
            if self._owner is not None:
                self._owner.require()
                return
        except OutputError:  # somebody has removed the lock
            self._held.close()
        held = owning(self.folder / RUN, by="another window", advice="close it there first")
        self._owner = self._held.enter_context(held)

    def leave(self) -> None:
        """Let others write here; nothing is saved any more."""
        with self._writing:
            self._is_left = True
            self._held.close()

    def save(self, state: State) -> None:
        """Bring the folder up to date; raises `OutputError` where the disk refuses it.

        Each file, and each part of the strokes, is replaced at once: what was saved before stays until then.
        """
        with self._writing:
            if not self._is_left:
                self._bring_up_to_date(state)

    def _bring_up_to_date(self, state: State) -> None:
        self.hold()
        try:
            self._save_strokes(state)
            self._save_run(state)
            if state.model is not None and state.model is not self._model:
                state.model.save(self.folder / MODEL, force=True)
                self._model = state.model
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written: {error.strerror or error}") from error

    def is_saved(self, version: int, classes: Sequence[PaintClass], model: Model | None) -> bool:
        """Say whether strokes of this version, these classes and this model are on disk."""
        said = self._said or {}
        names = {one.value: one.name for one in classes}, {one.name: one.colour for one in classes}
        return (
            max(self._versions.values(), default=0) >= version
            and (said.get("classes"), said.get("colours")) == names
            and (model is None or model is self._model)
        )

    def take_for_saved(self, snapshot: Snapshot, model: Model | None) -> None:
        """Remember that strokes and model are those on disk, because they were read from there."""
        self._versions, self._model = dict(snapshot.versions), model

    def _save_strokes(self, state: State) -> None:
        import zarr

        group = zarr.open_group(str(self.folder / LABELS), mode="a", zarr_format=2)
        array = _array_of(group, state.chosen)
        for plane, version in state.snapshot.versions.items():
            if self._versions.get(plane) == version:
                continue
            pixels = np.zeros(array.shape[-2:], np.uint8)
            if (painting := state.snapshot.paintings.get(plane)) is not None:
                pixels[painting.window] = painting.pixels
            array[plane] = pixels  # chunks of nothing but zeros are removed
            self._versions[plane] = version
        _describe(group, state)

    def _save_run(self, state: State) -> None:
        said: dict[str, Any] = {
            **state.settings,
            "labels": LABELS,
            "classes": {one.value: one.name for one in state.classes},
            "colours": {one.name: one.colour for one in state.classes},
            "out": "training",
        }
        if state.dims == 3:
            said["network"] = {**state.settings.get("network", {}), "dims": 3}
        if state.chosen.image.channels:
            said["channels"] = list(state.chosen.image.channels)
        if sizes := state.chosen.image.voxel_size:
            said["voxel_size"] = sizes
        if self._said is not None and said == {key: self._said[key] for key in self._said if key not in _OF_IMAGE}:
            return
        source = self._source(state.chosen)
        if source is None:
            self._said = said
            return
        whole = {**source, **said}
        with replacing(self.folder / RUN, force=True) as path:
            text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
            path.write_text(f"# Written by eseg_napari; for the command line: eseg train {RUN}\n{text}", "utf-8")
        self._said = whole

    def _source(self, chosen: ChosenImage) -> dict[str, Any] | None:
        """Return what run.yaml says of the image: its file, or a copy of what is in none; None where that is too large.

        The file must hold the very pixels that the layers show, by their sizes.
        """
        from eseg_zoo import open_image

        copy = self.folder / IMAGE
        if len(chosen.files) == 1 and "://" not in chosen.files[0]:
            path = Path(chosen.files[0]).absolute()
            with contextlib.suppress(EsegError):
                found = open_image(path, usual_axes=chosen.image.axes)
                if found.sizes == chosen.image.sizes:
                    stated = {} if found.stated_axes else {"axes": found.axes}
                    inside = path.is_relative_to(self.folder.absolute())
                    return {"images": path.name if inside else str(path), **stated}
        if not copy.exists():
            if chosen.bytes > LARGEST_COPY:
                self.notes.append(
                    f"{chosen.name} is in no file that eseg_zoo reads, and too large to be copied into {self.folder}: "
                    "the strokes are saved, but the command line does not find their image; save it as OME-Zarr and "
                    "open that"
                )
                return None
            _write_copy(chosen, copy)
        return {"images": IMAGE}


_OF_IMAGE = ("images", "axes")


def new_folder(chosen: ChosenImage) -> Path:
    """Return where a new project goes: beside its image, or in the home folder where that cannot be written to.

    The folder is not there yet, so nothing is ever written over.
    """
    place, name = Path.home() / "eseg_zoo", chosen.names[0]
    if chosen.files and "://" not in chosen.files[0]:
        file = Path(chosen.files[0])
        name = file.name.split(".")[0] or name
        if os.access(file.absolute().parent, os.W_OK | os.X_OK):
            place = file.absolute().parent
    name = "".join(letter if letter.isalnum() or letter in "-_ " else "_" for letter in name).strip() or "image"
    return free(place / f"{name}_project")


def short(path: Path) -> str:
    """Return a path as the window shows it, the home folder as ~."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def free(path: Path) -> Path:
    """Return the path, or with the first number from 2 where something has its name."""
    number, found = 1, path
    ending = ".ome.zarr" if path.name.endswith(".ome.zarr") else path.suffix
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name.removesuffix(ending)}_{number}{ending}")
    return found


def is_ours(run: Path) -> bool:
    """Say whether a run.yaml is that of a project, which is gone on with; others are read and left alone."""
    try:
        said = yaml.safe_load(run.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(said, dict) and said.get("labels") == LABELS and (run.parent / LABELS).is_dir()


def _array_of(group: Any, chosen: ChosenImage) -> Any:
    """Return the array of a group that strokes are written to; raises `OutputError` for one of another size."""
    chunks = (1,) * (len(chosen.axes) - 2) + tuple(min(CHUNK, n) for n in chosen.shape[-2:])
    if "0" not in group:
        group.create_array(
            "0", shape=chosen.shape, chunks=chunks, dtype=np.uint8, fill_value=0,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )  # fmt: skip
    array = group["0"]
    if array.shape != chosen.shape:
        raise OutputError(f"{group.store_path} holds strokes of {array.shape}, not of {chosen.shape}")
    return array.with_config({"write_empty_chunks": False})


def _describe(group: Any, state: State) -> None:
    """Write names, colours and pixel sizes as OME-NGFF 0.4 has them."""
    from eseg_zoo.colours import rgb

    kinds = {"t": "time", "z": "space", "y": "space", "x": "space"}
    sizes = state.chosen.image.voxel_size
    said = {
        "multiscales": [
            {
                "version": "0.4",
                "name": "strokes",
                "axes": [
                    {"name": axis, "type": kinds[axis], **({"unit": "micrometer"} if axis in sizes else {})}
                    for axis in state.chosen.axes
                ],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [sizes.get(axis, 1.0) for axis in state.chosen.axes]}
                        ],
                    }
                ],
            }
        ],
        "image-label": {
            "version": "0.4",
            "colors": [{"label-value": one.value, "rgba": [*rgb(one.colour), 255]} for one in state.classes],
            "properties": [{"label-value": one.value, "name": one.name} for one in state.classes],
        },
    }
    if dict(group.attrs) != said:
        group.attrs.update(said)


def _write_copy(chosen: ChosenImage, path: Path) -> None:
    """Write the pixels of an image as an OME-TIFF, a plane at a time."""
    from itertools import product

    import tifffile

    image = chosen.image
    axes = [axis for axis in "tczyx" if axis in image.axes]
    leading = [axis for axis in axes if axis not in "yx"]

    def planes() -> Any:
        for numbers in product(*(range(image.sizes[axis]) for axis in leading)):
            region = {axis: slice(n, n + 1) for axis, n in zip(leading, numbers, strict=True)}
            yield image.read(region)[0, 0, 0]

    sizes = {f"PhysicalSize{axis.upper()}": size for axis, size in image.voxel_size.items()}
    units = {f"{key}Unit": "µm" for key in sizes}
    names = {"Channel": {"Name": list(image.channels)}} if image.channels else {}
    with replacing(path, force=False) as temporary:
        tifffile.imwrite(
            temporary, planes(), shape=tuple(image.sizes[axis] for axis in axes), dtype=image.dtype, ome=True,
            bigtiff=chosen.bytes > 1 << 31, compression="zlib", photometric="minisblack",
            metadata={"axes": "".join(axes).upper(), **sizes, **units, **names},
        )  # fmt: skip
