"""Painting as a person does, and what the window tells."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.notifications import notification_manager

from eseg_napari.classes import of_mapping


def paint(widget: Any, phantom: Any, strokes: Any) -> None:
    """Paint strokes as napari does: pixels of one class after the other."""
    widget._set_classes(of_mapping(phantom.classes))
    for value in phantom.classes:
        widget.choose_class(value)
        widget.painter.layer.data_setitem(np.nonzero(strokes == value), value)


def told() -> list[str]:
    """Return all notifications so far."""
    return [str(one.message) for one in notification_manager.records]
