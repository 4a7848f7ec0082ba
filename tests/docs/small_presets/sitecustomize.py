"""Presets that train for seconds: every Python that finds this folder in PYTHONPATH has them, so pages run as written.

Python imports a module of this name when it starts. Nothing of the package knows it.
"""

from eseg_zoo import presets

for of_rank, width in ((presets.PRESETS, 8), (presets.VOLUME_PRESETS, 4)):
    for name in ("default", "small"):
        of_rank[name] = {
            "network": {"width": width, "latents": 4},
            "training": {"steps": 4, "batch_size": 4},
            "semi_supervised": {"steps": 4, "labelled": 4, "unlabelled": 2},
        }
