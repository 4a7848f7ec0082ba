"""Presets: defaults of network and training that go together, by the section that they are in."""

from __future__ import annotations

from typing import Any

# The learning rate of the paper, without a warm-up.
PUBLISHED_RATE: dict[str, Any] = {"learning_rate": 3e-5, "warmup": 0.0}
# The paper has none, and in volumes it bought nothing the one time that it was measured (`benchmarks/README.md`).
NO_CUTMIX: dict[str, Any] = {"cutmix": 0.0}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "small": {
        "network": {"width": 32, "latents": 16},
        "training": {"steps": 1000, "batch_size": 32, "patience": 20},
        "semi_supervised": {"steps": 2000, "labelled": 32, "unlabelled": 4},
    },
    "paper": {"training": PUBLISHED_RATE, "augmentation": NO_CUTMIX, "paper": {}},
}

# The same for `dims: 3`, where a patch costs about four times as much.
VOLUME_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {
        "network": {"width": 48},
        "training": {"batch_size": 32},
        "semi_supervised": {"labelled": 16, "unlabelled": 8},
        "augmentation": NO_CUTMIX,
    },
    "small": {
        "network": {"width": 24, "latents": 16},
        "training": {"steps": 500, "batch_size": 16, "patience": 20},
        "semi_supervised": {"steps": 500, "labelled": 8, "unlabelled": 4},
        "augmentation": NO_CUTMIX,
    },
    "paper": {
        "network": {"width": 48},
        "training": {"batch_size": 32, **PUBLISHED_RATE},
        "semi_supervised": {"labelled": 16, "unlabelled": 8},
        "augmentation": NO_CUTMIX,
        "paper": {},
    },
}
