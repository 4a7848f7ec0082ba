"""The size of a tile follows from the memory that is free and from what a pass of the network takes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eseg_zoo.config import NetworkSettings
from eseg_zoo.inference import memory
from eseg_zoo.inference.memory import LARGEST_TILE, MOST, SHARE, default_tile, free_memory, pass_bytes, passes_at_once
from eseg_zoo.inference.volume import predict_section
from eseg_zoo.model.dense import DenseSegmenter

CPU = torch.device("cpu")

MEASURE = """
import re, sys, torch
from pathlib import Path
from eseg_zoo.config import NetworkSettings
from eseg_zoo.inference.volume import prepare
from eseg_zoo.model.dense import DenseSegmenter
dims, z, *tile = (int(word) for word in sys.argv[1:])
torch.set_num_threads(1)
shape = NetworkSettings(dims=dims, width=32).architecture(channels=1, classes=4, voxel_size={"z": z, "y": 1, "x": 1})
segmenter = prepare(DenseSegmenter(**shape), torch.device("cpu"))
margins = segmenter.geometry.margin
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def run(size):
    with torch.inference_mode():
        segmenter.probabilities(torch.rand(1, 1, *(n + 2 * m for n, m in zip(size, margins, strict=True))))
run(segmenter.geometry.stride)
before = peak()
run(tile)
print(peak() - before)
"""


def segmenter(dims: int, z: float = 1) -> DenseSegmenter:
    settings = NetworkSettings(dims=dims, width=32)  # type: ignore[arg-type]
    return DenseSegmenter(**settings.architecture(channels=1, classes=4, voxel_size={"z": z, "y": 1, "x": 1}))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("dims", "z", "tile"), [(2, 1, (512, 512)), (3, 1, (40, 80, 80)), (3, 5, (12, 128, 128))], ids=str
)
def test_the_estimate_is_near_the_memory_that_a_pass_takes(dims: int, z: int, tile: tuple[int, ...]) -> None:
    words = [str(n) for n in (dims, z, *tile)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    assert 0.4 < int(done.stdout) / pass_bytes(segmenter(dims, z), tile) < 1.5


def test_the_estimate_is_that_worked_by_hand() -> None:
    # Width 32 in 2D: stem 8, margin 52; 4 * 8 + 2 * 1 numbers for a padded pixel, 8 * 8 + 3 * 4 for one of the tile.
    assert pass_bytes(segmenter(2), (16, 13)) == 4 * (120 * 120 * 34 + 16 * 16 * 76)


@pytest.mark.parametrize(("dims", "space"), [(2, (5000, 3000)), (3, (200, 900, 900))], ids=["2D", "3D"])
@pytest.mark.parametrize("free", [1 << 28, 1 << 30, 1 << 40])
def test_a_tile_is_the_largest_that_fits(
    monkeypatch: pytest.MonkeyPatch, dims: int, space: tuple[int, ...], free: int
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: free)
    network = segmenter(dims)
    side = default_tile(network, space)
    step = max(network.geometry.stride)
    budget = min(SHARE * free, MOST)
    assert side % step == 0
    assert side == step or pass_bytes(network, [min(side, n) for n in space]) <= budget
    larger = pass_bytes(network, [min(side + step, n) for n in space])
    assert larger > budget or side == LARGEST_TILE[dims]


@pytest.mark.parametrize(("share", "expected"), [(0.1, 1), (1, 1), (2.9, 2), (100, 4)])
def test_as_many_passes_run_side_by_side_as_fit_and_as_there_are_cores(
    monkeypatch: pytest.MonkeyPatch, share: float, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4), raising=False)
    network = segmenter(2)
    one = pass_bytes(network, (64, 64))
    assert passes_at_once(network, (64, 64), bytes_for_all=int(share * one)) == expected


def test_a_flat_volume_has_wider_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: 1 << 31)
    network = segmenter(3)
    assert default_tile(network, (8, 900, 900)) > default_tile(network, (900, 900, 900))


def test_a_small_section_is_one_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: 1 << 40)
    assert default_tile(segmenter(3), (5, 30, 21)) == 32


def test_without_memory_a_tile_is_a_cell_and_the_result_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    network = segmenter(3).eval()
    section = np.random.default_rng(0).integers(0, 255, (1, 4, 5, 7), dtype=np.uint8)
    whole = predict_section(network, section)
    monkeypatch.setattr(memory, "free_memory", lambda _: 0)
    assert default_tile(network, (4, 5, 7)) == 4
    np.testing.assert_allclose(predict_section(network, section), whole, rtol=0, atol=1e-5)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with what the system says: `meminfo` and `memory.max`, both missing."""
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", tmp_path / "memory.max")
    return tmp_path


def test_free_memory_is_what_the_system_says_is_available(system: Path) -> None:
    (system / "meminfo").write_text("MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:  5000 kB\n")
    (system / "memory.max").write_text("max\n")
    assert free_memory(CPU) == 5000 * 1024


def test_free_memory_is_no_more_than_a_container_may_have(system: Path) -> None:
    (system / "meminfo").write_text("MemAvailable:  5000 kB\n")
    (system / "memory.max").write_text("2048000\n")
    assert free_memory(CPU) == 2048000


def test_free_memory_has_a_value_where_the_system_says_nothing(system: Path) -> None:
    assert free_memory(CPU) == memory.UNKNOWN
