"""The fourth part of the window: what of the maps is shown, and where to label next."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from eseg_napari.line import Line


class LookPanel(QWidget):  # type: ignore[misc]
    """A button that stays down, boxes and sliders."""

    toggled = Signal(bool)
    display_changed = Signal()
    next_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton("Look (K)")
        self.button.setCheckable(True)
        self.button.setToolTip("Show what the model makes of what you see; it follows you, and the training.")
        self.next = QPushButton("Next place (N)")
        self.next.setToolTip("Go where a stroke teaches most: the model is unsure there, and has seen nothing like it.")
        self.opacity, self.sure = _slider(40), _slider(30)
        self.uncertainty = QCheckBox("Show uncertainty")
        self.uncertainty.setToolTip("Instead of the map: dark is sure, bright is unsure.")
        self.only_sure = QCheckBox("Only where sure")
        self.only_sure.setToolTip("Hide the map where its uncertainty is above the slider's.")
        self.line, self.place = Line(), Line()
        row, grid = QHBoxLayout(), QGridLayout()
        row.addWidget(self.button, 1)
        row.addWidget(self.next, 1)
        grid.addWidget(QLabel("Opacity"), 0, 0)
        grid.addWidget(self.opacity, 0, 1)
        grid.addWidget(self.only_sure, 1, 0)
        grid.addWidget(self.sure, 1, 1)
        grid.addWidget(self.uncertainty, 2, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addLayout(grid)
        layout.addWidget(self.line)
        layout.addWidget(self.place)
        self.button.toggled.connect(self.toggled.emit)
        self.next.clicked.connect(self.next_wanted.emit)
        for slider in (self.opacity, self.sure):
            slider.valueChanged.connect(self.display_changed.emit)
        for box in (self.uncertainty, self.only_sure):
            box.toggled.connect(self.display_changed.emit)

    @property
    def limit(self) -> float:
        """The uncertainty, 0 to 1, above which the map is hidden; 1 hides nothing."""
        return self.sure.value() / 100 if self.only_sure.isChecked() else 1.0


def _slider(value: int) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 100)
    slider.setValue(value)
    return slider
