"""A napari window for eseg_zoo: paint, train, look, export.

`eseg-napari image.tif` opens it; in napari it is Plugins > ε-Seg. Nothing else imports this package.
"""
