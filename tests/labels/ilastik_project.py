"""Projects of ilastik for tests, laid out as ilastik's own: see `eseg_zoo/labels/ilastik.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PaintedImage:
    """A lane: an image, and the labels (axes) that were painted on it."""

    labels: NDArray[Any]
    axes: str  # of the labels
    file: str
    nickname: str = ""
    channels_at: int | None = None  # place of a channel axis among the image's own; None where it has none

    @property
    def own_axes(self) -> str:
        """The axes of the image's file."""
        letters = list(self.axes)
        if self.channels_at is not None:
            letters.insert(self.channels_at, "c")
        return "".join(letters)


def write_project(
    path: Path, images: Sequence[PaintedImage], *, names: Sequence[str] = ("membrane", "cytoplasm"),
    colours: Sequence[tuple[int, int, int]] = ((255, 225, 25), (0, 130, 200)), version: str = "1.4.0",
    block_axes: str | None = None, says_axes: bool = True, group: str = "PixelClassification", masked: bool = False,
    side: int = 16,
) -> Path:  # fmt: skip
    """Write a project; `block_axes` are those of its blocks, with c, which they say themselves for `says_axes`."""
    with h5py.File(path, "a") as file:
        if "ilastikVersion" not in file:
            file["ilastikVersion"] = version.encode()
            file["workflowName"] = b"Pixel Classification"
            for number, image in enumerate(images):
                _write_info(file.create_group(f"Input Data/infos/lane{number:04d}/Raw Data"), image)
        applet = file.create_group(group)
        applet.create_dataset("LabelNames", data=[name.encode() for name in names]).attrs["isEmpty"] = False
        applet.create_dataset("LabelColors", data=np.array(colours)).attrs["isEmpty"] = False
        sets = applet.create_group("LabelSets")
        if masked:
            sets.attrs["meta.has_mask"] = True
        for number, image in enumerate(images):
            lane = sets.create_group(f"labels{number:03d}")
            letters = block_axes or f"{image.axes}c"
            for count, (slices, block) in enumerate(_blocks(image, letters, side)):
                saved = _write_block(lane, f"block{count:04d}", block, masked=masked)
                saved.attrs["blockSlice"] = f"[{','.join(f'{part.start}:{part.stop}' for part in slices)}]"
                if says_axes:
                    saved.attrs["axistags"] = tags(letters)
    return path


def tags(letters: str) -> str:
    """The JSON of vigra for these axes."""
    return json.dumps(
        {"axes": [{"key": letter, "typeFlags": 2, "resolution": 0, "description": ""} for letter in letters]}
    )


def _write_info(raw: h5py.Group, image: PaintedImage) -> None:
    shape = list(image.labels.shape)
    if image.channels_at is not None:
        shape.insert(image.channels_at, 3)
    raw["filePath"] = image.file.encode()
    raw["location"] = b"ProjectInternal" if image.file.startswith("/Input Data/") else b"FileSystem"
    raw["nickname"] = (image.nickname or Path(image.file).stem).encode()
    raw["axistags"] = tags(image.own_axes).encode()
    raw["shape"] = np.array(shape)


def _write_block(lane: h5py.Group, name: str, block: NDArray[Any], *, masked: bool) -> Any:
    if not masked:
        return lane.create_dataset(name, data=block)
    saved = lane.create_group(name)
    saved.create_dataset("data", data=np.where(block, block, 1))  # what is not labelled is masked, whatever it holds
    saved.create_dataset("mask", data=block == 0)
    saved.create_dataset("fill_value", data=np.uint8(0))
    return saved


def _blocks(image: PaintedImage, letters: str, side: int) -> Iterator[tuple[list[slice], NDArray[Any]]]:
    """Yield slices and labels of blocks, cropped to what was painted."""
    order = [image.axes.index(letter) for letter in letters if letter in image.axes]
    whole = image.labels.astype(np.uint8).transpose(order)
    whole = whole.reshape([image.labels.shape[image.axes.index(a)] if a in image.axes else 1 for a in letters])
    for corner in product(*(range(0, length, side) for length in whole.shape)):
        block = whole[tuple(slice(start, start + side) for start in corner)]
        found = np.argwhere(block)
        if len(found):
            first, last = found.min(0), found.max(0) + 1
            inner = tuple(slice(*ends) for ends in zip(first, last, strict=True))
            slices = [slice(int(c + f), int(c + n)) for c, f, n in zip(corner, first, last, strict=True)]
            yield slices, block[inner]
