"""Links of the pages lead somewhere: to files and headings that are there, or to addresses that could be right."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs.pages import PAGES, ROOT, anchor_of, anchors_of, links_of, name_of

LINKING = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"))]


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_every_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    assert [link for link in links_of(page) if not re.match(r"[a-z]+:", link) and not leads(page, link)] == []


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_every_address_is_a_secure_one(page: Path) -> None:
    addresses = [urlsplit(link) for link in links_of(page) if re.match(r"[a-z]+:", link)]
    wrong = [one.geturl() for one in addresses if one.scheme not in {"https", "mailto"}]
    assert wrong + [one.geturl() for one in addresses if one.scheme == "https" and "." not in one.netloc] == []


def test_every_guide_is_linked_from_the_readme() -> None:
    guides = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "guides").glob("*.md")}
    assert guides - set(links_of(ROOT / "README.md")) == set()


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [("Larger than memory", "larger-than-memory"), ("1. Paint `strokes`", "1-paint-strokes"), ("[A](b.md) c", "a-c")],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert anchor_of(heading) == anchor


def leads(page: Path, link: str) -> bool:
    """Say whether a link of a page leads to a file, and to a heading of it."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors_of(target))
