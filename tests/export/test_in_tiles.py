"""TorchScript of planes computes tile by tile: the same map as the checkpoint, from tiles of one bounded size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from eseg_export import in_tiles
from eseg_export.in_tiles import InTiles, tile_pixels
from eseg_export.package import write_weights
from eseg_export.tracing import Part, known_warnings
from eseg_export.verify import SIZES, TOLERANCE, load_runtime
from torch import Tensor, nn

from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.dense import DenseSegmenter

from .conftest import MakeCheckpoint

LARGEST = 4 * 2 * 4 * 32 * 32  # bytes: tiles of 32 x 32 pixels, as the tests' stem has four channels


class Watched(nn.Module):
    """The probabilities of cells, and a note of how many pixels each call was given."""

    def __init__(self, segmenter: DenseSegmenter):
        super().__init__()
        self.segmenter = segmenter
        self.given: list[tuple[int, ...]] = []

    def forward(self, padded: Tensor) -> Tensor:
        self.given.append(tuple(padded.shape[2:]))
        return self.segmenter.probabilities(padded)


@pytest.mark.parametrize(
    ("space", "tiles"),
    [
        ((1, 1), [(8, 8)]),
        ((32, 32), [(32, 32)]),
        ((33, 25), 2 * [(24, 32)]),
        ((40, 72), 3 * [(40, 24)]),
        ((16, 130), 3 * [(16, 48)]),
    ],
)
def test_tiles_are_whole_cells_of_one_size_that_is_bounded(
    make_checkpoint: MakeCheckpoint,
    monkeypatch: pytest.MonkeyPatch,
    space: tuple[int, int],
    tiles: list[tuple[int, int]],
) -> None:
    monkeypatch.setattr(in_tiles, "_LARGEST_TENSOR", LARGEST)
    checkpoint = make_checkpoint(2)
    segmenter = checkpoint.segmenter()
    watched = Watched(segmenter)
    network = InTiles(Part(segmenter, DenseSegmenter.reflect), watched, checkpoint.architecture)
    image = 255 * torch.rand(2, 1, *space, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = network(image), segmenter(image)
    margins = segmenter.geometry.margin
    assert [tuple(n - 2 * m for n, m in zip(given, margins, strict=True)) for given in watched.given] == tiles
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("channels", [1, 2])
def test_torchscript_in_many_tiles_equals_the_checkpoint(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, channels: int
) -> None:
    monkeypatch.setattr(in_tiles, "_LARGEST_TENSOR", LARGEST)
    checkpoint = make_checkpoint(2, channels=channels)
    segmenter, generator = checkpoint.segmenter(), torch.Generator().manual_seed(2)
    with known_warnings(), torch.inference_mode():
        network = load_runtime(write_weights(checkpoint, tmp_path).torchscript)
        for size in ((1, 161, 203), (2, 64, 40), (1, 1, 65)):
            image = 255 * torch.rand(size[0], channels, *size[1:], generator=generator)
            torch.testing.assert_close(network(image), segmenter(image), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("width", [1, 16, 32, 64, 256, 100_000])
def test_a_tile_holds_a_cell_and_is_smaller_than_an_image_that_an_export_compares(width: int) -> None:
    shape = Architecture(2, 1, 3, [width], 4, [[2, 2]], [[3, 3]])
    assert 2 * 2 <= tile_pixels(shape) < max(y * x for _, y, x in SIZES[2])
