"""From a trained model to a verified BioImage Model Zoo package.

    import eseg_export

    package = eseg_export.export("model.pt", card="card.yaml")

What it needs takes seconds to import, so that waits until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eseg_export.card import Card
    from eseg_export.package import Package, export

__all__ = ["Card", "Package", "__version__", "export"]
__version__: str

_MODULES = {"Card": "eseg_export.card", "Package": "eseg_export.package", "export": "eseg_export.package"}


def __getattr__(name: str) -> Any:
    """Return a public name, imported when it is asked for first."""
    if name == "__version__":
        from importlib.metadata import version

        return version("eseg_zoo")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
