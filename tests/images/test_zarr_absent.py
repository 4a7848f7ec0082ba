"""Absent chunks of a Zarr are background where something says so, and lost otherwise."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from eseg_zoo.images import open_image

from .conftest import refusal
from .test_ome_zarr import PIXELS, write_ome_zarr


def with_background() -> np.ndarray[Any, Any]:
    """A disc in the dark, which touches no edge of a chunk: 4 x 64 x 64 in chunks of 1 x 8 x 8."""
    y, x = np.mgrid[:64, :64]
    inside = (y - 32) ** 2 + (x - 32) ** 2 < 20**2
    return (np.random.default_rng(0).integers(1, 255, (4, 64, 64)) * inside).astype(np.uint8)


def write_plain(path: Path, data: np.ndarray[Any, Any], **options: Any) -> Path:
    zarr.create_array(str(path), data=data, **{"chunks": (1, 8, 8)} | options)
    return path


def chunks_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr.")))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_background_that_the_writer_left_out_is_not_damage(
    tmp_path: Path, zarr_format: Any, caplog: pytest.LogCaptureFixture
) -> None:
    data = with_background()
    path = write_plain(tmp_path / "v.zarr", data, chunks=(4, 16, 16), zarr_format=zarr_format)
    assert len(chunks_of(path)) < 16  # some were left out
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], data)
    assert "v.zarr lacks 4 chunks, taken for background of 0" in caplog.text


def test_a_lost_chunk_among_full_ones_is_refused(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "v.zarr", PIXELS)
    (path / "c" / "1" / "1" / "1").unlink()
    told = refusal(path, axes="zyx")
    assert "lacks 1 of its 48 chunks, the first c/1/1/1: chunks beside it are full up to the edge" in told
    assert "--missing-chunks" in told
    found = open_image(path, axes="zyx", allow_missing=True).read()[0, 0]
    expected = PIXELS.copy()
    expected[1, 8:16, 8:16] = 0
    np.testing.assert_array_equal(found, expected)


def test_a_lost_chunk_beside_background_is_refused(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "v.zarr", with_background(), chunks=(4, 16, 16))
    (path / "c" / "0" / "1" / "1").unlink()
    assert "full up to the edge" in refusal(path, axes="zyx")


def test_half_a_copy_is_refused(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "v.zarr", PIXELS)
    for chunk in chunks_of(path)[24:]:
        chunk.unlink()
    assert "lacks 24 of its 48 chunks" in refusal(path, axes="zyx")


def test_an_array_without_any_chunk_is_refused(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "v.zarr", PIXELS)
    for chunk in chunks_of(path):
        chunk.unlink()
    assert "lacks all of its 48 chunks" in refusal(path, axes="zyx")


def test_a_writer_that_keeps_empty_chunks_has_lost_the_absent_ones(tmp_path: Path) -> None:
    data = with_background()
    path = write_plain(tmp_path / "v.zarr", data, chunks=(4, 16, 16), config={"write_empty_chunks": True})
    assert len(chunks_of(path)) == 16
    (path / "c" / "0" / "0" / "0").unlink()
    assert "its writer leaves no empty chunk out, for c/0/0/3 is one" in refusal(path, axes="zyx")


def test_a_coarser_level_tells_background_from_loss(tmp_path: Path) -> None:
    data = with_background()
    path = write_ome_zarr(tmp_path / "v.ome.zarr", pixels=data, levels=3)
    kept = {p.relative_to(path / "0").as_posix() for p in chunks_of(path / "0")}
    assert len(kept) < 4 * 64
    np.testing.assert_array_equal(open_image(path).read()[0, 0], data)
    assert data[1, 32:40, 32:40].all()
    (path / "0" / "1" / "4" / "4").unlink()
    assert "a coarser level has content where 1 of them should be" in refusal(path)


def test_what_a_shard_lacks_is_background(tmp_path: Path) -> None:
    data = np.zeros((4, 32, 32), np.uint8)
    data[:, :8, :8], data[:, 16:, 16:] = 7, 9
    data[:, :8, 16:] = data[:, 16:, :8] = data[:, 8:16, 24:] = 1
    path = write_plain(tmp_path / "v.zarr", data, shards=(4, 16, 16), chunks=(1, 4, 4))
    assert len(chunks_of(path)) == 4
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], data)
    (path / "c" / "0" / "1" / "1").unlink()
    assert "lacks 1 of its 4 chunks, the first c/0/1/1" in refusal(path, axes="zyx")


def test_more_neighbours_than_can_be_looked_at_are_refused_with_the_reason(tmp_path: Path) -> None:
    data = np.zeros((1, 160, 160), np.uint8)
    for i, j in itertools.product(range(20), range(20)):
        if (i + j) % 2:
            data[0, 8 * i + 3, 8 * j + 3] = 5
    path = write_plain(tmp_path / "v.zarr", data)
    assert "zarr-python 3 leaves out those that hold only 0, but nothing tells" in refusal(path, axes="zyx")
    np.testing.assert_array_equal(open_image(path, axes="zyx", allow_missing=True).read()[0, 0], data)
