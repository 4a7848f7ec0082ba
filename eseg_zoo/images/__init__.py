"""Pixels on disk and in memory, for every command: images that know their axes, and the maps that are written."""

from eseg_zoo.images.image import AXES, Image, Spacing
from eseg_zoo.images.opening import open_image

__all__ = ["AXES", "Image", "Spacing", "open_image"]
