"""What `mkdocs build` needs beside mkdocs.yml: links into the repository, and equations that need no network.

The pages are written for GitHub, too, so they link to files outside of docs/. On the site each of these is a page of
its own: Markdown as it is, other text as a listing. So is each notebook, with what its cells show. Equations become
MathML, which browsers show without a script.
"""

from __future__ import annotations

import html
import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_FOLDER = "repository"  # of the site, for files that are not in docs/
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")  # of a picture, too
_PICTURES = {".png", ".jpg", ".svg"}
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".html": "html"}


def on_files(files: Files, config: Any) -> Files:
    """Add every file of the repository that a page links to, and what these link to if they are Markdown."""
    for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
        files.append(File.generated(config, str(_site_path(notebook)), content=_as_page(notebook)))
    waiting = [ROOT / "docs" / page.src_uri for page in files.documentation_pages()]
    waiting = [page for page in waiting if page.is_file()]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            if target in seen or not target.is_file() or _site_path(target) is None:
                continue
            seen.add(target)
            if files.get_file_from_path(str(_site_path(target))) is None:
                files.append(_added(target, config))
            if target.suffix == ".md":
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links to where the files are on the site; what is only in the repository stays as text."""
    source = _source_of(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        text, link, anchor = match[1], match[2], match[3] or ""
        if not link or re.match(r"[a-z]+:", link):
            return match[0]
        target = _inside(source.parent / link)
        if target.is_dir():
            return text
        place = _site_path(target)
        if place is None or files.get_file_from_path(place) is None:
            return match[0]  # mkdocs names a link that leads nowhere
        return f"[{text}]({posixpath.relpath(place, here or '.')}{anchor})"

    # Odd parts are blocks of code, in which nothing is a link.
    parts = re.split(r"(^```.*?^```)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if number % 2 else _LINK.sub(moved, part) for number, part in enumerate(parts))


def on_page_content(html_text: str, **_: Any) -> str:
    """Return the page with its equations as MathML."""
    return _EQUATION.sub(_as_mathml, html_text)


def _as_mathml(match: re.Match[str]) -> str:
    tex = html.unescape(match[2]).strip()
    tex = re.sub(r"\\[bB]ig(l|r)(?![a-z])", lambda side: {"l": r"\left", "r": r"\right"}[side[1]], tex)
    tex = tex.replace(r"\arg\min", r"\mathrm{arg\,min}")
    made = convert(tex, display="block" if match[1] == "div" else "inline")
    return f'<{match[1]} class="arithmatex">{made}</{match[1]}>'


def _as_page(notebook: Path) -> str:
    """Return a notebook as Markdown: its texts, its code, and what the cells show as text or picture."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [shown for output in cell.get("outputs", ()) if (shown := _shown(output))]
    parts.append(f'<a href="{notebook.name}" download>This page as a notebook</a>')
    return "\n\n".join(parts)


def _shown(output: dict[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f"![](data:{kind};base64,{''.join(data[kind]).strip()})"
    text = "".join(data.get("text/plain", "")).rstrip()
    return f"```text\n{text}\n```" if text else ""


def _targets(page: Path) -> list[Path]:
    links = [match[2] for match in _LINK.finditer(page.read_text(encoding="utf-8"))]
    return [_inside(page.parent / link) for link in links if link and not re.match(r"[a-z]+:", link)]


def _inside(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _site_path(target: Path) -> str | None:
    """Return the source path, in mkdocs' sense, of a file of the repository; None for one outside of it."""
    if not target.is_relative_to(ROOT):
        return None
    inside = target.relative_to(ROOT).as_posix()
    if target.suffix == ".ipynb":
        return inside.removeprefix("docs/").removesuffix(".ipynb") + ".md"
    is_listing = target.suffix not in {".md", *_PICTURES}
    if inside.startswith("docs/") and not is_listing:
        return inside.removeprefix("docs/")
    return f"{_FOLDER}/{inside}{'.md' if is_listing else ''}"


def _source_of(site_path: str) -> Path:
    """Return the file of the repository that a page of the site was made of."""
    if not site_path.startswith(f"{_FOLDER}/"):
        return ROOT / "docs" / site_path
    inside = ROOT / site_path.removeprefix(f"{_FOLDER}/")
    return inside if inside.is_file() else inside.with_suffix("")


def _added(target: Path, config: Any) -> File:
    place = str(_site_path(target))
    if target.suffix in _PICTURES:
        return File.generated(config, place, abs_src_path=str(target))
    text = target.read_text(encoding="utf-8")
    if target.suffix != ".md":
        name = target.relative_to(ROOT).as_posix()
        fence = f"{_LANGUAGES.get(target.suffix, 'text')}"
        text = f"---\nsearch: {{exclude: true}}\n---\n\n# {name}\n\n````{fence}\n{text}\n````\n"
    return File.generated(config, place, content=text)
