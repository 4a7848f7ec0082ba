"""How three consumers cut an image into tiles, from what a package declares: their arithmetic, not their parsers.

Written down from their source and from what they did when they ran; nothing of it is taken from our own tiling. Each
function returns one `Cut` for each axis; the sizes are pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

ILASTIK_SIDE = {2: 512, 3: 64}  # pixels a side that its tile aims at, by the number of spatial axes
QUPATH_SIDE = 512


@dataclass(frozen=True)
class DeclaredAxis:
    """What a package says of one spatial axis: sizes are `min + n * step`."""

    min: int
    step: int
    halo: int
    scale: float = 1.0  # of the output tensor


@dataclass(frozen=True)
class Tile:
    """One tile along one axis, as pixels of the image from, to: what is read lies partly beyond it and is mirrored."""

    read: tuple[int, int]
    kept: tuple[int, int]


@dataclass(frozen=True)
class Cut:
    """How one axis is cut."""

    halo: int
    tile: int  # pixels that go into the network
    output: int  # pixels of the whole result
    tiles: tuple[Tile, ...]  # none where the halo leaves no room

    @property
    def share(self) -> float:
        """How much of the network's work is kept, 0..1: the rest is halo."""
        return max(self.tile - 2 * self.halo, 0) / self.tile


Cutting = Callable[[Sequence[DeclaredAxis], Sequence[int]], tuple[Cut, ...]]
"""(axes, size of the image) -> one `Cut` for each axis."""


def cut_by_jdll(axes: Sequence[DeclaredAxis], size: Sequence[int]) -> tuple[Cut, ...]:
    """Return deepImageJ's tiles: as large as the image and its halo, whatever the minimum is.

    JDLL takes the scale of an axis, which is micrometres a pixel, for output size / input size.
    """
    cuts = []
    for axis, length in zip(axes, size, strict=True):
        halo = int(axis.halo / axis.scale)
        tile = (length + 2 * halo) // axis.step * axis.step
        cuts.append(Cut(halo, tile, int(length * axis.scale), tuple(_moved_back(length, tile, halo))))
    return tuple(cuts)


def cut_by_qupath(axes: Sequence[DeclaredAxis], size: Sequence[int]) -> tuple[Cut, ...]:
    """Return QuPath's tiles: a multiple of the minimum, about 512, the halo within (as `model_qupath.yaml` has it).

    It reads the minimum in place of the step.
    """
    cuts = []
    for axis, length in zip(axes, size, strict=True):
        tile = axis.min * max(QUPATH_SIDE // axis.min, 1)
        cuts.append(Cut(axis.halo, tile, length, tuple(_moved_back(length, tile, axis.halo))))
    return tuple(cuts)


def cut_by_ilastik(axes: Sequence[DeclaredAxis], size: Sequence[int]) -> tuple[Cut, ...]:
    """Return ilastik's tiles: every minimum times the one smallest growth that brings an axis to its side, or none.

    The last tile of a row is centred on what is left, so it reads further on both sides, before it the odd pixel.
    """
    side, longest = ILASTIK_SIDE[len(axes)], max(axis.min for axis in axes)
    cuts = []
    for axis, length in zip(axes, size, strict=True):
        grown = max(axis.min * side // longest, axis.min)
        tile = axis.min + (grown - axis.min) // axis.step * axis.step
        cuts.append(Cut(axis.halo, tile, length, tuple(_centred(length, tile, axis.halo))))
    return tuple(cuts)


def kept_share(cuts: Sequence[Cut]) -> float:
    """Return how much of the network's work is kept, 0..1."""
    return prod(cut.share for cut in cuts)


def complaints(axes: Sequence[DeclaredAxis], size: Sequence[int], cuts: Sequence[Cut]) -> Iterator[str]:
    """Yield what is wrong with the cuts: a halo, an output or tiles other than the image and its package ask for."""
    for axis, length, cut in zip(axes, size, cuts, strict=True):
        if cut.halo != axis.halo:
            yield f"takes a halo of {cut.halo:,} pixels instead of {axis.halo:,}"
        if cut.output != length:
            yield f"returns {cut.output:,} pixels of {length:,}"
        if not cut.tiles:
            yield f"has tiles of {cut.tile:,} pixels, in which a halo of {cut.halo:,} leaves no room"
        elif not _covers(cut.tiles, length, axis.halo):
            yield f"leaves out pixels or their halo in a row of {length:,} pixels"


def _covers(tiles: Sequence[Tile], length: int, halo: int) -> bool:
    """Say whether the tiles keep every pixel, each with its halo around it."""
    done = 0
    for tile in tiles:
        (read, end), (kept, last) = tile.read, tile.kept
        if kept > done or kept - read < halo or end - last < halo:
            return False
        done = last
    return done == length


def _moved_back(length: int, tile: int, halo: int) -> Iterator[Tile]:
    """Yield tiles side by side; the last is moved back so that it ends with the image, if it is not longer."""
    room = tile - 2 * halo
    if room <= 0:
        return
    for start in range(0, length, room):
        kept = max(min(start, length - room), 0)
        yield Tile((kept - halo, kept - halo + tile), (kept, min(kept + room, length)))


def _centred(length: int, tile: int, halo: int) -> Iterator[Tile]:
    """Yield tiles side by side; the last is centred on what is left."""
    room = tile - 2 * halo
    if room <= 0:
        return
    for start in range(0, length, room):
        end = min(start + room, length)
        read = start - (tile - (end - start) + 1) // 2
        yield Tile((read, read + tile), (start, end))
