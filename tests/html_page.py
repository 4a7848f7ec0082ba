"""An HTML page taken apart: what it shows, what it refers to, and its tables as rows of texts."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """The parts of a page; raises AssertionError where a tag is not closed, as where it was cut or is not escaped."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []  # what is loaded: src of anything, href that leads outside
        self.alts: list[str] = []
        self.ids: set[str] = set()
        self.tables: list[list[list[str]]] = []
        self.shown: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).split())

    def rows(self, first: str) -> list[list[str]]:
        """The rows of all tables that begin with this text."""
        return [row for table in self.tables for row in table if row and row[0] == first]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        if tag not in _VOID:
            self.open.append(tag)
        self.references += [str(given[key]) for key in ("src", "srcset", "data", "poster") if key in given]
        self.references += [str(given["href"])] if not str(given.get("href", "#")).startswith("#") else []
        self.ids |= {str(given["id"])} if "id" in given else set()
        if tag == "img":
            self.alts.append(given.get("alt") or "")
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            assert "url(" not in data.replace("url(data:", "")
            assert "@import" not in data
            return
        self.shown.append(data)
        if {"td", "th"} & set(self.open):
            cell = self.tables[-1][-1]
            cell[-1] = f"{cell[-1]} {data.strip()}".strip()
