"""What a training was begun with: a record of its images and labels, so that it is resumed on the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.labels.layers import ImageLayer, Layer
from eseg_zoo.training.data import LabelledImage

# Of images up to this size all pixels are compared, of larger ones so many windows of this side.
COMPARED_WHOLE = 1 << 30
WINDOWS, WINDOW_SIDE = 64, 512

Record = dict[str, str]


def records_of(pairs: Sequence[LabelledImage], read: Sequence[Image]) -> list[Record]:
    """Return what tells these images and labels from others, in the order image, label files, image, label files.

    `read` are the same images as training reads them, in memory where they fit, so that nothing is decoded twice.
    """
    records = []
    for pair, kept in zip(pairs, read, strict=True):
        records.append({"name": pair.image.name, "fingerprint": pair.image.fingerprint, "content": content_of(kept)})
        records += [_record_of(layer) for layer in pair.labels.layers]
    return records


def _record_of(layer: Layer) -> Record:
    """Return what tells a layer of labels from others: the pixels of a label image, or what was painted."""
    if isinstance(layer, ImageLayer):
        pixels = layer.pixels
        content = f"{content_of(pixels)} {layer.meaning}".strip()
        return {"name": layer.name, "fingerprint": pixels.fingerprint, "content": content}
    found = hashlib.sha256(repr(layer.space).encode())
    for points in layer.points():
        found.update(points.places.tobytes() + points.indices.tobytes())
    digest = found.hexdigest()[:32]
    return {"name": layer.name, "fingerprint": digest, "content": digest}


def require_same(before: Sequence[Record], after: Sequence[Record]) -> None:
    """Raise `InputError` that names the first image or label file that is not what it was.

    A file that was moved or copied is the same if its pixels are.
    """
    for old, new in zip(before, after, strict=True):
        if old["fingerprint"] != new["fingerprint"] and old["content"] != new["content"]:
            raise InputError(
                f"{new['name']} has changed since the training began; put the old one back, or start anew with --force"
            )


def content_of(image: Image) -> str:
    """Return a digest of an image's axes, shape, type and pixels; of very large ones of some windows."""
    found = hashlib.sha256(repr((image.axes, image.shape, image.dtype.str)).encode())
    for region in _regions(image):
        found.update(np.ascontiguousarray(image.read(region)).tobytes())
    return found.hexdigest()[:32]


def _regions(image: Image) -> Iterator[dict[str, slice]]:
    """Yield what is compared: every plane, or windows at places that follow from the shape alone."""
    sizes = image.sizes
    planes = [(t, z) for t in range(sizes["t"]) for z in range(sizes["z"])]
    if prod(image.shape) * image.dtype.itemsize <= COMPARED_WHOLE:
        yield from ({"t": slice(t, t + 1), "z": slice(z, z + 1)} for t, z in planes)
        return
    rng = np.random.default_rng(0)
    for number in np.linspace(0, len(planes) - 1, WINDOWS).round().astype(int).tolist():
        t, z = planes[number]
        region = {"t": slice(t, t + 1), "z": slice(z, z + 1)}
        for axis in "yx":
            side = min(WINDOW_SIDE, sizes[axis])
            start = int(rng.integers(sizes[axis] - side + 1))
            region[axis] = slice(start, start + side)
        yield region
