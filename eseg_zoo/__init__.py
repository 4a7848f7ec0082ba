"""Train and apply ε-Seg models: sparsely supervised semantic segmentation of microscopy data.

    import eseg_zoo

    model = eseg_zoo.train("run.yaml")
    maps = model.predict("image.tif")

What is used is imported when it is used first: torch and Lightning take seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eseg_zoo.allocator import keep_freed_memory
    from eseg_zoo.api import Model, train
    from eseg_zoo.config import Run
    from eseg_zoo.errors import EsegError
    from eseg_zoo.images.image import Image
    from eseg_zoo.images.opening import open_image
    from eseg_zoo.inference.evaluate import Evaluation
    from eseg_zoo.live.training import LiveProgress, LiveTraining, start_training
    from eseg_zoo.progress import Progress

    load = Model.load
    __version__: str

__all__ = [
    "EsegError", "Evaluation", "Image", "LiveProgress", "LiveTraining", "Model", "Progress", "Run", "__version__",
    "keep_freed_memory", "load", "open_image", "start_training", "train",
]  # fmt: skip

_MODULES = {
    "EsegError": "errors", "Evaluation": "inference.evaluate", "Image": "images.image",
    "LiveProgress": "live.training", "LiveTraining": "live.training", "Model": "api",
    "Progress": "progress", "Run": "config", "keep_freed_memory": "allocator", "open_image": "images.opening",
    "start_training": "live.training", "train": "api",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("eseg_zoo")
    if name == "load":
        return __getattr__("Model").load
    if name in _MODULES:
        return getattr(import_module(f"eseg_zoo.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'eseg_zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
