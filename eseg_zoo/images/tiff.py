"""TIFF files: which of their images is read, whether all of it is there, and how it describes itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import tifffile

from eseg_zoo.errors import InputError
from eseg_zoo.images.files import stamp
from eseg_zoo.images.found import Found, Request, rows
from eseg_zoo.images.image import Spacing, first_line, tell
from eseg_zoo.images.levels import Level, choose_level, require_no_level
from eseg_zoo.images.tiff_absent import refuse_absent
from eseg_zoo.images.tiff_metadata import WHOLE_SLIDE, axes_in, channel_names, ome_pixels, states_axes, voxel_sizes
from eseg_zoo.images.tiff_pixels import DAMAGE, TiffSource, lies_in_one_piece, reading_tiff

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Contents:
    """The images of a file that are pictures of their own, and the pages that none of them has."""

    images: list[int]  # numbers of tifffile's series, without levels, thumbnails and masks
    pages: list[tifffile.TiffPage]  # those that are not thumbnails or masks; none where one image has all
    uncovered: list[tifffile.TiffPage]  # those of them that are in no image


def open_tiff(path: Path, request: Request, chosen: int | None = None) -> Found:
    """Return the image in a TIFF file, or number `chosen` of several.

    Raises `InputError` for a damaged file, for planes that would not be read, and for parts that are not there.
    """
    try:
        return _open(path, request, chosen, described=True)
    except _NotUnderstoodError as error:
        log.warning("%s has an OME description that cannot be understood (%s); it is not used", path, error)
        found = _open(path, request, chosen, described=False)
        assert isinstance(found.source, TiffSource)
        return replace(found, source=replace(found.source, described=False))


class _NotUnderstoodError(Exception):
    """The OME description of a file is broken, which says nothing of its pixels."""


def _open(path: Path, request: Request, chosen: int | None, *, described: bool) -> Found:
    with reading_tiff(path, described=described) as tiff:
        contents = _survey(path, tiff)
        if chosen is not None:
            if not 0 <= chosen < len(contents.images):
                raise InputError(f"{path} has no image {chosen}; it holds {_list(tiff, contents.images)}")
            return _one(path, tiff, contents.images[chosen], request, where=f"image {chosen}")
        alike = _alike(tiff, contents.images)
        if _is_pages(tiff, contents, request):
            return _pages(path, tiff, contents.pages, request)
        if contents.uncovered:
            _refuse_uncovered(path, tiff, contents)
        if len(contents.images) == 1:
            return _one(path, tiff, contents.images[0], request)
        first = tiff.series[contents.images[0]]
        if alike and request.wants_time_first and "t" not in axes_in(first):
            return _positions(path, tiff, contents.images, request)
        raise InputError(
            f"{path} holds {len(contents.images)} images of shapes {_list(tiff, contents.images)}; only the "
            f"first would be read; name one, such as {path.name}#0, or split the file"
            + (", or give axes with a leading t to read all" if alike else "")
        )


def _survey(path: Path, tiff: tifffile.TiffFile) -> _Contents:
    series = _series(tiff)
    if not series:
        raise InputError(f"{path} is a TIFF file without an image")
    proper = [number for number, one in enumerate(series) if not _is_extra(one.keyframe)] or [0]
    if series[0].kind in WHOLE_SLIDE:
        return _Contents(proper[:1], [], [])
    covered = {index for one in series for level in one.levels for index in _own_pages(tiff, level)}
    if len(proper) == 1 and len(covered) >= len(tiff.pages):
        return _Contents(proper, [], [])
    pages = [page for page in _all_pages(tiff) if not _is_extra(page)]
    return _Contents(proper, pages, [page for page in pages if page.index not in covered])


def _series(tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """Return the images as tifffile sees them; raises `_NotUnderstoodError` for an OME description that is broken."""
    described = tiff.is_ome
    try:
        series = list(tiff.series)
    except DAMAGE as error:
        if described and not isinstance(error, OSError):
            raise _NotUnderstoodError(first_line(error)) from error
        raise
    if described and series and series[0].kind in ("generic", "uniform") and not _is_one_of_a_set(tiff):
        raise _NotUnderstoodError("it describes no image that is in the file")
    return series


def _is_extra(page: tifffile.TiffPage) -> bool:
    """Say whether a page is a thumbnail or a mask of another."""
    return bool(page.is_reduced or page.is_mask)


def _all_pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return every page with all that it says of itself, for tifffile passes over what pages of a series share."""
    return [tiff.pages[index].aspage() for index in range(len(tiff.pages))]


