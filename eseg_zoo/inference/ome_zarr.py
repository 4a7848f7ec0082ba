"""The result as an OME-Zarr: labels with class names and colours, and an image of the other maps.

OME-NGFF 0.4 on Zarr format 2: napari-ome-zarr, the Fiji viewers (n5-viewer, MoBIE, BigDataViewer) and older tools read
it, while released Fiji readers of 0.5 (Zarr format 3) are not everywhere yet. Each chunk is a file of its own, which
Zarr writes under a temporary name and renames: a chunk that is there is whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from matplotlib.colors import to_rgb
from numcodecs import Blosc
from numpy.typing import NDArray
from ome_zarr.format import FormatV04
from ome_zarr.writer import write_label_metadata, write_multiscales_metadata

from eseg_zoo.colours import class_colours
from eseg_zoo.data.ome_zarr import Spacing
from eseg_zoo.errors import OutputError
from eseg_zoo.inference.pyramid import Pyramid

LABELS = "labels/classes"
_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_PARTIAL = "*.partial"  # what Zarr calls a chunk that it has not renamed yet


@dataclass(frozen=True)
class Result:
    """A result that is being written, under the name `path`."""

    path: Path
    pyramid: Pyramid
    classes: tuple[tuple[int, str], ...]  # label value and name
    channels: tuple[str, ...]  # of the image of the other maps; none for no such image

    @property
    def label_type(self) -> np.dtype[Any]:
        """The smallest unsigned integer that holds all label values."""
        return np.min_scalar_type(max(value for value, _ in self.classes))

    def create(self, run: Mapping[str, Any]) -> None:
        """Make all arrays without any chunk; `run` is kept in the attributes, which are written last.

        Raises `OutputError` when the folder cannot be written to.
        """
        with self.reporting():
            group = zarr.open_group(str(self.path), mode="w", zarr_format=2)
            for level in range(len(self.pyramid.shapes)):
                shape, chunks = self.pyramid.shapes[level], self.pyramid.chunks_of(level)
                _create_array(group, f"{LABELS}/{level}", shape, chunks, self.label_type)
                if self.channels:
                    shape = self._with_channels(shape, len(self.channels))
                    _create_array(group, str(level), shape, self._with_channels(chunks, 1), np.dtype(np.float32))
            self._describe_labels(group)
            self._describe_image(group)
            group.attrs.update({"eseg_zoo": dict(run)})

    def run(self) -> dict[str, Any] | None:
        """Return what `create` was told of the run, or None where it did not come to its end."""
        try:
            found = zarr.open_group(str(self.path), mode="r").attrs.asdict().get("eseg_zoo")
        except (OSError, ValueError, KeyError):
            return None
        return found if isinstance(found, dict) else None

    def is_done(self, level: int, index: Sequence[int]) -> bool:
        """Say whether a chunk is finished: its labels are, which are written after the other maps."""
        return self.path.joinpath(LABELS, str(level), *map(str, index)).exists()

    def write(
        self, level: int, index: Sequence[int], labels: NDArray[np.integer], maps: NDArray[np.float32] | None
    ) -> None:
        """Write a chunk of labels (*axes) and of the other maps (channels, *axes).

        Raises `OutputError` when the disk is full or refuses it.
        """
        region = self.pyramid.region(level, index)
        with self.reporting():
            if maps is not None:
                self._open(str(level), "r+")[self._with_channels(region, slice(None))] = np.moveaxis(
                    maps, 0, self._channel_axis
                )
            self._open(f"{LABELS}/{level}", "r+")[region] = labels

    def read_labels(self, level: int, region: tuple[slice, ...]) -> NDArray[np.integer]:
        """Return labels (*axes) of a region of one level."""
        return np.asarray(self._open(f"{LABELS}/{level}", "r")[region])

    def read_maps(self, level: int, region: tuple[slice, ...]) -> NDArray[np.float32]:
        """Return the other maps (channels, *axes) of a region of one level."""
        found = np.asarray(self._open(str(level), "r")[self._with_channels(region, slice(None))], np.float32)
        return np.moveaxis(found, self._channel_axis, 0)

    def finish(self, target: Path) -> None:
        """Give the result its name `target`; one that has it already is removed."""
        with self.reporting():
            for left in self.path.rglob(_PARTIAL):  # of a process that was killed
                left.unlink()
            replaced = target.with_name(f"{target.name}.replaced")
            if target.exists():
                target.rename(replaced)
            self.path.rename(target)
            if replaced.exists():
                shutil.rmtree(replaced)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn what a disk refuses into an `OutputError`."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"{self.path} cannot be written: {reason}; what is finished is kept: run the command again to go on"
            ) from error

    @property
    def _channel_axis(self) -> int:
        return int(self.pyramid.axes.startswith("t"))

    def _with_channels(self, values: Sequence[Any], channel: Any) -> tuple[Any, ...]:
        """Return values of the axes with that of the channel axis at its place."""
        axis = self._channel_axis
        return (*values[:axis], channel, *values[axis:])

    def _open(self, name: str, mode: Any) -> zarr.Array[Any]:
        return zarr.open_array(store=str(self.path), path=name, mode=mode, config={"write_empty_chunks": True})

    def _describe_labels(self, group: zarr.Group) -> None:
        values = [value for value, _ in self.classes]
        colours = zip(values, class_colours(len(values)), strict=True)
        write_label_metadata(
            group["labels"],
            "classes",
            colors=[{"label-value": value, "rgba": [*_bytes(colour), 255]} for value, colour in colours],
            properties=[{"label-value": value, "name": name} for value, name in self.classes],
            fmt=FormatV04(),
            source={"image": "../../"},
        )
        self._describe(group[LABELS], "classes", "{}", "mode", with_channels=False)

    def _describe_image(self, group: zarr.Group) -> None:
        """Describe the image that the labels belong to: the other maps, or else the class map itself once more."""
        if not self.channels:
            self._describe(group, "class map", f"{LABELS}/{{}}", "mode", with_channels=False)
            return
        self._describe(group, "maps", "{}", "mean", with_channels=True)
        names = (name for _, name in self.classes)
        colours = dict(zip(names, class_colours(len(self.classes)), strict=True))
        window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
        channels: Any = [
            {"label": name, "color": colours.get(name, "#ffffff")[1:], "window": window, "active": True}
            for name in self.channels
        ]
        group.attrs.update({"omero": {"channels": channels}})

    def _describe(self, group: Any, name: str, path: str, method: str, *, with_channels: bool) -> None:
        axes, datasets = self.pyramid.axes, []
        for level in range(len(self.pyramid.shapes)):
            spacing: Sequence[Spacing] = self.pyramid.spacing_of(level)
            if with_channels:
                spacing = self._with_channels(spacing, Spacing())
            transformations = [
                {"type": "scale", "scale": [one.scale for one in spacing]},
                {"type": "translation", "translation": [one.translation for one in spacing]},
            ]
            datasets.append({"path": path.format(level), "coordinateTransformations": transformations})
        units = dict(zip(axes, (one.unit for one in self.pyramid.spacing), strict=True))
        names = self._with_channels(axes, "c") if with_channels else tuple(axes)
        stated = [
            {"name": axis, "type": _KINDS[axis]} | ({"unit": units[axis]} if units.get(axis) else {}) for axis in names
        ]
        write_multiscales_metadata(group, datasets, fmt=FormatV04(), axes=stated, name=name)
        described = group.attrs["multiscales"][0] | {"type": method}
        group.attrs.update({"multiscales": [described]})


def _create_array(
    group: zarr.Group, name: str, shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype[Any]
) -> None:
    group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype=dtype,
        compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.SHUFFLE),
        fill_value=0,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )


def _bytes(colour: str) -> list[int]:
    return [round(255 * part) for part in to_rgb(colour)]


def unfinished(target: Path) -> Path:
    """Return the name beside `target` that its result has until it is finished."""
    return target.with_name(f"{target.name}.partial")


def discard(path: Path) -> None:
    """Remove a result; raises `OutputError` when that fails."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.exists():
            os.unlink(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror}") from error
