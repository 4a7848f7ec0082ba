"""The pages of the documentation as data: their code blocks, what is said of them, their links and anchors."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Pages whose blocks run; those of CONTRIBUTING.md and of benchmarks/ are for people who work on the code.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

RUN = ("bash", "python")
SETTINGS = "yaml"
SHOWN = ("text", "mermaid")  # output, drawings: nothing that a reader types

# The beginning of a command, but not of the line in a --help that says how it is used.
_PROGRAMS = r"(?:eseg(?:-\w+)?|pip|python3?|make|git|bioimageio)"
_COMMAND = re.compile(rf"^(?:\$ )?{_PROGRAMS}(?: (?!.*\[OPTIONS\])|$)", re.MULTILINE)
_MARK = re.compile(r"<!--\s*not run:\s*(?P<reason>.*?)\s*-->")
_GIVEN = re.compile(r"<!--\s*given:\s*(?P<names>.*?)\s*-->")
_FENCE = re.compile(r"(?P<indent> *)```(?P<language>[\w+-]*)(?P<more>.*)")
_TITLE = re.compile(r'title="(?P<title>[^"]+)"')
_LINK = re.compile(r"(?<!\\)\]\((?P<target>[^()\s]+(?:\([^()\s]*\))?)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"#{1,6} (?P<text>.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str  # path from the root of the repository
    line: int  # of its fence, from 1
    language: str
    title: str  # name of the file that it is, or ''
    text: str
    reason: str  # why it is not run, or ''

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    @property
    def kind(self) -> str:
        """What a test does with it: `run`, `file`, `settings`, `shown`, `marked`, or `unknown`."""
        if self.reason:
            return "marked"
        if self.title:
            return "file"
        if self.language == "text" and _COMMAND.search(self.text):
            return "unknown"  # a command that nobody would run
        kinds = {SETTINGS: "settings", **dict.fromkeys(RUN, "run"), **dict.fromkeys(SHOWN, "shown")}
        return kinds.get(self.language, "unknown")


def name_of(page: Path) -> str:
    """Return the path of a page from the root of the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page; `<!-- not run: REASON -->` in the line before says why one is not run."""
    lines, blocks, number = page.read_text(encoding="utf-8").splitlines(), list[Block](), 0
    while number < len(lines):
        opened = _FENCE.fullmatch(lines[number])
        if opened is None:
            number += 1
            continue
        end = next((n for n in range(number + 1, len(lines)) if lines[n].strip() == "```"), None)
        if end is None:
            raise ValueError(f"{page}, line {number + 1}: the block has no end")
        marked = _MARK.fullmatch(_line_before(lines, number).strip())
        titled = _TITLE.search(opened["more"])
        text = textwrap.dedent("\n".join(lines[number + 1 : end])) + "\n"
        reason, title = marked["reason"] if marked else "", titled["title"] if titled else ""
        blocks.append(Block(name_of(page), number + 1, opened["language"], title, text, reason))
        number = end + 1
    return blocks


def given_of(page: Path) -> list[str]:
    """Return the files that a page takes as made on others, from `<!-- given: run.yaml model.pt -->`."""
    return [
        name for line in _prose(page) if (found := _GIVEN.fullmatch(line.strip())) for name in found["names"].split()
    ]


def links_of(page: Path) -> list[str]:
    """Return the targets of all links and pictures of a page that are not in code."""
    return [found["target"] for line in _prose(page) for found in _LINK.finditer(re.sub(r"`[^`]*`", "", line))]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs both make them."""
    headings = (found["text"] for line in _prose(page) if (found := _HEADING.fullmatch(line)))
    return {anchor_of(text) for text in headings}


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading: small letters, hyphens for spaces, nothing but these, digits and `_`."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    letters = unicodedata.normalize("NFC", plain).lower()
    return re.sub(r"[^\w\- ]", "", letters).strip().replace(" ", "-")


def _line_before(lines: list[str], number: int) -> str:
    """Return the nearest line before that is not blank."""
    return next((lines[n] for n in range(number - 1, -1, -1) if lines[n].strip()), "")


def _prose(page: Path) -> Iterator[str]:
    """Yield the lines of a page that are in no block."""
    is_code = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield line
