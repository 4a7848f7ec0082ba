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
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.images.opening import open_image
from eseg_zoo.images.slices import chosen_slices
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.predict import Reading, open_for
from eseg_zoo.inference.tiles import predict_section
from eseg_zoo.patches.sections import Section, sections_of


def changed_labels(predictor: Predictor, section: Section) -> NDArray[np.float64]:
    """Return the share of labels (stride y, stride x) that differ at each offset, 0..1."""
    whole, geometry = predict_section(predictor, section).argmax(0), predictor.checkpoint.geometry
    inner = tuple(slice(s + m, -(s + m)) for s, m in zip(geometry.stride, geometry.margin, strict=True))
    changed = np.zeros(geometry.stride)
    for offset in np.ndindex(changed.shape):
        rest = section.read([slice(o, n) for o, n in zip(offset, section.space, strict=True)])
        tile = sections_of(open_image(rest, axes="c" + "zyx"[-len(offset) :]), len(offset))[0]
        labels = predict_section(predictor, tile).argmax(0)
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
    predictor = Predictor(Checkpoint.load(options.model), device="cpu")
    image = open_for(predictor.checkpoint, options.image, Reading())
    found = sections_of(image, predictor.checkpoint.dims)
    chosen = chosen_slices(options.slices, len(found), image.name, setting="--slices")
    changed = 100 * np.mean([changed_labels(predictor, found[z]) for z in chosen], 0)
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
