"""`eseg-napari [IMAGE | run.yaml | project | project.ilp]`: napari with the window docked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

TITLE = "ε-Seg"


def open_viewer(path: Path | None = None, *, axes: str | None = None, show: bool = True) -> tuple[Any, Any]:
    """Return a viewer with the window docked, and the window; `path` is opened in it."""
    import napari

    from eseg_napari.menu import docked

    viewer = napari.Viewer(title=TITLE, show=show)
    widget = docked(viewer)
    if path is not None:
        widget.open(path, axes=axes)
    return viewer, widget


def parser() -> argparse.ArgumentParser:
    """Return the options of `eseg-napari`."""
    made = argparse.ArgumentParser(
        prog="eseg-napari", description="Open napari with the window to paint, train, look and export."
    )
    made.add_argument(
        "path", nargs="?", type=Path, metavar="PATH",
        help="an image of any format that eseg reads, a run.yaml, a project's folder, or an ilastik project (.ilp)",
    )  # fmt: skip
    made.add_argument("--axes", help="axes of an image that does not state them, such as zyx or tczyx")
    return made


def main() -> None:
    """Entry point of `eseg-napari`."""
    given = parser().parse_args()
    if given.path is not None and not given.path.exists():
        sys.exit(f"{given.path} does not exist")
    try:
        import napari
    except ImportError:
        sys.exit("eseg-napari needs napari: pip install '.[napari]'")
    open_viewer(given.path, axes=given.axes)
    napari.run()


if __name__ == "__main__":
    main()
