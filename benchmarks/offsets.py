"""How many labels change when a tile's origin does not sit on the network's stride grid.

    python benchmarks/offsets.py model.pt image.tif [--slices 12-13]

Zoo consumers choose their own tiles. For every offset 0-7 along y and x the network runs on the image without its first
rows and columns, as on a tile that starts there; the labels are compared with those of the whole image, away from the
borders, where the context differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.data.volumes import axes_of, chosen_slices, read_image, sections
from eseg_zoo.inference.volume import predict_section, prepare
from eseg_zoo.model.dense import DenseSegmenter


def changed_labels(segmenter: DenseSegmenter, section: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the share of labels (stride y, stride x) that differ at each offset, 0..1."""
    whole = predict_section(segmenter, section).argmax(0)
    border = [
        stride + margin for stride, margin in zip(segmenter.geometry.stride, segmenter.geometry.margin, strict=True)
    ]
    inner = tuple(slice(b, -b) for b in border)
    changed = np.zeros(segmenter.geometry.stride)
    for offset in np.ndindex(changed.shape):
        tile = section[(slice(None), *(slice(o, None) for o in offset))]
        labels = predict_section(segmenter, tile).argmax(0)
        aligned = np.full_like(whole, -1)
        aligned[tuple(slice(o, None) for o in offset)] = labels
        changed[offset] = (aligned[inner] != whole[inner]).mean()
    return changed


def main() -> None:
    """Print the table, in percent, averaged over the slices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--slices", default="12-13")
    options = parser.parse_args()
    checkpoint = Checkpoint.load(options.model)
    segmenter = prepare(checkpoint.segmenter(), torch.device("cpu"))
    found = sections(read_image(options.image, axes_of(options.image, checkpoint.axes)), checkpoint.dims)
    chosen = chosen_slices(options.slices, len(found), options.image, setting="--slices")
    changed = 100 * np.mean([changed_labels(segmenter, found[z]) for z in chosen], 0)
    table = Table("y \\ x", *(str(x) for x in range(changed.shape[1])), title="labels changed, %")
    for y, row in enumerate(changed):
        table.add_row(str(y), *(f"{value:.2f}" for value in row))
    console = Console(width=100)
    console.print(table)
    console.print(
        f"mean over the offsets off the grid {changed.ravel()[1:].mean():.2f} %, largest {changed.max():.2f} %"
    )


if __name__ == "__main__":
    main()
