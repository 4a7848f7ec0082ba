"""What napari's menus call, and the window docked in a viewer."""

from __future__ import annotations

import napari

from eseg_napari.widget import EsegWidget

PLUGIN, WINDOW = "eseg_zoo", "Paint, train, look, export"  # as the manifest names them


def open_project(viewer: napari.Viewer) -> None:
    """Ask for the folder of a project, and go on with it in the window."""
    docked(viewer).ask_for_project()


def docked(viewer: napari.Viewer) -> EsegWidget:
    """Return the window of a viewer, docked where it is not yet: as napari's own menu does it, so that there is one."""
    try:
        widget: EsegWidget = viewer.window.add_plugin_dock_widget(PLUGIN, WINDOW)[1]
    except (KeyError, ValueError):  # the plugin is switched off in napari's preferences
        widget = EsegWidget(viewer)
        viewer.window.add_dock_widget(widget, name=WINDOW, area="right")
    return widget
