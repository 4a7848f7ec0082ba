"""Parts of a TIFF file that it states and does not have: planes, files of a set, strips and tiles."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import tifffile

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import tell
from eseg_zoo.images.tiff_pixels import absent_parts


def refuse_absent(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, *, allow_missing: bool) -> None:
    """Raise `InputError` that counts and names what is stated and absent, unless `allow_missing` lets it be empty."""
    if allow_missing:
        return
    way_out = "copy it again, or give --missing-chunks to read them as empty"
    planes = max(1, prod(series.get_shape(squeeze=False)) // max(1, prod(series.keyframe.shape)))
    stored = _stored_planes(series, planes)
    if stored < planes:
        files = _absent_files(path, tiff)
        told = f": {tell(len(files), 'file')} of its set not there, the first {files[0]}" if files else ""
        raise InputError(f"{path} lacks {planes - stored} of its {planes} planes{told}; {way_out}")
    if series.dataoffset is not None:
        size = series.keyframe.parent.filehandle.size
        lost = series.dataoffset + series.nbytes - size
        if lost > 0:
            count = min(planes, -(-lost * planes // series.nbytes))
            raise InputError(f"{path} is damaged: it ends before the last {count} of its {planes} planes; {way_out}")
        return
    lost, total, first = _absent_parts(series)
    if lost:
        part = "tile" if series.keyframe.is_tiled else "strip"
        raise InputError(
            f"{path} is damaged: it lacks {lost} of its {tell(total, part)}, the first in plane {first}: their place "
            f"in the file is not stated or beyond its end; {way_out}"
        )


def _stored_planes(series: tifffile.TiffPageSeries, planes: int) -> int:
    """Return how many planes have a page, or lie behind that of the first."""
    pages = series._pages
    if len(pages) == 1 and series.dataoffset is not None:
        return planes
    if len(pages) == 1:
        return min(len(series), planes) if pages[0] is not None else 0
    return sum(page is not None for page in pages[:planes])


def _absent_files(path: Path, tiff: tifffile.TiffFile) -> list[str]:
    """Return the names of the files of a multi-file OME-TIFF that are not beside it."""
    names = sorted(set(re.findall(r'FileName="([^"]+)"', tiff.ome_metadata or "")))
    return [name for name in names if not (path.parent / name).is_file()]


def _absent_parts(series: tifffile.TiffPageSeries) -> tuple[int, int, int]:
    """Return how many strips or tiles are absent, of how many, and the plane of the first."""
    absent, total, first = 0, 0, -1
    for number, page in enumerate(series):
        if page is None:
            continue
        parts = absent_parts(page)
        if parts.any() and first < 0:
            first = number
        absent, total = absent + int(parts.sum()), total + len(parts)
    return absent, total, first
