"""Write the page of all commands, `docs/reference/commands.md`, out of the commands themselves.

python docs/make_commands.py
"""

from __future__ import annotations

import argparse
import enum
import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import UnionType
from typing import Any

import typer

from eseg_napari.app import parser as napari_parser
from eseg_zoo.cli import app

PAGE = Path(__file__).with_name("reference") / "commands.md"
_PROGRAMS = {"export": "eseg-export", "demo": "eseg-demo", "upload": "eseg-upload"}  # the same under another name
_HEAD = """\
# Commands

Made from the commands themselves by `python docs/make_commands.py`. In a terminal `eseg --help` lists them, and
`eseg train --help` shows one.

Results go to the standard output; progress, warnings and errors go to the standard error. A command ends with 0 when it
is done, with 1 after an error, which it tells in one line, and with 2 where it was called wrongly. Nothing that exists
is replaced without `--force`. `eseg --debug COMMAND` shows where in the code an error came from, `eseg --version` tells
the version, and `eseg --install-completion` lets your shell complete commands.
"""
_WORDS = {Path: "path", str: "text", int: "integer", float: "number"}


def as_page() -> str:
    """Return the page, in Markdown."""
    parts = [_section(f"eseg {name}", help_text, function) for name, help_text, function in _commands()]
    return "\n".join([_HEAD, *parts, f"## eseg-napari\n\n```text\n{_napari_help()}```\n"])


def _napari_help() -> str:
    """Return its help, which is as wide on every machine."""
    made = napari_parser()
    made.formatter_class = functools.partial(argparse.HelpFormatter, width=110)
    return made.format_help()


def _commands() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yield name, help and function of each command of `eseg`, its own ones first."""
    added = sorted(entry_points(group="eseg.commands"), key=lambda entry: entry.name)
    named = [("", app), *((entry.name, entry.load()) for entry in added)]
    for name, program in named:
        for one in program.registered_commands:
            yield name or one.callback.__name__, one.help or inspect.getdoc(one.callback) or "", one.callback


def _section(title: str, help_text: str, function: Callable[..., Any]) -> str:
    arguments, options = [], []
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = typing.get_args(hints[name])
        is_argument = isinstance(info, typer.models.ArgumentInfo)
        stated = [one for one in (info.default, *(info.param_decls or ())) if str(one).startswith("--")]
        option = stated[0] if stated else f"--{name.replace('_', '-')}"
        called = (info.metavar or name.upper()) if is_argument else option
        is_required = parameter.default is inspect.Parameter.empty
        row = [f"`{called}`", "; ".join(_value(kind, info, parameter.default)), info.help or ""]
        if is_argument:
            several = " ..." if typing.get_origin(kind) is list else ""
            arguments.append((f"{called}{several}" if is_required else f"[{called}]", row))
        elif called != "--debug":
            options.append((f"{called} {_metavar(kind)}" if is_required else "", row))
    usage = " ".join([title, *(used for used, _ in [*options, *arguments] if used), "[OPTIONS]"])
    rows = [row for _, row in [*arguments, *options]]
    lines = [
        " | ".join(cell.replace("|", "\\|") for cell in row) for row in [["", "value", "meaning"], ["---"] * 3, *rows]
    ]
    table = "\n".join(f"| {line} |" for line in lines)
    program = _PROGRAMS.get(title.removeprefix("eseg "))
    also = f"Also as a program of its own, `{program}`.\n\n" if program else ""
    return f"## {title}\n\n```text\n{usage}\n```\n\n{_paragraphs(help_text)}\n\n{also}{table}\n"


def _metavar(kind: Any) -> str:
    (one,) = [part for part in _parts(kind) if part in _WORDS]
    return _WORDS[one].upper()


def _value(kind: Any, info: Any, default: Any) -> list[str]:
    """Return what the value may be, in words: none for a flag."""
    words = []
    for one in _parts(kind):
        if one in _WORDS:
            words.append(_WORDS[one] + (f" from {info.min}" if info.min is not None else ""))
        elif isinstance(one, type) and issubclass(one, enum.Enum):
            words.append(" or ".join(f"`{member.value}`" for member in one))
    if default is inspect.Parameter.empty:
        words.append("must be given")
    elif default is not None and default is not False:
        words.append(f"default `{getattr(default, 'value', default)}`")
    return words


def _parts(kind: Any) -> list[Any]:
    """Return the types that a value may have: `list[Path] | None` has that of a path."""
    if isinstance(kind, UnionType) or typing.get_origin(kind) in (list, typing.Union):
        return [part for one in typing.get_args(kind) for part in _parts(one)]
    return [kind]


def _paragraphs(text: str) -> str:
    """Return the help as Markdown; the lines of a YAML file in it are a block of code."""
    blocks = [" ".join(block.split()) for block in text.split("\n\n")]
    code = [block for block in blocks if re.match(r"[a-z_]+: ", block)]
    prose = [block for block in blocks if block not in code]
    return "\n\n".join([*prose, *(["```yaml\n" + "\n".join(code) + "\n```"] if code else [])])


if __name__ == "__main__":
    PAGE.write_text(as_page(), encoding="utf-8")
