"""Maps as an OME-Zarr: labels with class names and colours, and an image of the other maps.

OME-NGFF 0.4 on Zarr format 2: napari-ome-zarr, the Fiji viewers (n5-viewer, MoBIE, BigDataViewer) and older tools read
it, while released Fiji readers of 0.5 (Zarr format 3) are not everywhere yet. Each chunk is a file of its own, which
Zarr writes under a temporary name and renames: a chunk that is there is whole.

The unfinished result has a file in it, `MARK`, that says whose it is. What has its name and no mark is somebody else's
and never touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from ome_zarr.format import FormatV04
from ome_zarr.writer import write_label_metadata, write_multiscales_metadata

from eseg_zoo.colours import rgb
from eseg_zoo.errors import OutputError
from eseg_zoo.images.image import Spacing
from eseg_zoo.images.pyramid import Pyramid
from eseg_zoo.images.writers import Described
from eseg_zoo.output import Owner, discard, fitting, hidden, unfinished

LABELS = "labels/classes"
MARK = ".eseg_zoo"
_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_PARTIAL = "*.partial"  # what Zarr calls a chunk that it has not renamed yet


@dataclass(frozen=True)
class OmeZarrWriter:
    """Writes the maps of one image into the OME-Zarr `target`; until it is finished it is called `TARGET.partial`."""

    target: Path
    grid: Pyramid
    described: Described
    owner: Owner | None = None  # who alone may write it; None where nobody else can know of it

    @property
    def path(self) -> Path:
        """The name that the result has until it is finished."""
        return unfinished(self.target)

    @property
    def channels(self) -> tuple[str, ...]:
        return self.described.channels

    @property
    def label_type(self) -> np.dtype[Any]:
        return self.described.label_type

    def begin(self, origin: Mapping[str, Any], *, force: bool) -> bool:
        """Make the unfinished result, or take up the one that is there; returns whether it is new.

        Raises `OutputError` when the one that is there has another origin and `force` is not set, and when it is not
        one of ours.
        """
        self._refuse_foreign()
        found = self.origin() if self.path.exists() else None
        if found == origin:
            return False
        if found is not None and not force:
            changed = ", ".join(key for key in origin if found.get(key) != origin[key])
            raise OutputError(
                f"{self.path} is the unfinished result of another prediction (it differs in {changed}); "
                f"remove it, or give --force to start {self.target.name} anew"
            )
        discard(self.path)
        self._create(origin)
        return True

    def _create(self, origin: Mapping[str, Any]) -> None:
        """Make all arrays without any chunk; `origin` is kept in the attributes. It has its name when all is there.

        Raises `OutputError` when the folder cannot be written to.
        """
        with self.reporting(), hidden(self.path) as folder:
            folder.mkdir()
            group = zarr.create_group(str(folder), zarr_format=2)
            for level in range(len(self.grid.shapes)):
                shape, chunks = self.grid.shapes[level], self.grid.chunks_of(level)
                _create_array(group, f"{LABELS}/{level}", shape, chunks, self.label_type)
                if self.channels:
                    shape = self._with_channels(shape, len(self.channels))
                    dtype = np.dtype(self.described.dtype)
                    _create_array(group, str(level), shape, self._with_channels(chunks, 1), dtype)
            self._describe_labels(group)
            self._describe_image(group)
            group.attrs.update({"eseg_zoo": dict(origin)})
            folder.joinpath(MARK).write_text("maps that eseg_zoo has not finished\n", encoding="utf-8")
            folder.rename(self.path)

    def _refuse_foreign(self) -> None:
        """Raise `OutputError` where the name of the unfinished result is taken by what is none."""
        if self.path.is_symlink() or (self.path.exists() and not self.path.joinpath(MARK).is_file()):
            kind = "a link" if self.path.is_symlink() else "a folder" if self.path.is_dir() else "a file"
            raise OutputError(
                f"{self.path} is {kind} that eseg_zoo has not made, where {self.target.name} would be until it is "
                "finished; move it, or give another name"
            )

    def _require_owner(self) -> None:
        if self.owner is not None:
            self.owner.require()

    def origin(self) -> dict[str, Any] | None:
        """Return what the unfinished result follows from, or None where making it was interrupted."""
        try:
            found = zarr.open_group(str(self.path), mode="r").attrs.asdict().get("eseg_zoo")
        except (OSError, ValueError, KeyError):
            return None
        return found if isinstance(found, dict) else None

    def is_done(self, level: int, index: Sequence[int]) -> bool:
        """Say whether a chunk is finished: its labels are, which are written after the other maps."""
        return self.path.joinpath(LABELS, str(level), *map(str, index)).exists()

    def _has_maps(self, level: int, index: Sequence[int]) -> bool:
        places = (self._with_channels(index, channel) for channel in range(len(self.channels)))
        return all(self.path.joinpath(str(level), *map(str, place)).exists() for place in places)

    def write(
        self, level: int, index: Sequence[int], labels: NDArray[np.integer], maps: NDArray[np.generic] | None
    ) -> None:
        """Write a chunk of labels (*axes) and of the other maps (channels, *axes).

        Raises `OutputError` when the disk is full or refuses it, and when somebody else writes this result now.
        """
        self._require_owner()
        region = self.grid.region(level, index)
        with self.reporting():
            if maps is not None:
                self._open(str(level), "r+")[self._with_channels(region, slice(None))] = np.moveaxis(
                    maps, 0, self._channel_axis
                )
            self._open(f"{LABELS}/{level}", "r+")[region] = labels

    def read_labels(self, level: int, region: tuple[slice, ...]) -> NDArray[np.integer]:
        """Return labels (*axes) of a region of one level."""
        return np.asarray(self._open(f"{LABELS}/{level}", "r")[region])

    def read_maps(self, level: int, region: tuple[slice, ...]) -> NDArray[Any]:
        """Return the other maps (channels, *axes) of a region of one level."""
        found = np.asarray(self._open(str(level), "r")[self._with_channels(region, slice(None))])
        return np.moveaxis(found, self._channel_axis, 0)

    def read_map(self, level: int, channel: int, region: tuple[slice, ...]) -> NDArray[Any]:
        """Return one of the other maps (*axes) in a region of one level."""
        found = self._open(str(level), "r")[self._with_channels(region, slice(channel, channel + 1))]
        return np.asarray(found).squeeze(self._channel_axis)

    def finish(self) -> None:
        """Give the result its name; one that has it already is removed.

        Raises `OutputError` when a chunk is not there, and when somebody else writes this result now.
        """
        self._require_owner()
        self.require_whole()
        with self.reporting(), hidden(self.target.with_name(fitting(self.target.name, after=".replaced"))) as replaced:
            for left in self.path.rglob(_PARTIAL):  # of a process that was killed
                left.unlink()
            self._require_owner()
            if self.target.exists():
                self.target.rename(replaced)
            try:
                self.path.rename(self.target)
            except BaseException:
                if replaced.exists():
                    replaced.rename(self.target)
                raise
            self.target.joinpath(MARK).unlink(missing_ok=True)

    def require_whole(self) -> None:
        """Raise `OutputError` that counts the chunks that are not there."""
        absent = total = 0
        for level in range(len(self.grid.shapes)):
            for index in self.grid.indices(level):
                total += 1
                absent += not (self.is_done(level, index) and self._has_maps(level, index))
        if absent:
            raise OutputError(
                f"{self.path} lacks {absent} of its {total} chunks, which were removed while it was written; run the "
                "command again to make them"
            )

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
        return int(self.grid.axes.startswith("t"))

    def _with_channels(self, values: Sequence[Any], channel: Any) -> tuple[Any, ...]:
        """Return values of the axes with that of the channel axis at its place."""
        axis = self._channel_axis
        return (*values[:axis], channel, *values[axis:])

    def _open(self, name: str, mode: Any) -> zarr.Array[Any]:
        """Return an array that writes every chunk, one of zeros too; `open_array` takes no such setting."""
        return zarr.open_array(store=str(self.path), path=name, mode=mode).with_config({"write_empty_chunks": True})

    def _describe_labels(self, group: zarr.Group) -> None:
        values = [value for value, _ in self.described.classes]
        colours = zip(values, self.described.colours, strict=True)
        write_label_metadata(
            group["labels"],
            "classes",
            colors=[{"label-value": value, "rgba": [*rgb(colour), 255]} for value, colour in colours],
            properties=[{"label-value": value, "name": name} for value, name in self.described.classes],
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
        names = (name for _, name in self.described.classes)
        top = 255.0 if np.dtype(self.described.dtype) == np.uint8 else 1.0
        colours = dict(zip(names, self.described.colours, strict=True))
        window = {"min": 0.0, "max": top, "start": 0.0, "end": top}
        channels: Any = [
            {"label": name, "color": colours.get(name, "#ffffff")[1:], "window": window, "active": True}
            for name in self.channels
        ]
        group.attrs.update({"omero": {"channels": channels}})

    def _describe(self, group: Any, name: str, path: str, method: str, *, with_channels: bool) -> None:
        axes, datasets = self.grid.axes, []
        for level in range(len(self.grid.shapes)):
            spacing: Sequence[Spacing] = self.grid.spacing_of(level)
            if with_channels:
                spacing = self._with_channels(spacing, Spacing())
            transformations = [
                {"type": "scale", "scale": [one.scale for one in spacing]},
                {"type": "translation", "translation": [one.translation for one in spacing]},
            ]
            datasets.append({"path": path.format(level), "coordinateTransformations": transformations})
        units = dict(zip(axes, (one.unit for one in self.grid.spacing), strict=True))
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
