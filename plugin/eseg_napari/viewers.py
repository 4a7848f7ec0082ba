"""What differs between the versions of napari."""

from __future__ import annotations

from typing import Any


def camera_of(viewer: Any) -> Any:
    """Return the camera of a viewer; since napari 0.9 it is that of its scene."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera
