"""The layer that one paints in: its colours, its keys, and the class that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.utils.colormaps import DirectLabelColormap

from eseg_napari.chosen_image import ChosenImage
from eseg_napari.classes import WITH_KEY, PaintClass
from eseg_napari.strokes import Strokes

NAME = "strokes"
BRUSH = 4  # pixels, at first


class Painter:
    """Keeps the strokes of a session in a Labels layer of the viewer."""

    def __init__(self, viewer: Any, chosen_by_key: Callable[[int], None]):
        self.viewer, self._chosen_by_key = viewer, chosen_by_key
        self.layer: Any = None

    @property
    def is_shown(self) -> bool:
        """Whether the layer is in the viewer; a person may have removed it."""
        return self.layer is not None and self.layer in self.viewer.layers

    def show(self, chosen: ChosenImage, strokes: Strokes, classes: Sequence[PaintClass]) -> None:
        """Show strokes where their image lies; those of another image are taken out of the viewer."""
        if self.is_shown and self.layer.data is strokes:
            self.show_classes(classes)
            return
        if self.is_shown:
            self.viewer.layers.remove(self.layer)
        self.layer = self.viewer.add_labels(
            strokes, name=NAME, opacity=0.8, multiscale=False, colormap=colormap_of(classes), **chosen.placed
        )
        self.layer.brush_size = BRUSH
        self.layer.selected_label = classes[0].value
        self.layer.mode = "paint"
        self.show_classes(classes)

    def to_the_top(self) -> None:
        """Put the strokes above all other layers, and make them the layer that is worked on."""
        if not self.is_shown:
            return
        layers = self.viewer.layers
        if layers[-1] is not self.layer:
            layers.move(layers.index(self.layer), len(layers))
        layers.selection.active = self.layer

    def show_classes(self, classes: Sequence[PaintClass]) -> None:
        """Give the classes their colours, and the first nine their keys."""
        if not self.is_shown:
            return
        self.layer.colormap = colormap_of(classes)
        for number in range(1, WITH_KEY + 1):
            key = str(number)
            if number <= len(classes):
                self.layer.bind_key(key, self._key(classes[number - 1].value), overwrite=True)
            else:
                self.layer.keymap.pop(key, None)

    def choose(self, value: int) -> None:
        """Take the brush with a class."""
        if self.is_shown:
            self.viewer.layers.selection.active = self.layer
            self.layer.selected_label = value
            self.layer.mode = "paint"

    def _key(self, value: int) -> Callable[[Any], None]:
        return lambda layer: self._chosen_by_key(value)


def colormap_of(classes: Sequence[PaintClass]) -> DirectLabelColormap:
    """Return the colours of classes as napari takes them; all other values are transparent."""
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    return DirectLabelColormap(color_dict=colours | {one.value: one.colour for one in classes})