def _own_pages(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Sequence[int]:
    """Return the numbers of the pages of this file that a series has, as far as its shape goes."""
    planes = prod(series.get_shape(squeeze=False)) // max(1, prod(series.keyframe.shape))
    stored = series._pages
    if len(stored) == 1 and stored[0] is not None:
        return range(stored[0].index, stored[0].index + planes) if len(stored[0].treeindex) == 1 else []
    own = [page for page in stored[:planes] if page is not None and page.parent is tiff]
    return [page.index for page in own if len(page.treeindex) == 1]


def _alike(tiff: tifffile.TiffFile, images: Sequence[int]) -> bool:
    """Say whether images have one shape, kind of pixels and axes."""
    return len({(tiff.series[n].shape, tiff.series[n].dtype, tiff.series[n].axes) for n in images}) == 1


def _is_pages(tiff: tifffile.TiffFile, contents: _Contents, request: Request) -> bool:
    """Say whether the pages, all of one shape and kind of pixels, are a stack.

    They are where nothing says more than how a page looks, as in files that were written page by page; and where a
    person gives the axes of a stack for a file whose description leaves pages out.
    """
    if len(contents.pages) < 2 or len({(page.shape, page.dtype) for page in contents.pages}) > 1:
        return False
    images = [tiff.series[number] for number in contents.images]
    if all(one.kind in ("generic", "uniform") or (one.kind == "shaped" and len(one) == 1) for one in images):
        return len(images) > 1 or bool(contents.uncovered)
    return bool(contents.uncovered) and request.axes is not None and len(request.axes) == images[0].keyframe.ndim + 1


def _refuse_uncovered(path: Path, tiff: tifffile.TiffFile, contents: _Contents) -> None:
    first, lost = tiff.series[contents.images[0]], _shape(contents.uncovered[0].shape)
    raise InputError(
        f"{path} holds {len(contents.pages)} planes, but it describes an image of shape {_shape(first.shape)} (axes "
        f"{first.axes}); {tell(len(contents.uncovered), 'plane')} of shape {lost} would not be read; "
        f"give axes to read its planes as one stack, if they have one shape, or name {path.name}#0 for this image alone"
    )


def _one(path: Path, tiff: tifffile.TiffFile, number: int, request: Request, *, where: str = "") -> Found:
    """Return one image, at the resolution level that is asked for."""
    series = tiff.series[number]
    said, sizes = axes_in(series), voxel_sizes(tiff, number)
    levels = [_level(str(n), level, series, said, sizes) for n, level in enumerate(series.levels)]
    if len(levels) > 1:
        level = choose_level(str(path), levels, request.voxel_size, request.level)
        where = ", ".join(filter(None, [where, f"level {level}"]))
    else:
        require_no_level(str(path), request.level)
        level = 0
    _tell_others(path, tiff)
    refuse_absent(path, tiff, series.levels[level], allow_missing=request.allow_missing)
    source = TiffSource(path.absolute(), stamp([path]), _others(path, series), images=(number,), level=level)
    array = series.levels[level]
    return Found(
        source, array.shape, np.dtype(array.dtype), _chunks(array), said, states_axes(series),
        levels[level].spacing, channel_names(tiff, number), where,
    )  # fmt: skip


def _positions(path: Path, tiff: tifffile.TiffFile, images: list[int], request: Request) -> Found:
    """Return images of one shape along a leading t."""
    require_no_level(str(path), request.level)
    for number in images:
        refuse_absent(path, tiff, tiff.series[number], allow_missing=request.allow_missing)
    first = tiff.series[images[0]]
    source = TiffSource(path.absolute(), stamp([path]), _others(path, first), images=tuple(images), stacked=True)
    shape = (len(images), *first.shape)
    sizes, channels = voxel_sizes(tiff, images[0]), channel_names(tiff, images[0])
    chunks = (1, *_chunks(first))
    return Found(
        source, shape, np.dtype(first.dtype), chunks, f"t{axes_in(first)}", states_axes(first), sizes, channels,
        f"{len(images)} images",
    )  # fmt: skip


def _pages(path: Path, tiff: tifffile.TiffFile, pages: list[tifffile.TiffPage], request: Request) -> Found:
    """Return pages of one shape as a stack along an axis that nothing names."""
    require_no_level(str(path), request.level)
    first = pages[0]
    series = tifffile.TiffPageSeries(pages, (len(pages), *first.shape), axes=f"I{first.axes}")
    refuse_absent(path, tiff, series, allow_missing=request.allow_missing)
    source = TiffSource(path.absolute(), stamp([path]), pages=tuple(page.index for page in pages))
    return Found(
        source, series.shape, np.dtype(first.dtype), (1, *rows(first.shape)), axes_in(series), False,
        voxel_sizes(tiff), (), f"{len(pages)} pages",
    )  # fmt: skip


def _level(
    path: str, level: tifffile.TiffPageSeries, base: tifffile.TiffPageSeries, said: str, sizes: dict[str, Spacing]
) -> Level:
    """Return a resolution level with pixels as much larger as it has fewer of them."""
    ratios = {axis: full / part for axis, full, part in zip(said, base.shape, level.shape, strict=False)}
    spacing = {a: Spacing(s.scale * ratios.get(a, 1.0), s.translation, s.unit) for a, s in sizes.items()}
    return Level(path, tuple(level.shape), said, spacing)


def _chunks(series: tifffile.TiffPageSeries) -> tuple[int, ...]:
    """Return what is decoded at once: a tile, a strip, or a row where nothing is encoded."""
    if lies_in_one_piece(series):
        return rows(series.shape)
    chunks = series.keyframe.chunks
    return (1,) * (len(series.shape) - len(chunks)) + tuple(chunks[-len(series.shape) :])


def _others(path: Path, series: tifffile.TiffPageSeries) -> str:
    """Return a digest of the other files of a set, '' where there are none."""
    names = {page.parent.filehandle.name for page in series if page is not None} if series.is_multifile else set()
    return stamp(path.parent / name for name in sorted(names - {path.name})) if names else ""


def _tell_others(path: Path, tiff: tifffile.TiffFile) -> None:
    """Warn where a file says that it is one of a set, but not which its others are."""
    if _is_one_of_a_set(tiff):
        log.warning("%s is one file of a set that another file describes; only its own planes are read", path)


def _is_one_of_a_set(tiff: tifffile.TiffFile) -> bool:
    xml = tiff.ome_metadata or ""
    return "BinaryOnly" in xml and not ome_pixels(xml)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _list(tiff: tifffile.TiffFile, images: Sequence[int]) -> str:
    """Return the images as `0: 5 x 128 x 128 uint8 (ZYX), 1: ...`."""
    shown = [f"{n}: {_shape(tiff.series[i].shape)} {tiff.series[i].dtype}" for n, i in enumerate(images[:6])]
    return ", ".join([*shown, *(["..."] if len(images) > 6 else [])])
