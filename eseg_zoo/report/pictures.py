"""The pictures of a report, each as one address that holds all of it: no file, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image as Pixels
from scipy import ndimage

from eseg_zoo.colours import rgb
from eseg_zoo.report.scenes import Scene
from eseg_zoo.report.suggestions import Suggestion

# Pixels of the longer side of a picture of strokes, of a panel and of a crop, and by how much one is enlarged at most.
WIDE, PANEL, CROP_PANEL, LARGEST_ZOOM = 640, 480, 240, 4
QUALITY = 80  # of JPEG
# The radius of strokes, as a share of the picture's longer side, and the widths of a light and a dark line around them,
# as shares of the radius. Where more than a share of `DENSE` of a plane is labelled there are no strokes but areas, and
# the image shows through.
STROKE, LIGHT, DARK, DENSE = 1 / 160, 0.4, 0.3, 0.2
PALER, AREA_OPACITY = 0.45, 0.45
UNCERTAINTY_COLOURS = "magma"
# Pixels of the image from a suggested place to its ring.
RING = 9
# Of a panel's width that its scale bar takes at most.
BAR = 0.3

Colour = NDArray[np.uint8]  # (y, x, 3)


@dataclass(frozen=True)
class Bar:
    """A scale bar."""

    share: float  # of the picture's width, 0..1
    text: str


@dataclass(frozen=True)
class Ring:
    """A ring around a place, in shares of the picture's width and height, 0..1."""

    left: float  # of the place
    top: float
    width: float  # of the ring


@dataclass(frozen=True)
class Picture:
    """A picture in the page."""

    url: str
    alt: str  # what it shows, for those who do not see it
    caption: str = ""
    bar: Bar | None = None
    is_map: bool = False  # pixels stay sharp when it is enlarged
    ring: Ring | None = None


def panels_of(scene: Scene, colours: Sequence[str]) -> list[Picture]:
    """Return image, map and uncertainty of a scene, all at one scale; and labels and truth where there are any."""
    zoom, bar = _zoom(scene.labels.shape, PANEL), scale_bar(scene.labels.shape[1], scene.pixel)
    image = _resized(scene.picture, zoom)
    found = [Picture(_jpeg(image), f"Image: {scene.place}", "image", bar)]
    if (scene.labels >= 0).any():
        drawn = with_strokes(image, scene.labels, colours)
        found.append(Picture(_jpeg(drawn), f"Labels painted on {scene.place}", "labels", bar))
    maps = {"class map": scene.classes} | ({} if scene.truth is None else {"truth": scene.truth})
    found += [Picture(_map(one, colours), f"{name}: {scene.place}", name, bar, True) for name, one in maps.items()]
    unsure = _resized(_uncertain(scene.uncertainty), zoom)
    return [*found, Picture(_jpeg(unsure), f"Uncertainty of the map: {scene.place}", "uncertainty", bar)]


def strokes_of(scene: Scene, colours: Sequence[str]) -> Picture:
    """Return the image of a scene with its strokes."""
    image = with_strokes(_resized(scene.picture, _zoom(scene.labels.shape, WIDE)), scene.labels, colours)
    bar = scale_bar(scene.labels.shape[1], scene.pixel)
    return Picture(_jpeg(image), f"Labels painted on {scene.place}", scene.place, bar)


def crops_of(suggestion: Suggestion, colours: Sequence[str]) -> list[Picture]:
    """Return image, class map and uncertainty around a place, at one scale, with a ring around it."""
    scene, (y, x) = suggestion.scene, suggestion.centre
    height, width = scene.labels.shape
    zoom, bar = _zoom(scene.labels.shape, CROP_PANEL), scale_bar(width, scene.pixel)
    ring = Ring((x + 0.5) / width, (y + 0.5) / height, 2 * RING / width)
    image = with_strokes(_resized(scene.picture, zoom), scene.labels, colours, paler=0)
    where = f"around y {suggestion.place.y}, x {suggestion.place.x} in {scene.place}"
    return [
        Picture(_jpeg(image), f"Image {where}", "image", bar, ring=ring),
        Picture(_map(scene.classes, colours), f"Class map {where}", "class map", None, True, ring),
        Picture(_jpeg(_resized(_uncertain(scene.uncertainty), zoom)), f"Uncertainty {where}", "uncertainty", ring=ring),
    ]


def picture_of(image: NDArray[np.floating], alt: str, caption: str) -> Picture:
    """Return a small picture (y, x, 3), 0..1, for the page."""
    pixels = np.rint(255 * image).astype(np.uint8)
    return Picture(_jpeg(_resized(pixels, _zoom(pixels.shape[:2], CROP_PANEL))), alt, caption)


