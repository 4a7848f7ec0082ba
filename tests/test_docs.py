"""The pages in docs/ and the README say what is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    inside = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    assert links
    assert [link for link in inside if not (page.parent / link).exists()] == []


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
