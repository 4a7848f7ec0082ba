"""The last parts of the window: maps of the whole image, and the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from eseg_napari.exporting import Proof
from eseg_napari.line import Line
from eseg_napari.project import short

# What most of the zoo's models have; any SPDX identifier can be typed.
LICENCES = ("CC-BY-4.0", "CC0-1.0", "MIT", "BSD-3-Clause", "Apache-2.0")
MICROSCOPY = {"electron": "em", "fluorescence": "fluorescence"}  # beginnings of the built-in templates
ZARR, TIFF = "OME-Zarr", "OME-TIFF"


class _Working(QWidget):  # type: ignore[misc]
    """A button that starts work and then cancels it, a bar and a line."""

    started = Signal()
    cancelled = Signal()

    def __init__(self, text: str):
        super().__init__()
        self.text, self.is_working = text, False
        self.button = QPushButton(text)
        self.bar, self.line = QProgressBar(), Line()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.bar.hide()
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.button.clicked.connect(lambda: (self.cancelled if self.is_working else self.started).emit())

    def show_working(self, is_working: bool, line: str = "") -> None:
        """Show whether the work goes on."""
        self.is_working = is_working
        self.button.setText("Cancel" if is_working else self.text)
        self.bar.setVisible(is_working)
        self.bar.setRange(0, 0)
        self.line.setText(line)

    def show_progress(self, line: str, done: int, total: int) -> None:
        """Show how far it is; a total of 0 is not known."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.line.setText(line)


class PredictPanel(_Working):
    """Which slices, and in which format."""

    def __init__(self) -> None:
        super().__init__("Predict")
        self.what, self.format = QComboBox(), QComboBox()
        self.what.addItems(["the whole image", "this slice"])
        self.format.addItems([ZARR, TIFF])
        self.uncertainty = QCheckBox("Uncertainty too")
        row = QHBoxLayout()
        for widget in (self.button, self.what, self.format):
            row.addWidget(widget, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.uncertainty)
        layout.addWidget(self.bar)
        layout.addWidget(self.line)


class ExportPanel(_Working):
    """What a person states about the model, and what was proven of its package."""

    def __init__(self) -> None:
        super().__init__("Export…")
        self.button.setToolTip("Write a BioImage Model Zoo package; it appears only after every test has passed.")
        self.name, self.description, self.author, self.github, self.data = (QLineEdit() for _ in range(5))
        self.licence = QComboBox()
        self.licence.setEditable(True)
        self.licence.addItems(LICENCES)
        self.name.setPlaceholderText("letters, digits and _+- (), at most 64")
        self.description.setPlaceholderText("what this model segments, in a sentence or two")
        self.author.setPlaceholderText("who made it; several by semicolons")
        self.github.setPlaceholderText("of the first author; the zoo asks for it")
        self.data.setPlaceholderText("what was imaged, how, and where it can be had")
        for field in (self.name, self.description, self.author, self.github, self.data):
            field.setToolTip(field.placeholderText())
        self.microscopy = QComboBox()
        for text, template in MICROSCOPY.items():
            self.microscopy.addItem(text, template)
        self.microscopy.setToolTip("What the package's texts and tags say of the images.")
        form = QFormLayout()
        for text, field in (
            ("Name", self.name), ("Description", self.description), ("Authors", self.author),
            ("GitHub name", self.github), ("Licence", self.licence), ("Microscopy", self.microscopy),
            ("Training data", self.data),
        ):  # fmt: skip
            form.addRow(text, field)
        self.table = QTableWidget(0, 2)
        self.table.setHorizontalHeaderLabels(["Format or software", "Result"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.why = Line()
        self.table.itemSelectionChanged.connect(self._tell_why)
        self.table.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(self.button)
        layout.addWidget(self.bar)
        layout.addWidget(self.line)
        layout.addWidget(self.table)
        layout.addWidget(self.why)

    def card(self) -> dict[str, Any]:
        """Return what is stated, as `card.yaml` has it; what is left empty is left out."""
        texts = {
            "name": self.name.text(), "description": self.description.text(), "license": self.licence.currentText(),
            "training_data": self.data.text(),
        }  # fmt: skip
        card: dict[str, Any] = {key: text.strip() for key, text in texts.items() if text.strip()}
        authors: list[dict[str, str]] = [{"name": one.strip()} for one in self.author.text().split(";") if one.strip()]
        if authors and self.github.text().strip():
            authors[0]["github_user"] = self.github.text().strip()
        return card | ({"authors": authors} if authors else {})

    def show_proof(self, proof: Proof) -> None:
        """Show how far each format is from the model, and what each software makes of the package."""
        rows = proof.rows
        self.table.setRowCount(len(rows))
        for row, (name, result, why) in enumerate(rows):
            for column, text in enumerate((name, result)):
                item = QTableWidgetItem(text)
                item.setToolTip(why)
                self.table.setItem(row, column, item)
        height = self.table.horizontalHeader().sizeHint().height() + 4
        self.table.setFixedHeight(height + sum(self.table.rowHeight(row) for row in range(len(rows))))
        self.table.show()
        self.why.setText("Select a row to see why.")
        lacking = f" For publication, state: {'; '.join(proof.missing)}." if proof.missing else ""
        unchecked = f" {proof.unchecked}." if proof.unchecked else ""
        self.line.setText(f"{short(Path(proof.path))} passed every test.{lacking}{unchecked}")

    def _tell_why(self) -> None:
        item = self.table.item(self.table.currentRow(), 0)
        self.why.setText("" if item is None else item.toolTip())
