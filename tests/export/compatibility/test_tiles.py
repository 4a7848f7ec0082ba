"""The consumers' tile arithmetic on our numbers: halo, tile and output sizes, and what the network makes of the tiles.

The arithmetic is written down here once more, straight from the description in the package, with nothing of
`consumer_tiles.py`: each consumer is a generator of what it reads and keeps along one axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from eseg_export import package
from eseg_export.compatibility.consumers import CONSUMERS
from eseg_export.compatibility.tile_rules import IMAGE_SIZES, declared_axes
from eseg_export.consumer_tiles import DeclaredAxis, complaints, cut_by_jdll
from eseg_export.finished import FinishedPackage, read_package
from eseg_export.sample import image_of_size
from eseg_export.tiling import LEAST_SHARE, SPEED, ilastik_share, tiling
from eseg_export.verify import TOLERANCE, one_thread
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import NetworkSettings

from ..kinds import KINDS, MakeCheckpoint

Pieces = list[tuple[int, int, int, int]]  # read from, to; kept from, to
BY_NAME = {consumer.name: consumer for consumer in CONSUMERS}


@dataclass(frozen=True)
class Subject:
    checkpoint: Checkpoint
    package: FinishedPackage


@pytest.fixture(scope="module", params=KINDS)
def subject(
    request: pytest.FixtureRequest, make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    checkpoint = KINDS[request.param](make_checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "run_zoo_tests", lambda _: None)
        out = tmp_path_factory.mktemp("tiles") / "package.zip"
        yield Subject(checkpoint, read_package(package.export(checkpoint, out).path))


# ------------------------------------------------------------------------------------- the arithmetic, once more


@dataclass(frozen=True)
class Row:
    """One axis: what the network is given at once, what comes out in all, and the tiles."""

    halo: int
    tile: int
    output: int
    pieces: Pieces


def described(rdf: dict[str, Any]) -> list[tuple[int, int, int, float]]:
    """Minimum, step, halo and scale of each spatial axis, out of the plain YAML."""
    given, returned = rdf["inputs"][0]["axes"][2:], rdf["outputs"][0]["axes"][2:]
    return [
        (a["size"]["min"], a["size"]["step"], b.get("halo", 0), b.get("scale", 1.0))
        for a, b in zip(given, returned, strict=True)
    ]


def deepimagej(rdf: dict[str, Any], size: tuple[int, ...]) -> list[Row]:
    rows = []
    for (_, step, halo, scale), n in zip(described(rdf), size, strict=True):
        around = math.floor(halo / scale)
        tile = math.floor((n + 2 * around) / step) * step
        assert tile == n + 2 * around, "the whole image in one tile, as long as the step is 1"
        rows.append(Row(around, tile, math.floor(n * scale), [(-around, n + around, 0, n)]))
    return rows


def qupath(rdf: dict[str, Any], size: tuple[int, ...]) -> list[Row]:
    rows = []
    for (least, _, halo, _), n in zip(described(rdf), size, strict=True):
        tile = least
        while tile + least <= 512:
            tile += least
        pieces, start = [], 0
        while start < n:
            if start + tile - 2 * halo > n:
                start = max(0, n - (tile - 2 * halo))
            end = min(n, start + tile - 2 * halo)
            pieces.append((start - halo, start - halo + tile, start, end))
            start = end
        rows.append(Row(halo, tile, n, pieces))
    return rows


def ilastik(rdf: dict[str, Any], size: tuple[int, ...]) -> list[Row]:
    side = 512 if len(size) == 2 else 64
    growth = max(1.0, min(side / least for least, _, _, _ in described(rdf)))
    rows = []
    for (least, _, halo, _), n in zip(described(rdf), size, strict=True):
        tile = int(least * growth + 1e-9)
        pieces: Pieces = []
        while not pieces or pieces[-1][3] < n:
            start = pieces[-1][3] if pieces else 0
            end = min(start + tile - 2 * halo, n)
            before = math.ceil((tile - (end - start)) / 2)
            pieces.append((start - before, start - before + tile, start, end))
        rows.append(Row(halo, tile, n, pieces))
    return rows


ARITHMETIC: dict[str, Callable[[dict[str, Any], tuple[int, ...]], list[Row]]] = {
    "deepImageJ": deepimagej,
    "QuPath": qupath,
    "ilastik": ilastik,
}


def runs(name: str, subject: Subject) -> bool:
    return subject.checkpoint.dims in BY_NAME[name].dims


# ---------------------------------------------------------------------------------------------------- the facts


@pytest.mark.slow
@pytest.mark.parametrize("name", ARITHMETIC)
def test_halo_tile_and_output_come_out_right_at_six_sizes(subject: Subject, name: str) -> None:
    if not runs(name, subject):
        pytest.skip("it runs 2D models only")
    sizes = IMAGE_SIZES[subject.checkpoint.dims]
    assert len(sizes) == 6
    axes, consumer = declared_axes(subject.package), BY_NAME[name]
    assert consumer.cut is not None
    for size in sizes:
        rows, cuts = ARITHMETIC[name](subject.package.rdf, size), consumer.cut(axes, size)
        for row, cut, n, halo in zip(rows, cuts, size, subject.package.halo.values(), strict=True):
            assert (row.halo, row.output) == (halo, n)
            assert (cut.halo, cut.tile, cut.output) == (row.halo, row.tile, row.output)
            assert [(*tile.read, *tile.kept) for tile in cut.tiles] == row.pieces
            times = np.zeros(n, int)
            for read, end, kept, last in row.pieces:
                assert (end - read, read <= kept - halo, end >= last + halo) == (row.tile, True, True)
                times[kept:last] += 1
            assert times.min() == 1, "every pixel is kept"
        assert list(complaints(axes, size, cuts)) == []
        if consumer.most_elements is not None:
            assert math.prod(row.tile for row in rows) <= consumer.most_elements, "none of these sizes hangs"


@pytest.mark.parametrize(("scale", "halo", "output"), [(0.005, 12_800, 2), (0.65, 98, 332), (0.008, 8_000, 4)], ids=str)
def test_a_pixel_size_as_scale_fails_as_it_failed_in_jdll(scale: float, halo: int, output: int) -> None:
    axes, size = [DeclaredAxis(136, 1, 64, scale)] * 2, (512, 512)
    cuts = cut_by_jdll(axes, size)
    assert [(cut.halo, cut.output) for cut in cuts] == [(halo, output)] * 2
    (wrong_halo, wrong_output) = dict.fromkeys(complaints(axes, size, cuts))
    assert wrong_halo == f"takes a halo of {halo:,} pixels instead of 64"
    assert wrong_output == f"returns {output} pixels of 512"
    if scale == 0.008:
        assert math.prod(cut.tile for cut in cuts) > (BY_NAME["deepImageJ"].most_elements or 0), "it never answered"


@pytest.mark.slow
def test_no_axis_has_a_unit_or_a_scale_and_the_pixel_size_is_in_config(subject: Subject) -> None:
    tensors = subject.package.tensors
    assert not any({"unit", "scale"} & axis.keys() for tensor in tensors for axis in tensor["axes"])
    known = {axis: size for axis, size in subject.checkpoint.voxel_size.items() if axis in subject.package.halo}
    assert subject.package.rdf["config"]["eseg"]["pixel_size"] == known


def tiled(subject: Subject, image: NDArray[np.float32], rows: list[Row], mode: str) -> NDArray[np.float32]:
    """The network's answer put together out of a consumer's tiles."""
    reach = [(max(0, -min(p[0] for p in row.pieces)), max(p[1] for p in row.pieces)) for row in rows]
    after = [max(0, end - n) for (_, end), n in zip(reach, image.shape[2:], strict=True)]
    widths = [(0, 0), (0, 0), *zip((before for before, _ in reach), after, strict=True)]
    padded = np.pad(image, widths, mode=mode)  # type: ignore[call-overload]
    network = subject.checkpoint.segmenter()
    found = np.full((1, len(subject.checkpoint.classes), *image.shape[2:]), np.nan, np.float32)
    for pieces in itertools.product(*(row.pieces for row in rows)):
        read = [slice(p[0] + before, p[1] + before) for p, (before, _) in zip(pieces, reach, strict=True)]
        inside = [slice(p[2] - p[0], p[3] - p[0]) for p in pieces]
        kept = [slice(p[2], p[3]) for p in pieces]
        with torch.inference_mode():
            answer = network(torch.from_numpy(np.ascontiguousarray(padded[:, :, *read]))).numpy()
        found[:, :, *kept] = answer[:, :, *inside]
    return found


# On the grid: sides of a multiple of two cells in ilastik, of one cell elsewhere. And one off it.
PLANES, COARSE, FINE = ((512, 592), (301, 411)), ((8, 104, 112), (9, 61, 83)), ((56, 104, 56), (57, 61, 83))


def network_sizes(checkpoint: Checkpoint) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if checkpoint.dims == 2:
        return PLANES
    return FINE if checkpoint.geometry.stride[0] > 1 else COARSE


@pytest.mark.slow
@pytest.mark.parametrize("name", ARITHMETIC)
def test_the_tiles_give_the_whole_images_result(subject: Subject, name: str) -> None:
    if not runs(name, subject):
        pytest.skip("it runs 2D models only")
    if not subject.checkpoint.voxel_size:
        pytest.skip("the same network and tiles as with a pixel size")
    for on_grid, size in zip((True, False), network_sizes(subject.checkpoint), strict=True):
        image = image_of_size(subject.checkpoint, size)
        rows = ARITHMETIC[name](subject.package.rdf, size)
        with one_thread(), torch.inference_mode():
            whole = subject.checkpoint.segmenter()(torch.from_numpy(image)).numpy()
            found = tiled(subject, image, rows, "reflect" if BY_NAME[name].reflects else "symmetric")
        assert not np.isnan(found).any()
        # What mirrors as the network does has no border of its own.
        margin = subject.checkpoint.geometry.margin if BY_NAME[name].reflects else (0,) * len(size)
        away = [slice(m, n - m) for m, n in zip(margin, size, strict=True)]
        found, whole = found[:, :, *away], whole[:, :, *away]
        assert found.size > 0
        if on_grid:
            assert np.abs(found - whole).max() <= TOLERANCE
        assert (found.argmax(1) == whole.argmax(1)).mean() >= 0.98


@pytest.mark.slow
def test_volumes_keep_enough_of_ilastiks_work(subject: Subject) -> None:
    if subject.checkpoint.dims == 2:
        pytest.skip("planes have room")
    rows = ilastik(subject.package.rdf, IMAGE_SIZES[3][0])
    assert math.prod((row.tile - 2 * row.halo) / row.tile for row in rows) >= 0.08


@pytest.mark.parametrize("z", [0.01, 0.02, 0.04])
def test_the_default_volumes_reach_30_000_voxels_a_second_in_ilastik(z: float) -> None:
    size = {"z": z, "y": 0.01, "x": 0.01}
    architecture = NetworkSettings(dims=3).architecture(channels=1, classes=5, voxel_size=size)
    share = ilastik_share(tiling(architecture.geometry))
    assert share >= LEAST_SHARE == 0.08
    assert share * SPEED[len(architecture.filters)] >= 30_000
