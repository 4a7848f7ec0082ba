"""What of docs/ is made out of the code is that of the code; for the pages themselves see tests/docs."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_the_settings_is_that_of_the_code() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))
    assert page["PAGE"].read_text(encoding="utf-8") == page["as_page"](), "run python docs/make_settings.py"


def test_the_picture_of_the_network_is_that_of_its_geometry() -> None:
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_network.py"))
    assert drawing["PICTURE"].read_text(encoding="utf-8") == drawing["draw"](drawing["two_dimensional"]())


def test_the_sizes_in_the_picture_are_those_of_the_tensors() -> None:
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_network.py"))
    axis = drawing["two_dimensional"]()
    sizes = [[bar.size for bar in row] for row in drawing["encoder_bars"](axis)]
    assert sizes == [[112, 110], [54, 50], [24, 20], [9, 5]]  # by hand: 3x3 takes 2, blur pooling n to (n - 4) / 2 + 1
    assert [[bar.size for bar in row] for row in drawing["ladder_bars"](axis)] == [[8], [6, 8], [6, 8], [5]]


def test_the_page_of_the_commands_is_that_of_the_code() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))
    assert page["PAGE"].read_text(encoding="utf-8") == page["as_page"](), "run python docs/make_commands.py"
