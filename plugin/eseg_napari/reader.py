"""Readers for napari: our class maps with names and colours, and projects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eseg_zoo.errors import EsegError

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return the function that reads a class map of eseg_zoo; None for anything else, which others may read."""
    if not isinstance(path, (str, Path)):
        return None
    found = Path(path)
    try:
        return read_maps if _classes_of(found)[0] else None
    except (EsegError, OSError, ValueError, KeyError):
        return None


def read_maps(path: str | Path | Sequence[str]) -> list[LayerData]:
    """Return a class map as a layer with the names and colours of its classes, which the status bar shows."""
    from eseg_napari.classes import of_mapping
    from eseg_napari.layers import pixels_of, placed
    from eseg_napari.painting import colormap_of
    from eseg_zoo import open_image
    from eseg_zoo.labels.ome_zarr import label_image_in

    path = Path(path) if isinstance(path, (str, Path)) else Path(path[0])
    names, colours = _classes_of(path)
    image = open_image(label_image_in(path) if path.is_dir() else path)
    axes, pixels = image.axes, pixels_of(image)
    if "c" in axes:  # of length 1
        pixels, axes = pixels.squeeze(axes.index("c")), axes.replace("c", "")
    import pandas as pd

    about = {
        "name": path.name.split(".")[0],
        "colormap": colormap_of(of_mapping(names, colours)),
        "opacity": 0.5,
        "features": pd.DataFrame({"index": list(names), "class": list(names.values())}),
        **placed(image, axes),
    }
    return [(pixels, about, "labels")]


def _classes_of(path: Path) -> tuple[dict[int, str], dict[str, str]]:
    """Return name of each value and colour of each name of a class map; nothing for what is none of ours."""
    if path.is_dir():
        from eseg_zoo.images.ome_zarr import is_zarr
        from eseg_zoo.labels.ome_zarr import classes_in, label_image_in

        if not is_zarr(path):
            return {}, {}
        found = classes_in(label_image_in(path))
        return {one.value: one.name for one in found}, {one.name: one.colour for one in found if one.colour}
    return _classes_of_tiff(path)


def _classes_of_tiff(path: Path) -> tuple[dict[int, str], dict[str, str]]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if not file.ome_metadata:
            return {}, {}
        page = file.pages[0]
        names = _annotated(file.ome_metadata)
        palette = getattr(page, "colormap", None)
    if palette is None:
        return names, {}
    eight = (np.asarray(palette) >> 8).astype(int)
    return names, {name: "#{:02x}{:02x}{:02x}".format(*eight[:, value].tolist()) for value, name in names.items()}


def _annotated(ome: str) -> dict[int, str]:
    """Return the classes in the annotation that `eseg predict` writes into an OME-TIFF."""
    import xml.etree.ElementTree as ElementTree

    names = {}
    for element in ElementTree.fromstring(ome).iter():
        if element.tag.endswith("}MapAnnotation") and element.get("Namespace") == "eseg_zoo/classes":
            for one in element.iter():
                if one.tag.endswith("}M") and (one.get("K") or "").isdecimal():
                    names[int(one.get("K") or 0)] = one.text or ""
    return names
