"""The second part of the window: the classes, with colour, key, name, and how much of each is painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from eseg_napari.classes import PaintClass, key_of
from eseg_napari.strokes import Count

COLUMNS = ("", "Key", "Class", "Strokes", "Pixels", "Slices")
COLOUR, KEY, NAME, STROKES, PIXELS, SLICES = range(6)
SWATCH = Qt.ItemDataRole.UserRole + 1  # where an item keeps its colour


class ClassesPanel(QWidget):  # type: ignore[misc]
    """A table of classes; it tells what a person asks for, and shows what it is given."""

    selected = Signal(int)  # value of the class to paint
    renamed = Signal(int, str)
    recoloured = Signal(int, str)
    added = Signal()
    removed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(24)
        self.add, self.remove = QPushButton("Add class"), QPushButton("Remove class")
        self.hint = QLabel("Keys: 1-9 class · E erase · [ ] brush · Ctrl+Z undo · Space pan")
        self.hint.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.add)
        row.addWidget(self.remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(row)
        layout.addWidget(self.hint)
        self._is_filling = False
        self.table.itemSelectionChanged.connect(self._select)
        self.table.itemChanged.connect(self._edited)
        self.table.cellDoubleClicked.connect(self._double_clicked)
        self.add.clicked.connect(self.added.emit)
        self.remove.clicked.connect(lambda: self.value() and self.removed.emit(self.value()))

    def value(self) -> int:
        """Return the value of the class that is selected; 0 where none is."""
        row = self.table.currentRow()
        return int(self.table.item(row, NAME).data(Qt.ItemDataRole.UserRole)) if row >= 0 else 0

    def show_classes(self, classes: Sequence[PaintClass], counts: Mapping[int, Count], selected: int) -> None:
        """Show these classes, one of them selected."""
        self._is_filling = True
        self.table.setRowCount(len(classes))
        for row, one in enumerate(classes):
            count = counts.get(one.value, Count())
            texts = ("", key_of(classes, one.value), one.name, count.strokes, count.pixels, count.slices)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(str(text))
                item.setData(Qt.ItemDataRole.UserRole, one.value)
                is_name = column == NAME
                if not is_name:
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                if column == COLOUR:
                    item.setIcon(_swatch(one.colour))
                    item.setData(SWATCH, one.colour)
                    item.setToolTip("Double-click for another colour.")
                elif is_name:
                    item.setToolTip(f"{one.name}: double-click to rename.")
                self.table.setItem(row, column, item)
            if one.value == selected:
                self.table.setCurrentCell(row, NAME)
        self._fit_height()
        self._is_filling = False

    def show_counts(self, counts: Mapping[int, Count]) -> None:
        """Show how much is painted of each class."""
        self._is_filling = True
        for row in range(self.table.rowCount()):
            count = counts.get(int(self.table.item(row, NAME).data(Qt.ItemDataRole.UserRole)), Count())
            for column, number in ((STROKES, count.strokes), (PIXELS, count.pixels), (SLICES, count.slices)):
                self.table.item(row, column).setText(str(number))
        self._is_filling = False

    def select(self, value: int) -> None:
        """Select the class with this value."""
        for row in range(self.table.rowCount()):
            if int(self.table.item(row, NAME).data(Qt.ItemDataRole.UserRole)) == value:
                self.table.setCurrentCell(row, NAME)

    def _fit_height(self) -> None:
        rows = min(max(self.table.rowCount(), 2), 9)
        height = self.table.horizontalHeader().sizeHint().height() + 4
        self.table.setFixedHeight(height + sum(self.table.rowHeight(row) for row in range(rows)))

    def _select(self) -> None:
        if not self._is_filling and self.value():
            self.selected.emit(self.value())

    def _edited(self, item: QTableWidgetItem) -> None:
        if not self._is_filling and item.column() == NAME:
            self.renamed.emit(int(item.data(Qt.ItemDataRole.UserRole)), item.text())

    def _double_clicked(self, row: int, column: int) -> None:
        if column != COLOUR:
            return
        item = self.table.item(row, COLOUR)
        found = QColorDialog.getColor(QColor(item.data(SWATCH)), self, "Colour of the class")
        if found.isValid():
            self.recoloured.emit(int(item.data(Qt.ItemDataRole.UserRole)), found.name())


def _swatch(colour: str) -> QIcon:
    """Return a square in a colour; a selected row does not tint it, as it would a background."""
    pixels = QPixmap(16, 16)
    pixels.fill(QColor(colour))
    icon = QIcon(pixels)
    icon.addPixmap(pixels, QIcon.Mode.Selected)
    return icon
