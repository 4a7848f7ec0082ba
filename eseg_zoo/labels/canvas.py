"""What objects in a file paint, one after the other, as blocks of pixels and what is to be told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.image import tell
from eseg_zoo.labels.painted import Block, LabelClass, Painted, PaintOptions
from eseg_zoo.labels.rasterise import Spans
from eseg_zoo.names import plain_name

# Values that a block can hold.
MOST_CLASSES = 2**16 - 1
# Pixels of a block along y and x.
_TILE = 256
# Spans of all objects of a file: about a gigabyte while they become blocks.
_MOST = 20_000_000
# Spans of a block that are painted at once.
_TOGETHER = 1 << 14


def axes_of(count: int, space: tuple[int, int, int, int]) -> str:
    """Return the axes of coordinates with so many numbers, 2 to 4; the third from the right is z, or t of a movie.

    Raises `ValueError` for any other count.
    """
    if not 2 <= count <= 4:
        raise ValueError(f"its coordinates have {tell(count, 'number')}; 2 to 4 are read: t, z, y, x")
    is_movie = space[0] > 1 and space[1] == 1
    return {2: "yx", 3: "tyx" if is_movie else "zyx", 4: "tzyx"}[count]


class Canvas:
    """Collects what the objects of a file paint. A later object paints over those before it."""

    def __init__(self, path: Path, options: PaintOptions):
        self.path, self.options = path, options
        self.plane = options.space[2:]
        self.classes: dict[str, LabelClass] = {}
        self.notes: list[str] = []
        self.seen: Counter[str] = Counter()  # objects, by what became of them
        self._painted: list[NDArray[np.int32]] = []  # (n, 6): t, z, row, first column, column after the last, value
        self._count = 0

    @contextmanager
    def object(self, what: str) -> Iterator[None]:
        """Turn the `ValueError` that an object of the file raises into an `InputError` with file and object."""
        try:
            yield
        except (ValueError, OverflowError) as error:
            raise InputError(f"{self.path}, {what}: {error}") from error

    def named(self, name: str, colour: str | None = None) -> int:
        """Return the value of a class: classes count from 1 in the order in which they come.

        Raises `ValueError` for a name that cannot be one.
        """
        known = self.classes.get(name)
        if known is None or (known.colour is None and colour is not None):
            try:
                plain_name(name)
            except ValueError as error:
                raise ValueError(f"the class name {shown(name)} {error}") from error
            if known is None and len(self.classes) == MOST_CLASSES:
                raise ValueError(f"{shown(name)} is one class too many; at most {MOST_CLASSES} are read")
            known = LabelClass(name, known.value if known else len(self.classes) + 1, colour)
            self.classes[name] = known
        return known.value

    def numbered(self, value: int) -> int:
        """Return the value of a class that a file gives as a number, which is its name, too."""
        self.classes.setdefault(str(value), LabelClass(str(value), value))
        return value

    @property
    def usual_name(self) -> str:
        """The class of what names none."""
        return self.options.class_name or self.path.stem

    def paint(
        self, spans: Spans, value: int, *, t: int | None = None, z: int | None = None, is_cut: bool = False
    ) -> None:
        """Paint pixels of one object in a slice and a frame, or in all (None); `is_cut` where some are outside."""
        frames, slices = self.options.space[:2]
        self.seen["all"] += 1
        if not (0 <= (t or 0) < frames and 0 <= (z or 0) < slices) or (is_cut and not len(spans)):
            self.seen["outside"] += 1
            return
        if not len(spans):
            self.seen["empty"] += 1
            return
        self.seen["partly"] += is_cut
        self.seen["every slice"] += z is None and slices > 1
        self.seen["every frame"] += t is None and frames > 1
        for frame in range(frames) if t is None else (t,):
            for number in range(slices) if z is None else (z,):
                places = np.tile((frame, number), (len(spans), 1))
                self._add(np.column_stack([places, spans, np.full(len(spans), value)]))

    def paint_pixels(self, pixels: NDArray[np.int64], values: NDArray[np.int64], *, everywhere: str = "") -> None:
        """Paint pixels (n, 4), t, z, y, x, each an object with a value (n,) of its own.

        Those of axes in `everywhere`, t or z, are painted in all frames or slices.
        """
        inside = ((pixels >= 0) & (pixels < self.options.space)).all(axis=1)
        self.seen["all"] += len(pixels)
        self.seen["outside"] += int((~inside).sum())
        rows = np.column_stack([pixels, pixels[:, 3] + 1, values])[inside]
        for place, (axis, what) in enumerate((("t", "frame"), ("z", "slice"))):
            count = self.options.space[place]
            if axis in everywhere and count > 1:
                self._require(len(rows) * count)
                self.seen[f"every {what}"] += len(rows)
                numbers = np.tile(np.arange(count), len(rows))
                rows = np.repeat(rows, count, axis=0)
                rows[:, place] = numbers
        self._add(rows)

    def finish(self, *, objects: str = "object") -> Painted:
        """Return what was painted, with notes on what was not; `objects` is what the file calls one."""
        every = np.concatenate([np.zeros((0, 6), np.int32), *self._painted])
        self._painted.clear()
        blocks, overlap = blocks_of(every)
        notes = [*self.notes, *self._notes(objects, overlap)]
        return Painted(str(self.path), tuple(self.classes.values()), tuple(blocks), tuple(notes))

    def _add(self, rows: NDArray[np.int64]) -> None:
        """Keep rows of six numbers, as `_painted` has them."""
        self._require(len(rows))
        self._count += len(rows)
        self._painted.append(rows.astype(np.int32))

    def _require(self, more: int) -> None:
        """Raise `ValueError` where so many more rows are too many."""
        if self._count + more > _MOST:
            raise ValueError(f"with it the file paints more than {_MOST} rows of pixels; split it")

    def _notes(self, what: str, overlap: int) -> Iterator[str]:
        seen = self.seen
        of_all = f"of {tell(seen['all'], what)}"
        if seen["outside"]:
            partly = f", {seen['partly']} partly" if seen["partly"] else ""
            yield f"{seen['outside']} {of_all} outside the image{partly}: not painted there"
        elif seen["partly"]:
            yield f"{seen['partly']} {of_all} partly outside the image: not painted there"
        if seen["empty"]:
            yield f"{tell(seen['empty'], what)} without a pixel: no centre of a pixel is inside"
        for kind, axis in (("slice", 1), ("frame", 0)):
            if count := seen[f"every {kind}"]:
                yield f"{tell(count, what)} without a {kind}: painted in all {self.options.space[axis]} {kind}s"
        if overlap:
            yield f"{tell(overlap, 'pixel')} in {what}s of several classes; the later one counts"


def blocks_of(painted: NDArray[np.int32]) -> tuple[list[Block], int]:
    """Return spans (n, 6), t, z, row, first column, column after the last, value, as blocks of at most 256 x 256.

    Later ones paint over those before. The number is of the pixels that were painted with several values.
    """
    band = painted[:, 2] // _TILE
    order = np.lexsort((band, painted[:, 1], painted[:, 0]))  # stable: the order within a band stays
    keys = np.column_stack([painted[:, :2], band])[order]
    starts = np.flatnonzero((np.diff(keys, axis=0, prepend=-1) != 0).any(axis=1))
    blocks, overlap = [], 0
    for start, end in pairwise([*starts, len(keys)]):
        t, z, row = keys[start].tolist()
        spans = painted[order[start:end], 2:]
        for column in _tiles_of(spans[:, 1:3]):
            found, several = _tile(spans, row * _TILE, column * _TILE)
            blocks.append(_cropped((t, z, row * _TILE, column * _TILE), found))
            overlap += several
    return blocks, overlap


def blocks_of_plane(values: NDArray[np.uint16], t: int, z: int) -> Iterator[Block]:
    """Yield what is not 0 in a plane (y, x) as blocks of at most 256 x 256."""
    for y in range(0, values.shape[0], _TILE):
        for x in range(0, values.shape[1], _TILE):
            tile = values[y : y + _TILE, x : x + _TILE]
            if tile.any():
                yield _cropped((t, z, y, x), tile.copy())


def _tiles_of(columns: NDArray[np.int32]) -> Sequence[int]:
    """Return the numbers of the tiles along x that ranges (n, 2) of columns touch."""
    first, last = columns[:, 0] // _TILE, (columns[:, 1] - 1) // _TILE
    touched = np.zeros(int(last.max()) + 2, np.int64)
    np.add.at(touched, first, 1)
    np.add.at(touched, last + 1, -1)
    numbers: list[int] = np.flatnonzero(np.cumsum(touched)).tolist()
    return numbers


def _tile(spans: NDArray[np.int32], top: int, left: int) -> tuple[NDArray[np.uint16], int]:
    """Return the values of spans (n, 4), row, first, after the last, value, in a tile, and how many pixels have two."""
    spans = spans[(spans[:, 1] < left + _TILE) & (spans[:, 2] > left)]
    columns = np.clip(spans[:, 1:3] - left, 0, _TILE)
    starts, lengths = (spans[:, 0] - top) * _TILE + columns[:, 0], columns[:, 1] - columns[:, 0]
    last, first = (np.zeros(_TILE * _TILE, np.uint16) for _ in range(2))
    parts = [slice(n, n + _TOGETHER) for n in range(0, len(spans), _TOGETHER)]
    for part in parts:
        _fill(last, starts[part], lengths[part], spans[part, 3])
    if len(np.unique(spans[:, 3])) > 1:
        for part in reversed(parts):
            _fill(first, starts[part][::-1], lengths[part][::-1], spans[part, 3][::-1])
    else:
        first = last
    return last.reshape(_TILE, _TILE), int((first != last).sum())


def _fill(
    tile: NDArray[np.uint16], starts: NDArray[np.int32], lengths: NDArray[np.int32], values: NDArray[np.int32]
) -> None:
    """Write values over ranges of a tile, in their order: NumPy keeps what is assigned last."""
    before = np.cumsum(lengths) - lengths
    inside = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
    tile[inside] = np.repeat(values, lengths)


def _cropped(origin: tuple[int, int, int, int], tile: NDArray[np.uint16]) -> Block:
    """Return a tile (y, x) at t, z, y, x without its empty borders; one value everywhere takes no memory."""
    t, z, y, x = origin
    rows, columns = np.flatnonzero(tile.any(axis=1)), np.flatnonzero(tile.any(axis=0))
    found = tile[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    value = found[0, 0]
    found = np.broadcast_to(value, found.shape) if (found == value).all() else found.copy()
    return Block((t, z, y + int(rows[0]), x + int(columns[0])), found[None, None])
