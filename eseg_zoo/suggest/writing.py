"""Suggested places as files that labelling programs open: points for napari, ROIs for ImageJ and Fiji."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eseg_zoo.output import replacing
from eseg_zoo.suggest.places import Place


def write_points(path: Path, places: Sequence[Place], *, force: bool) -> None:
    """Write places of one image as a CSV that napari opens as a layer of points, in pixels; the best place is first.

    The columns `axis-0`, `axis-1` ... are the image's axes in the order t, z, y, x, those that it has. napari shows
    the others as properties of the points. Nothing in it says what class a place is: a person does.
    """
    axes = [f"axis-{number}" for number in range(len(places[0].position))]
    with replacing(path, force=force) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["index", *axes, "rank", "uncertainty", "difference", "looks-like"])
        for index, place in enumerate(places):
            figures = [f"{value:.4f}" for value in (place.uncertainty, place.difference)]
            table.writerow([index, *place.position, place.rank, *figures, place.looks_like])


def write_rois(path: Path, places: Sequence[Place], *, force: bool) -> None:
    """Write places of one image as a zip of point ROIs, which ImageJ's ROI Manager opens.

    Each is tied to its slice, as ImageJ counts them: from 1, by one number where the image is a plain stack, and by
    slice and frame (of any channel) where it has more than one long axis, which ImageJ calls a hyperstack.
    """
    from roifile import ROI_TYPE, ImagejRoi, roiwrite

    rois = []
    for place in places:
        point = np.array([[place.x, place.y]])
        roi = ImagejRoi.frompoints(point, name=f"{place.rank:02d} {place.looks_like}", **_position(place))
        roi.roitype = ROI_TYPE.POINT
        rois.append(roi)
    with replacing(path, force=force) as temporary:
        roiwrite(temporary, rois, name=[f"{place.rank:02d}" for place in places], mode="w")


def _position(place: Place) -> dict[str, int]:
    """Return where in its image a place is, for ImageJ; counted from 0, as roifile takes it."""
    long = [axis for axis in "tcz" if place.image.sizes[axis] > 1]
    if not long:
        return {}
    if long in (["t"], ["z"]):
        return {"position": place.t if long == ["t"] else place.z}
    return {"t": place.t, "z": place.z}
