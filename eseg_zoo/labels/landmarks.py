"""Some labels that a model was trained on, kept with it: an evaluation on the same labels can then be told.

A landmark is a place in a section and a number that follows from the class there and the pixels around it. The file may
have another name or hold more labels; where it shows the same pixels with the same label, it is known again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import Section, Window

# Landmarks that a model keeps, spread over all that it learnt from.
KEPT = 128
# Pixels around a place that count, along y and x.
_AROUND = 1


def landmarks_of(sections: Sequence[Section], anchors: AnchorSet) -> list[list[int]]:
    """Return landmarks, each [*place in its section, number], of anchors whose sections are numbers in `sections`."""
    chosen = anchors.select(np.unique(np.linspace(0, len(anchors) - 1, KEPT).round().astype(int)))
    found = []
    for (number, *place), label in zip(chosen.places.tolist(), chosen.labels.tolist(), strict=True):
        pixels = sections[number].read(_around(place))
        found.append([*place, _number(pixels, label)])
    return found


def known_again(
    landmarks: Sequence[Sequence[int]],
    pixels: NDArray[np.floating],
    labels: NDArray[np.integer],
    window: Window,
    margin: Sequence[int],
) -> set[int]:
    """Return which landmarks (indices) are in a window of a section.

    `labels` (*window) are class indices, below 0 where there is none, and `pixels` (c, *more) are those of the window
    with this margin on each side, at least 1 along y and x.
    """
    found = set()
    for index, (*place, number) in enumerate(landmarks):
        inside = [position - part.start for position, part in zip(place, window, strict=True)]
        if any(position < 0 or position >= n for position, n in zip(inside, labels.shape, strict=True)):
            continue
        label = int(labels[tuple(inside)])
        if label >= 0 and _number(_seen_at(inside, pixels, margin), label) == number:
            found.add(index)
    return found


def places_known_again(
    landmarks: Sequence[Sequence[int]],
    pixels: NDArray[np.floating],
    window: Window,
    margin: Sequence[int],
    *,
    classes: int,
) -> NDArray[np.int64]:
    """Return the places (n, dims), within their section, of the landmarks that are in a window of it, of any class.

    `pixels` and `margin` are as in `known_again`. It tells where a model has labels without the file that holds them.
    """
    found = []
    for *place, number in landmarks:
        inside = [position - part.start for position, part in zip(place, window, strict=True)]
        if all(part.start <= position < part.stop for position, part in zip(place, window, strict=True)):
            seen = _seen_at(inside, pixels, margin)
            if any(_number(seen, label) == number for label in range(classes)):
                found.append(place)
    return np.array(found, np.int64).reshape(-1, len(window))


def _seen_at(inside: Sequence[int], pixels: NDArray[np.floating], margin: Sequence[int]) -> NDArray[np.floating]:
    """Return the pixels (c, *around) of a place of a window that has this margin."""
    seen = _around([position + more for position, more in zip(inside, margin, strict=True)])
    return pixels[(slice(None), *seen)]


def _around(place: Sequence[int]) -> Window:
    """Return the window of a place and its neighbours along y and x."""
    z, plane = place[:-2], place[-2:]
    return (*(slice(n, n + 1) for n in z), *(slice(n - _AROUND, n + _AROUND + 1) for n in plane))


def _number(pixels: NDArray[np.generic], label: int) -> int:
    """Return a number, below 2^63, of pixels (c, *window) and the class index there."""
    content = np.ascontiguousarray(pixels, np.float32).tobytes() + bytes([label % 256])
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1
