"""Where the small preset is better than what people use instead, and where it still fails: two pictures.

    python benchmarks/pictures.py DATA MODEL ALONE [--out benchmarks]

MODEL and ALONE are `model.pt` of rows of `peers.py`: the small preset, and the same network with cross-entropy alone. A
random forest learns from the same labels, which are beside MODEL. Writes `better.png` and `fails.png`: squares of the
unseen slices, chosen by the Dice in them, so that nobody's taste decides. `better` has those in which the small preset
gains most over the better one of the two, `fails` those in which its own Dice is least.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.colours import class_colours
from eseg_zoo.inference.predict import Predictor
from eseg_zoo.inference.volume import predict_section
from eseg_zoo.metrics import Confusion
from eseg_zoo.output import replacing
from forest import PixelForest
from vnc import CLASSES, TRAINING, UNSEEN, Volume, correct

SIDE = 256  # pixels of a square
SHOWN = 3  # squares in a picture


def network_map(model: Path, volume: Volume) -> NDArray[np.intp]:
    """Return the class indices (slices, y, x) that a checkpoint finds in the unseen slices."""
    segmenter = Predictor(Checkpoint.load(model), device="cpu").segmenter
    return np.stack([predict_section(segmenter, volume.raw[z][None]).argmax(0) for z in UNSEEN])


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


def draw(
    volume: Volume,
    maps: dict[str, NDArray[np.integer]],
    dice: dict[str, NDArray[np.float64]],
    places: Sequence[tuple[int, ...]],
    path: Path,
) -> None:
    """Write a PNG with a line for each square: the image, then each of the maps with its Dice in the square."""
    colours = class_colours(len(CLASSES))
    figure = Figure(figsize=(2.4 * (1 + len(maps)), 2.6 * len(places) + 0.4), layout="constrained")
    lines = figure.subplots(len(places), 1 + len(maps), squeeze=False)
    for line, place in zip(lines, places, strict=True):
        number, y, x = _window(place)
        line[0].imshow(volume.raw[UNSEEN[number], y, x], cmap="gray")
        _label(line[0], f"slice {UNSEEN[number]}, y {y.start}, x {x.start}")
        for panel, (name, found) in zip(line[1:], maps.items(), strict=True):
            panel.imshow(found[number, y, x], cmap=ListedColormap(colours), vmin=-0.5, vmax=len(CLASSES) - 0.5)
            _label(panel, f"{name}, {dice[name][place]:.2f}" if name in dice else name)
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, CLASSES.values(), strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(CLASSES), fontsize="small")
    with replacing(path, force=True) as temporary:
        figure.savefig(temporary, dpi=110)


def _label(panel: Axes, title: str) -> None:
    panel.set_title(title, fontsize="small")
    panel.set_axis_off()


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the VNC data")
    parser.add_argument("model", type=Path, help="model.pt of a row of the small preset")
    parser.add_argument("alone", type=Path, help="model.pt of the row of cross-entropy alone with the same labels")
    parser.add_argument("--out", type=Path, default=Path("benchmarks"), help="folder of the pictures")
    options = parser.parse_args()
    volume = Volume.read(options.data)
    truth = volume.labels["dense"][list(UNSEEN)].astype(np.int16) - 1
    found = {
        "forest": forest_map(tifffile.imread(options.model.parent / "labels.tif"), volume),
        "cross-entropy": network_map(options.alone, volume),
        "ε-Seg": network_map(options.model, volume),
    }
    dice = {name: dice_of_squares(truth, each) for name, each in found.items()}
    gain = dice["ε-Seg"] - np.maximum(dice["forest"], dice["cross-entropy"])
    maps = {"truth": truth, **found}
    draw(volume, maps, dice, first_places(gain), options.out / "better.png")
    draw(volume, maps, dice, first_places(-dice["ε-Seg"]), options.out / "fails.png")


if __name__ == "__main__":
    main()
