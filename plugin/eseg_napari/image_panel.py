"""The first part of the window: which layers are the image, and what their axes are."""

from __future__ import annotations

from typing import Any

from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from eseg_napari.chosen_image import axes_of, file_of

OURS = "eseg_zoo map"  # key in the metadata of layers that are no image to learn from
_NAMES = {"t": "time", "z": "depth", "c": "channel", "y": "y", "x": "x"}


class ImagePanel(QWidget):  # type: ignore[misc]
    """A list of image layers with boxes; those that are checked are the channels of the image."""

    changed = Signal()
    opened = Signal()  # a button was pressed
    project_opened = Signal()

    def __init__(self, viewer: Any):
        super().__init__()
        self.viewer = viewer
        self.list = QListWidget()
        self.list.setToolTip("Check the layer to learn from; several checked layers are channels of one image.")
        self.list.setMaximumHeight(66)
        self.axes = QComboBox()
        self.axes.setMinimumContentsLength(10)
        self.axes.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.axes.setToolTip("What the axes of the layer are, the slowest first: t time, z depth, c channel.")
        self.open, self.project = QPushButton("Open file…"), QPushButton("Open project…")
        self.open.setToolTip("Open an image, a run.yaml, or an ilastik project (.ilp).")
        self.project.setToolTip("Go on with what was saved: choose the folder NAME_project beside the image.")
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(QLabel("Axes"))
        row.addWidget(self.axes, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.open, 1)
        buttons.addWidget(self.project, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.list)
        layout.addLayout(row)
        layout.addWidget(self.facts)
        self._is_filling = False
        self.list.itemChanged.connect(self._checked)
        self.axes.currentIndexChanged.connect(self._tell)
        self.open.clicked.connect(self.opened.emit)
        self.project.clicked.connect(self.project_opened.emit)
        viewer.layers.events.inserted.connect(self._inserted, position="last")
        viewer.layers.events.removed.connect(self._removed, position="last")
        for layer in viewer.layers:
            self._add(layer)
        self._fill_axes()

    def layers(self) -> list[Any]:
        """Return the checked layers, in the order of the list."""
        items = (self.list.item(row) for row in range(self.list.count()))
        return [one.data(Qt.ItemDataRole.UserRole) for one in items if one.checkState() == Qt.CheckState.Checked]

    def current_axes(self) -> str:
        """Return the axes that are chosen; '' where no layer is checked."""
        return str(self.axes.currentData() or "")

    def check(self, layers: list[Any], axes: str) -> None:
        """Check these layers and no others, and choose their axes."""
        self._is_filling = True
        for row in range(self.list.count()):
            item = self.list.item(row)
            is_wanted = item.data(Qt.ItemDataRole.UserRole) in layers
            item.setCheckState(Qt.CheckState.Checked if is_wanted else Qt.CheckState.Unchecked)
        self._is_filling = False
        self._fill_axes()
        place = self.axes.findData(axes)
        self._is_filling = True
        if place >= 0:
            self.axes.setCurrentIndex(place)
        self._is_filling = False
        self.changed.emit()

    def _inserted(self, event: Any) -> None:
        self._add(event.value)

    def _add(self, layer: Any) -> None:
        if not isinstance(layer, Image) or layer.metadata.get(OURS):
            return
        checked = self.layers()
        joins = not checked or (file_of(layer) and {file_of(one) for one in checked} == {file_of(layer)}
                                and layer.data.shape == checked[0].data.shape)  # fmt: skip
        self._is_filling = True
        item = QListWidgetItem(layer.name)
        item.setData(Qt.ItemDataRole.UserRole, layer)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if joins else Qt.CheckState.Unchecked)
        self.list.addItem(item)
        self._is_filling = False
        layer.events.name.connect(lambda event=None, layer=layer: self._renamed(layer))
        if joins:
            self._fill_axes()
            self.changed.emit()

    def _renamed(self, layer: Any) -> None:
        self._is_filling = True
        for row in range(self.list.count()):
            if self.list.item(row).data(Qt.ItemDataRole.UserRole) is layer:
                self.list.item(row).setText(layer.name)
        self._is_filling = False

    def _removed(self, event: Any) -> None:
        for row in reversed(range(self.list.count())):
            if self.list.item(row).data(Qt.ItemDataRole.UserRole) is event.value:
                was_checked = self.list.item(row).checkState() == Qt.CheckState.Checked
                self.list.takeItem(row)
                if was_checked:
                    self._fill_axes()
                    self.changed.emit()

    def _checked(self, item: Any) -> None:
        if not self._is_filling:
            self._fill_axes()
            self.changed.emit()

    def _fill_axes(self) -> None:
        """Offer the axes that the first checked layer may have; those chosen before stay, where they may be."""
        before, layers = self.current_axes(), self.layers()
        self._is_filling = True
        self.axes.clear()
        for axes in axes_of(layers[0]) if layers else ():
            self.axes.addItem(f"{axes}  ({', '.join(_NAMES[axis] for axis in axes)})", axes)
        place = self.axes.findData(before)
        self.axes.setCurrentIndex(max(place, 0))
        self._is_filling = False

    def _tell(self) -> None:
        if not self._is_filling:
            self.changed.emit()
