"""The third part of the window: Train and Stop, and how far the training is."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

SLICES, VOLUME = 2, 3


class TrainingPanel(QWidget):  # type: ignore[misc]
    """Buttons that tell what is asked for, a bar and a line that tell how far it is."""

    started = Signal()
    stopped = Signal()
    dims_changed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton("Train")
        self.button.setToolTip(
            "Train: learn from the strokes. Go on painting meanwhile: new strokes are learnt from at once.\n"
            "Stop: end the training, and keep its best model."
        )
        self.dims = QComboBox()
        self.dims.addItem("from slices (2D)", SLICES)
        self.dims.addItem("from the volume (3D)", VOLUME)
        self.dims.setToolTip("Whether the network sees each slice by itself, or the volume. 2D is quicker.")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.line = QLabel("Paint a few short strokes of each class, in several slices, then press Train.")
        self.line.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.button, 1)
        row.addWidget(self.dims)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.bar)
        layout.addWidget(self.line)
        self.is_training = False
        self.button.clicked.connect(lambda: (self.stopped if self.is_training else self.started).emit())
        self.dims.currentIndexChanged.connect(lambda: self.dims_changed.emit(int(self.dims.currentData())))

    def show_state(self, *, is_training: bool, is_busy: bool = False, line: str | None = None) -> None:
        """Show whether a training goes on; while it starts or ends the button waits."""
        self.is_training = is_training
        self.button.setText("Stop" if is_training else "Train")
        self.button.setEnabled(not is_busy)
        self.dims.setEnabled(not is_training and not is_busy)
        if not is_training:
            self.bar.setRange(0, 1)
            self.bar.setValue(0)
        if line is not None:
            self.line.setText(line)

    def show_progress(self, progress: Any) -> None:
        """Show how far a training is, as `LiveProgress` tells it."""
        self.bar.setRange(0, max(progress.steps, 1) if progress.state != "reading" else 0)
        self.bar.setValue(progress.step)
        self.line.setText(told(progress))


def told(progress: Any) -> str:
    """Return a line such as `Step 120 of 500 · 35 s · loss 0.43 · Dice 0.87 on held-out strokes`."""
    if progress.state == "reading":
        return "Reading the image…"
    figures = progress.figures
    parts = [f"Step {progress.step} of {progress.steps}"]
    if "seconds" in figures:
        parts.append(_time(figures["seconds"]))
    if "loss" in figures:
        parts.append(f"loss {figures['loss']:.2f}")
    if "dice" in figures:
        parts.append(f"Dice {figures['dice']:.2f} on held-out strokes")
    if progress.state == "finished":
        parts.append("all steps are made: paint more where the map is wrong, or press Stop")
    return " · ".join(parts)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