def svg(data: bytes, alt: str) -> Picture:
    """Return a drawing for the page."""
    return Picture("data:image/svg+xml;base64," + base64.b64encode(data).decode(), alt)


def with_strokes(picture: Colour, labels: NDArray[np.int16], colours: Sequence[str], *, paler: float = PALER) -> Colour:
    """Return a picture with the labels of its plane, which may be larger or smaller, drawn wide enough to be seen.

    A bright picture becomes `paler`, from 0 (as it is) to 1 (white); a dark one hardly, as strokes are seen there.
    """
    labelled = np.argwhere(labels >= 0)
    if not len(labelled):
        return picture
    known = np.array([rgb(colour) for colour in colours], np.uint8)
    if len(labelled) > DENSE * labels.size:
        shown = _nearest(labels, picture.shape[:2]) + 1
        painted = known[shown - 1]
        mixed = AREA_OPACITY * painted + (1 - AREA_OPACITY) * picture
        return np.where((shown > 0)[..., None], mixed, picture).astype(np.uint8)
    scale = np.array(picture.shape[:2]) / labels.shape
    places = np.minimum(((labelled + 0.5) * scale).astype(int), np.array(picture.shape[:2]) - 1)
    nearest = np.full(picture.shape[:2], -1)
    nearest[tuple(places.T)] = labels[tuple(labelled.T)]
    distance, (y, x) = ndimage.distance_transform_edt(nearest < 0, return_indices=True)
    drawn = picture + paler * picture.mean() / 255 * (255 - picture.astype(np.float32))
    width = STROKE * max(picture.shape[:2])
    radius = max(width, scale.max() / 2)  # an enlarged pixel keeps its size
    rings = ((LIGHT + DARK, np.uint8(0)), (LIGHT, np.uint8(255)), (0, known[nearest[y, x]]))
    for outer, colour in rings:
        drawn = np.where((distance < radius + outer * width)[..., None], colour, drawn)
    return np.asarray(drawn, np.uint8)


def scale_bar(width: int, pixel: float | None) -> Bar:
    """Return the longest scale bar of 1, 2 or 5 times a power of ten that takes at most `BAR` of so many pixels.

    It is in micrometres where their size is known, else in pixels.
    """
    whole = width * (pixel or 1)
    most = max(BAR * whole, 1 if pixel is None else 0)
    power = 10.0 ** floor(log10(most))
    length = next(step * power for step in (5, 2, 1) if step * power <= most * (1 + 1e-9))
    unit = "µm" if pixel else f"pixel{'s' * (length != 1)}"
    return Bar(length / whole, f"{length:g} {unit}")


def uncertainty_stops() -> list[str]:
    """Return the colours of uncertainties from 0 to 1, as `#rrggbb`."""
    return [to_hex(colormaps[UNCERTAINTY_COLOURS](value)) for value in np.linspace(0, 1, 9)]


def _zoom(size: Sequence[int], side: int) -> float:
    return min(side / max(size), LARGEST_ZOOM)


def _resized(picture: Colour, zoom: float) -> Colour:
    height, width = (max(round(zoom * n), 1) for n in picture.shape[:2])
    return np.array(Pixels.fromarray(picture).resize((width, height), Pixels.Resampling.LANCZOS))


def _nearest(values: NDArray[np.int16], size: Sequence[int]) -> NDArray[np.int16]:
    """Return the values (y, x) at the nearest pixel of each of so many."""
    rows, columns = (
        ((np.arange(n) + 0.5) * length / n).astype(int) for n, length in zip(size, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]


def _uncertain(uncertainty: NDArray[np.floating]) -> Colour:
    found: Colour = colormaps[UNCERTAINTY_COLOURS](np.clip(uncertainty, 0, 1), bytes=True)[..., :3]
    return found


def _map(classes: NDArray[np.int16], colours: Sequence[str]) -> str:
    """Return a class map as the address of a PNG; what has no class is grey."""
    known = np.array([(128, 128, 128), *(rgb(colour) for colour in colours)], np.uint8)
    zoom = min(_zoom(classes.shape, WIDE), 1)
    shown = _nearest(classes, [max(round(zoom * n), 1) for n in classes.shape]) + 1
    file = io.BytesIO()
    picture = Pixels.fromarray(known[shown])
    if len(known) <= 256:
        picture = picture.quantize(len(known), dither=Pixels.Dither.NONE)
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _jpeg(picture: Colour) -> str:
    grey = (picture == picture[..., :1]).all()
    file = io.BytesIO()
    Pixels.fromarray(picture[..., 0] if grey else picture).save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
