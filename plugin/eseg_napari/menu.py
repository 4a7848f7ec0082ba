"""What napari's menus call."""

from __future__ import annotations

import napari
from qtpy.QtWidgets import QApplication

from eseg_napari.widget import EsegWidget

PLUGIN, WINDOW = "eseg_zoo", "Paint, train, look, export"  # as the manifest names them


def open_project(viewer: napari.Viewer) -> None:
    """Ask for the folder of a project, and go on with it in the window, which is docked where it is not yet."""
    docked = [one for one in QApplication.allWidgets() if isinstance(one, EsegWidget) and one.isVisible()]
    widget = docked[0] if docked else viewer.window.add_plugin_dock_widget(PLUGIN, WINDOW)[1]
    widget.ask_for_project()
