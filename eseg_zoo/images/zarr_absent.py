"""Chunks of a Zarr array that are not on disk: background that a writer left out, or a volume copied by half.

Zarr reads an absent chunk as the fill value, and zarr-python 3 and TensorStore leave out chunks that hold nothing else.
The format does not say which chunks those are, but often something tells the two apart, in this order:

1. An inner chunk that a shard lacks was left out: shards are written whole.
2. Where the OME-Zarr has a coarser resolution level, background is empty in it too. Content there says that the chunk
   was lost.
3. A writer that wrote one chunk of nothing but the fill value leaves none out: then the absent ones were lost. Only the
   smallest chunk on disk is looked at, for a chunk of one value is a small one.
4. An absent chunk beside chunks that are full up to the common face was lost; where all those faces are empty it is
   taken for background, and a warning tells so. Up to `_PAIRS` pairs of neighbours are looked at; with more the array
   is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from eseg_zoo.errors import AbsentPartsError
from eseg_zoo.images.image import first_line, tell

log = logging.getLogger(__name__)

_PAIRS = 64
_FULL = 0.1  # share of a face that has content; an object may touch it by chance

Index = tuple[int, ...]


def refuse_absent(
    folder: Path, array: zarr.Array[Any], files: Mapping[str, object], coarsest: zarr.Array[Any] | None
) -> None:
    """Raise `InputError` when chunks are not on disk, unless they are known to be background.

    `files` are those in the folder of the array, `coarsest` is the array of the coarsest resolution level.
    """
    outer = array.shards or array.chunks
    grid = [-(-length // chunk) for length, chunk in zip(array.shape, outer, strict=True)]
    encode = array.metadata.encode_chunk_key
    absent = [index for index in np.ndindex(*grid) if encode(index) not in files]
    if not absent:
        return
    count = f"{len(absent)} of its {int(np.prod(grid))} chunks, the first {encode(absent[0])}"
    copy = "copy it again, or give --missing-chunks to read them as empty"
    if len(absent) == np.prod(grid):
        raise AbsentPartsError(f"{folder} lacks all of its {len(absent)} chunks", copy)
    try:
        reason = _reason(folder, array, absent, outer, files, coarsest)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = f"it cannot be told whether they are background, as {first_line(error)}"
    if reason:
        raise AbsentPartsError(f"{folder} lacks {count}: {reason}", copy)


def _reason(
    folder: Path, array: zarr.Array[Any], absent: list[Index], outer: Index, files: Mapping[str, Any],
    coarsest: zarr.Array[Any] | None,
) -> str:  # fmt: skip
    """Return why absent chunks are not taken for background; '' where they are."""
    lacking = set(absent)
    if coarsest is not None:
        full = [index for index in absent if _has_content(coarsest, _region(coarsest, array, index, outer))]
        return f"a coarser level has content where {len(full)} of them should be" if full else ""
    keys = {array.metadata.encode_chunk_key(index): index for index in _present(array, lacking, outer)}
    smallest = min((key for key in keys if key in files), key=lambda key: files[key][0])
    if not _has_content(array, _region(array, array, keys[smallest], outer)):
        return f"its writer leaves no empty chunk out, for {smallest} is one"
    faces = list(_faces(array, absent, lacking, outer))
    if len(faces) > _PAIRS:
        return (
            f"zarr-python 3 leaves out those that hold only {array.fill_value}, but nothing tells that these are such"
        )
    cut = sum(_has_content(array, face, share=_FULL) for face in faces)
    if not cut:
        log.warning(
            "%s lacks %s, taken for background of %s: what lies beside is empty at the common edge",
            folder, tell(len(absent), "chunk"), array.fill_value,
        )  # fmt: skip
    return f"chunks beside {'it' if len(absent) == 1 else 'them'} are full up to the edge ({cut} faces)" if cut else ""


def _present(array: zarr.Array[Any], lacking: set[Index], outer: Index) -> Iterator[Index]:
    grid = [-(-length // chunk) for length, chunk in zip(array.shape, outer, strict=True)]
    return (index for index in np.ndindex(*grid) if index not in lacking)


def _region(target: zarr.Array[Any], array: zarr.Array[Any], index: Index, outer: Index) -> tuple[slice, ...]:
    """Return where a chunk of `array` lies in `target`, the same picture in other pixels."""
    ratios = [other / own for other, own in zip(target.shape, array.shape, strict=True)]
    starts = [int(i * n * ratio) for i, n, ratio in zip(index, outer, ratios, strict=True)]
    stops = [-int(-(i + 1) * n * ratio // 1) for i, n, ratio in zip(index, outer, ratios, strict=True)]
    return tuple(
        slice(min(start, size - 1), max(start + 1, min(stop, size)))
        for start, stop, size in zip(starts, stops, target.shape, strict=True)
    )


def _faces(array: zarr.Array[Any], absent: list[Index], lacking: set[Index], outer: Index) -> Iterator[Any]:
    """Yield the last pixels of each chunk on disk that has an absent neighbour, towards it."""
    grid = [-(-length // chunk) for length, chunk in zip(array.shape, outer, strict=True)]
    for index in absent:
        for axis in range(array.ndim):
            for step in (-1, 1):
                other = (*index[:axis], index[axis] + step, *index[axis + 1 :])
                if 0 <= other[axis] < grid[axis] and other not in lacking:
                    region = list(_region(array, array, other, outer))
                    part = region[axis]
                    region[axis] = slice(part.start, part.start + 1) if step > 0 else slice(part.stop - 1, part.stop)
                    yield tuple(region)


def _has_content(array: zarr.Array[Any], region: tuple[slice, ...], *, share: float = 0.0) -> bool:
    """Say whether more than a share of the pixels is not the fill value."""
    pixels = np.asarray(array[region])
    fill = array.fill_value if array.fill_value is not None else 0
    return bool(np.mean(pixels != fill) > share)
