"""Draws `pictures/overview.png`, the picture of the README: strokes, the map of the model, and the maps of its package.

    make demo
    python docs/draw_overview.py demo

It runs the package's ONNX file in ONNX Runtime and its TorchScript file in torch, on the slice with the most strokes.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import tifffile
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image as Pixels

import eseg_zoo
from eseg_zoo.colours import rgb
from eseg_zoo.composite import composite
from eseg_zoo.report.pictures import with_strokes

PICTURE = Path(__file__).parent / "pictures" / "overview.png"

SIDE = 384  # of the square that is shown, pixels
SIZE, DPI = (10.0, 4.1), 130  # inches, dots an inch
INK = "#808890"  # on white and on black
COLOURS = 128  # of the file: few, so that it is small

Map = NDArray[np.float32]  # (class, y, x)


@dataclass(frozen=True)
class Scene:
    """A slice, what was painted on it, and what each way to run the model makes of it."""

    image: NDArray[np.uint8]  # (y, x)
    strokes: NDArray[np.uint8]
    model: Map
    onnx: Map
    torchscript: Map
    names: tuple[str, ...]
    colours: tuple[str, ...]

    @property
    def difference(self) -> float:
        """The largest difference of a probability between the model and its package."""
        return float(max(np.abs(one - self.model).max() for one in (self.onnx, self.torchscript)))


def scene_of(demo: Path) -> Scene:
    """Return the slice with the most strokes of a demo's folder, as its model and its package see it."""
    strokes = tifffile.imread(demo / "strokes.tif")
    number = int((strokes > 0).sum((1, 2)).argmax())
    image = tifffile.imread(demo / "volume.tif")[number]
    model = eseg_zoo.load(demo / "training" / "model.pt")
    maps = model.predict(image, axes="yx")
    pixels = image[None, None].astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(demo / "model.zip").extractall(folder)
        session = onnxruntime.InferenceSession(Path(folder) / "weights.onnx", providers=["CPUExecutionProvider"])
        onnx = np.asarray(session.run(None, {"input": pixels})[0])[0]
        with torch.inference_mode():
            script = torch.jit.load(Path(folder) / "weights.pt")(torch.from_numpy(pixels)).numpy()[0]
    return Scene(
        image, strokes[number], maps.probabilities.to_numpy(), onnx, script,
        tuple(one.name for one in model.classes), tuple(one.colour for one in model.classes),
    )  # fmt: skip


def draw(scene: Scene) -> Figure:
    """Return the picture: three squares in a row, with arrows, a title above and what it is below each."""
    crop = best_crop(scene.strokes)
    labels = scene.strokes[crop].astype(np.int64) - 1
    grey = (255 * composite(scene.image[None])[crop]).astype(np.uint8)
    middle = crop[1].start + SIDE // 2
    halves = np.concatenate([scene.onnx[..., :middle], scene.torchscript[..., middle:]], -1)
    painted = with_strokes(grey, labels, scene.colours)
    panels = [
        ("Paint strokes", painted, f"{100 * (labels >= 0).mean():.2f} % of these pixels"),
        ("Train: a map of everything", coloured(scene.model, scene.colours)[crop], "a class for every pixel"),
        ("Export: the same map", coloured(halves, scene.colours)[crop],
         f"probabilities differ by at most {scene.difference:.0e}"),
    ]  # fmt: skip
    figure = Figure(figsize=SIZE, dpi=DPI)
    axes = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.92, bottom=0.17, wspace=0.09)
    for number, (place, (title, picture, note)) in enumerate(zip(axes, panels, strict=True)):
        place.imshow(picture, interpolation="nearest")
        place.set_axis_off()
        place.set_title(title, color=INK, fontsize=12, fontweight="bold")
        place.text(0.5, -0.02, note, color=INK, fontsize=11, ha="center", va="top", transform=place.transAxes)
        if number:
            place.annotate(
                "", (0, 0.5), (-0.09, 0.5), xycoords="axes fraction",
                arrowprops={"arrowstyle": "simple,head_width=1.1,head_length=0.7", "color": INK},
            )  # fmt: skip
    label_halves(axes[2])
    legend = [Patch(color=colour, label=name) for name, colour in zip(scene.names, scene.colours, strict=True)]
    figure.legend(handles=legend, loc="lower center", ncols=len(legend), frameon=False, labelcolor=INK, fontsize=11)
    return figure


def label_halves(place: Axes) -> None:
    """Write which runtime made which half of the last square."""
    place.axvline(SIDE / 2, color="white", linewidth=2)
    for x, name in ((0.25, "ONNX Runtime"), (0.75, "TorchScript")):
        place.text(
            x, 0.04, name, color="white", fontsize=10, ha="center", transform=place.transAxes,
            bbox={"facecolor": "#222222", "edgecolor": "none", "boxstyle": "round,pad=0.3"},
        )  # fmt: skip


def best_crop(strokes: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return the square with the most strokes."""
    starts = [range(0, max(length - SIDE, 0) + 1, 16) for length in strokes.shape]
    squares = [(slice(y, y + SIDE), slice(x, x + SIDE)) for y in starts[0] for x in starts[1]]
    return max(squares, key=lambda square: int((strokes[square] > 0).sum()))


def coloured(probabilities: Map, colours: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the likeliest class of each pixel in its colour (y, x, 3)."""
    return np.array([rgb(colour) for colour in colours], np.uint8)[probabilities.argmax(0)]


def save(figure: Figure, path: Path) -> None:
    """Write a picture with few colours on a transparent ground."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.png"
        figure.savefig(whole, transparent=True)
        few = Pixels.open(whole).quantize(COLOURS, method=Pixels.Quantize.FASTOCTREE, dither=Pixels.Dither.NONE)
    path.parent.mkdir(exist_ok=True)
    few.save(path, optimize=True)


def main() -> None:
    """Draw it out of a demo's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="the folder that make demo left")
    save(draw(scene_of(parser.parse_args().demo)), PICTURE)


if __name__ == "__main__":
    main()
