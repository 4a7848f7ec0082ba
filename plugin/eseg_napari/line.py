"""A line of text in a panel."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel


class Line(QLabel):  # type: ignore[misc]  # Qt is untyped where it is not installed
    """A text that is wrapped, and takes no room while it is empty."""

    def __init__(self, text: str = ""):
        super().__init__()
        self.setWordWrap(True)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802  Qt's name
        """Show a text; an empty one is hidden."""
        super().setText(text)
        self.setVisible(bool(text))
