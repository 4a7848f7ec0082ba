"""Where a label image begins in its image: at its first pixel, where the run says, or where the file states it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image, Spacing
from eseg_zoo.labels.layers import AXES, Place

# Share of a pixel by which a stated position may miss a whole one, and of a pixel's size by which two may differ.
_NEAR = 0.01


def origin_of(labels: Image, image: Image, offset: Place | None) -> Place:
    """Return the place (t, z, y, x) in an image at which its label image begins.

    `offset` is what the run says. Where it says nothing and the sizes differ, the positions that both files
    state count, if they are a whole number of pixels apart. Raises `InputError` where the labels are of another size
    and nobody says where they begin.
    """
    if offset is not None:
        return offset
    found, expected = ({axis: one.sizes[axis] for axis in AXES} for one in (labels, image))
    if found == expected:
        return 0, 0, 0, 0
    stated = _stated_origin(labels, image)
    if stated is None:
        raise InputError(
            f"{labels.name} has {_tell(found)}, but its image {image.name} has {_tell(expected)}"
            f"{_way_out(labels.name, found, expected)}"
        )
    return stated


def _stated_origin(labels: Image, image: Image) -> Place | None:
    """Return where labels of the same pixel size begin, by the positions in both files; None where these do not say."""
    places = []
    inner, outer = (dict(zip(one.axes, one.spacing, strict=True)) for one in (labels, image))
    for axis in AXES:
        apart = _pixels_apart(inner.get(axis, Spacing()), outer.get(axis, Spacing()))
        if apart is None and labels.sizes[axis] != image.sizes[axis]:
            return None
        places.append(apart or 0)
    t, z, y, x = places
    return (t, z, y, x) if any(places) else None


def _pixels_apart(inner: Spacing, outer: Spacing) -> int | None:
    """Return how many pixels after another axis an axis with the same pixels begins; None where they do not say."""
    size, expected = inner.micrometres, outer.micrometres
    if not size or not expected or expected < 0 or not isclose(size, expected, rel_tol=_NEAR):
        return None
    apart = inner.translation / inner.scale * size / expected - outer.translation / outer.scale
    return round(apart) if abs(apart - round(apart)) < _NEAR else None


def _way_out(name: str, found: Mapping[str, int], expected: Mapping[str, int]) -> str:
    """Return what to do about labels that are smaller than their image; nothing where they are larger."""
    if any(found[axis] > n for axis, n in expected.items()):
        return ""
    first = ", ".join(f"{axis}: 0" for axis, n in expected.items() if found[axis] < n)
    return (
        ": if it is a part of the image, say at which of its pixels it begins, as in "
        f"labels: {{file: {name}, offset: {{{first}}}}} for the first"
    )


def _tell(sizes: Mapping[str, int]) -> str:
    return " x ".join(f"{axis}={size}" for axis, size in sizes.items())
