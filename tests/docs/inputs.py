"""The files that the pages name: a small synthetic volume, and strokes on it as each program saves them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import zarr
from eseg_export.demo.em import CYTOPLASM, VESICLES, em_phantom
from eseg_export.demo.strokes import sparse_strokes
from labels.ilastik_project import PaintedImage, write_project
from numpy.typing import NDArray
from ome_zarr.writer import write_image
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from conftest import random_checkpoint

SHAPE = 14, 160, 160  # z, y, x
LABELLED = 12  # slices with strokes, from the first
NAMES = {1: "membrane", 2: "cytoplasm", 3: "mitochondrion"}
COLOURS = {1: (230, 159, 0), 2: (86, 180, 233), 3: (0, 158, 115)}
VOXEL = {"z": 0.05, "y": 0.005, "x": 0.005}  # micrometres
GIVEN = {
    "run.yaml": "images: raw.tif\nlabels: strokes.tif\n"
    "classes: {1: membrane, 2: cytoplasm, 3: mitochondrion}\npreset: small\nout: runs/first\n",
    "card.yaml": "name: Neurons\nauthors: [{name: Jane Doe}]\nlicense: CC-BY-4.0\n",
}
Values = NDArray[np.uint8]


def write_inputs(folder: Path) -> None:
    """Write every file that a page may name into `folder`."""
    phantom = em_phantom(SHAPE, rng=np.random.default_rng(0))
    dense = np.where(phantom.truth == VESICLES, CYTOPLASM, phantom.truth)
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[:LABELLED] = sparse_strokes(dense[:LABELLED], fraction=0.01, rng=np.random.default_rng(1))
    volumes = {"raw": phantom.image, "image": phantom.image, "strokes": strokes, "dense": dense}
    for name, values in volumes.items():
        write_tiff(folder / f"{name}.tif", values.astype(np.uint8))
    write_tiff(folder / "slide.tif", phantom.image[0].astype(np.uint8))
    write_ilastik(folder / "neurons.ilp", strokes)
    write_geojson(folder / "slide.geojson", strokes[0])
    write_rois(folder / "RoiSet.zip", strokes)
    write_labkit(folder / "raw.tif.labeling", strokes)
    write_zarr(folder / "volume.ome.zarr", phantom.image.astype(np.uint8))


def write_given(folder: Path, name: str) -> None:
    """Write a file that is made on one page and taken as given on another."""
    if name == "model.pt":
        random_checkpoint(2).save(folder / name)
    else:
        (folder / name).write_text(GIVEN[name], encoding="utf-8")


def write_tiff(path: Path, values: Values) -> None:
    """Write a plane or a volume as Fiji saves it."""
    axes = "ZYX"[-values.ndim :]
    depth = {"spacing": VOXEL["z"]} if values.ndim == 3 else {}
    tifffile.imwrite(
        path, values, imagej=True, resolution=(1 / VOXEL["x"], 1 / VOXEL["y"]),
        metadata={"axes": axes, "unit": "micron", **depth},
    )  # fmt: skip


def write_ilastik(path: Path, strokes: Values) -> None:
    """Write an ilastik project whose image is `raw.tif` beside it."""
    painted = PaintedImage(strokes, "zyx", "raw.tif")
    write_project(path, [painted], names=list(NAMES.values()), colours=list(COLOURS.values()), side=64)


def write_geojson(path: Path, plane: Values) -> None:
    """Write the strokes of a plane as QuPath exports its objects: one line a stroke, corners of pixels at (0, 0)."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [[x + 0.5, y + 0.5] for y, x in line]},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": NAMES[value], "color": list(COLOURS[value])},
            },
        }
        for value, line in lines_of(plane)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def write_rois(path: Path, strokes: Values) -> None:
    """Write the strokes as a set of the ROI Manager: freehand lines that are named after their class."""
    rois = list[ImagejRoi]()
    for z, plane in enumerate(strokes):
        for value, line in lines_of(plane):
            roi = ImagejRoi.frompoints([(x, y) for y, x in line], name=f"{NAMES[value]}-{len(rois)}", position=z + 1)
            roi.roitype = ROI_TYPE.FREELINE
            rois.append(roi)
    roiwrite(path, rois)


def write_labkit(path: Path, strokes: Values) -> None:
    """Write the strokes as Labkit does: a list of pixels (x, y, z) for each label."""
    content = {
        "interval": {"min": [0, 0, 0], "max": [n - 1 for n in reversed(SHAPE)], "n": 3},
        "labels": {name: np.argwhere(strokes == value)[:, ::-1].tolist() for value, name in NAMES.items()},
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def write_zarr(path: Path, volume: Values) -> None:
    """Write an OME-Zarr with two resolution levels."""
    units = dict.fromkeys(VOXEL, "micrometer")
    write_image(
        volume, zarr.open_group(path, mode="w"), axes="zyx", scale=VOXEL, axes_units=units, scale_factors=(2,),
        storage_options={"chunks": (1, 80, 80)},
    )  # fmt: skip


def lines_of(plane: Values) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the value of each stroke in a plane with its pixels (y, x) in the order in which they were painted."""
    left = {(int(y), int(x)): int(plane[y, x]) for y, x in np.argwhere(plane)}
    while left:
        start = min(left, key=lambda pixel: (len(_around(left, pixel)), pixel))  # an end has one neighbour
        value, line = left.pop(start), [start]
        while near := [pixel for pixel in _around(left, line[-1]) if left[pixel] == value]:
            line.append(near[0])
            del left[near[0]]
        if len(line) > 1:
            yield value, line


def _around(left: dict[tuple[int, int], int], pixel: tuple[int, int]) -> list[tuple[int, int]]:
    y, x = pixel
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
    return [(y + dy, x + dx) for dy, dx in steps if (y + dy, x + dx) in left]
