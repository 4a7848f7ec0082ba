"""Where the small preset is better than what people use instead, and where it still fails: two pictures.

    python benchmarks/pictures.py DATA MODEL ALONE [--out benchmarks] [--with-data]

MODEL and ALONE are `model.pt` of rows of `peers.py`: the small preset, and the same network with cross-entropy alone. A
random forest learns from the same labels, which are beside MODEL. Writes `better.png` and `fails.png`: squares of the
unseen slices, chosen by the Dice in them, so that nobody's taste decides. `better` has those in which the small preset
gains most over the better one of the two, `fails` those in which its own Dice is least. Right pixels are pale, wrong
ones have the full colour of the class that they were taken for. `--with-data` shows image and truth too; the data's
licence does not let such pictures into this repository.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.colours import class_colours
from eseg_zoo.images.opening import open_image
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import predict_section
from eseg_zoo.metrics import Confusion
from eseg_zoo.output import replacing
from eseg_zoo.patches.sections import sections_of
from forest import PixelForest
from vnc import CLASSES, TRAINING, UNSEEN, Volume, correct

SIDE = 256  # pixels of a square
SHOWN = 3  # squares in a picture
PALE = 0.35  # share of the colour that is left where a map is right


def network_map(model: Path, volume: Volume) -> NDArray[np.intp]:
    """Return the class indices (slices, y, x) that a checkpoint finds in the unseen slices."""
    predictor = Predictor(Checkpoint.load(model), device="cpu")
    sections = sections_of(open_image(volume.raw, axes="zyx"), predictor.checkpoint.dims)
    return np.stack([predict_section(predictor, sections[z]).argmax(0) for z in UNSEEN])


def forest_map(labels: NDArray[np.uint8], volume: Volume) -> NDArray[np.intp]:
    """Return what the forest finds there, corrected for class frequencies, after learning from `labels` (z, y, x)."""
    slices = list(TRAINING)
    forest = PixelForest(n_jobs=-1).fit(volume.raw[slices], labels[slices], len(CLASSES))
    _, corrected = correct(lambda image: np.log(forest.predict_probabilities(image) + 1e-6), volume)
    return np.asarray(corrected.argmax(1))


def dice_of_squares(truth: NDArray[np.integer], found: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the mean Dice (slices, rows, columns) of the squares that tile the slices, over the classes in each."""
    rows, columns = (length // SIDE for length in truth.shape[1:])
    dice = np.zeros((len(truth), rows, columns))
    for place in np.ndindex(dice.shape):
        window = _window(place)
        dice[place] = Confusion.of(truth[window], found[window], classes=len(CLASSES)).mean_dice
    return dice


def _window(place: tuple[int, ...]) -> tuple[int, slice, slice]:
    number, row, column = place
    return number, slice(row * SIDE, (row + 1) * SIDE), slice(column * SIDE, (column + 1) * SIDE)


def first_places(score: NDArray[np.floating]) -> list[tuple[int, ...]]:
    """Return the indices of the `SHOWN` largest scores, largest first."""
    order = np.argsort(-score, axis=None, kind="stable")[:SHOWN]
    return [tuple(int(i) for i in np.unravel_index(n, score.shape)) for n in order]


def coloured(found: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return a map (y, x) as colours (y, x, 3), 0..1: pale where it is right."""
    colours = np.array([to_rgb(colour) for colour in class_colours(len(CLASSES))])
    shown = colours[found]
    pale: NDArray[np.float64] = np.where((found == truth)[..., None], 1 - PALE * (1 - shown), shown)
    return pale


def draw(
    truth: NDArray[np.integer],
    maps: Mapping[str, NDArray[np.integer]],
    places: Sequence[tuple[int, ...]],
    path: Path,
    *,
    images: NDArray[np.uint8] | None = None,
) -> None:
    """Write a PNG with a line for each square: each of the maps with its Dice there, after image and truth if given."""
    panels = len(maps) + (0 if images is None else 2)
    figure = Figure(figsize=(2.4 * panels, 2.6 * len(places) + 0.4), layout="constrained")
    for line, place in zip(figure.subplots(len(places), panels, squeeze=False), places, strict=True):
        number, y, x = window = _window(place)
        where = f"slice {UNSEEN[number]}, y {y.start}, x {x.start}"
        shown = list(line)
        if images is not None:
            _show(shown.pop(0), images[window], where, cmap="gray")
            _show(shown.pop(0), coloured(truth[window], np.full_like(truth[window], -1)), "truth")
        for panel, (name, found) in zip(shown, maps.items(), strict=True):
            dice = Confusion.of(truth[window], found[window], classes=len(CLASSES)).mean_dice
            _show(panel, coloured(found[window], truth[window]), f"{name}, {dice:.2f}")
        if images is None:
            shown[0].text(-0.04, 0.5, where, transform=shown[0].transAxes, rotation=90, va="center", ha="right")
    colours = class_colours(len(CLASSES))
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, CLASSES.values(), strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(CLASSES), fontsize="small")
    with replacing(path, force=True) as temporary:
        figure.savefig(temporary, dpi=110)


def _show(panel: Axes, picture: NDArray[Any], title: str, cmap: str | None = None) -> None:
    panel.imshow(picture, cmap=cmap)
    panel.set_title(title, fontsize="small")
    panel.set_axis_off()


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the VNC data")
    parser.add_argument("model", type=Path, help="model.pt of a row of the small preset")
    parser.add_argument("alone", type=Path, help="model.pt of the row of cross-entropy alone with the same labels")
    parser.add_argument("--out", type=Path, default=Path("benchmarks"), help="folder of the pictures")
    parser.add_argument("--with-data", action="store_true", help="show image and truth too")
    options = parser.parse_args()
    volume = Volume.read(options.data)
    truth = volume.labels["dense"][list(UNSEEN)].astype(np.int16) - 1
    maps = {
        "forest": forest_map(tifffile.imread(options.model.parent / "labels.tif"), volume),
        "cross-entropy": network_map(options.alone, volume),
        "ε-Seg": network_map(options.model, volume),
    }
    dice = {name: dice_of_squares(truth, found) for name, found in maps.items()}
    gain = dice["ε-Seg"] - np.maximum(dice["forest"], dice["cross-entropy"])
    images = volume.raw[list(UNSEEN)] if options.with_data else None
    draw(truth, maps, first_places(gain), options.out / "better.png", images=images)
    draw(truth, maps, first_places(-dice["ε-Seg"]), options.out / "fails.png", images=images)


if __name__ == "__main__":
    main()
