"""Every setting of a run, as text for a terminal and as a page of the documentation, out of the settings themselves."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml
from rich.console import Console
from rich.text import Text

from eseg_zoo.config import PRESETS, VOLUME_PRESETS, Run
from eseg_zoo.errors import ConfigError, shown
from eseg_zoo.settings import Settings, section_of

_PRESETS = ("default", "small", "paper")
_KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}
_PLURALS = {
    "list": "lists",
    "text": "texts",
    "integer": "integers",
    "number": "numbers",
    "path": "paths",
    "mapping": "mappings",
}
_ALIKE = 0.5  # how alike a key must be to be offered, 0..1

_HEAD = """\
# The settings of a run

Made from [`eseg_zoo/config.py`](../eseg_zoo/config.py) by `python docs/make_settings.py`. `eseg settings` prints the
same in a terminal, and `eseg settings training.steps` one of them. A section is a mapping in the YAML file:
`training: {steps: 500}`. The columns of presets have the values that differ from the default.
"""


@dataclass(frozen=True)
class Setting:
    """A key of a run."""

    key: str  # with its section, such as `training.steps`
    kind: str  # what its value may be, in words
    default: str  # as YAML has it; '' where it must be given
    presets: Mapping[str, str]  # the value that each preset gives it, if that is not the default
    meaning: str


@dataclass(frozen=True)
class Section:
    """Keys that stand together; those of the run itself have no name."""

    name: str
    meaning: str
    settings: tuple[Setting, ...]


def sections() -> list[Section]:
    """Return all settings, section by section, in the order of the code."""
    schema = Run.model_json_schema()
    own, others = [], []
    for name, field in Run.model_fields.items():
        section = section_of(field.annotation)
        is_list = section is not None and field.is_required()  # of files, each with keys of its own
        if section is None or is_list:
            own.append(_setting(name, name, Run, schema["properties"], schema))
        if section is None:
            continue
        properties = schema["$defs"][section.__name__]["properties"]
        keys = [f.alias or n for n, f in section.model_fields.items()]
        inner = tuple(_setting(f"{name}.{key}", key, section, properties, schema) for key in keys)
        meaning = f"{section.__doc__ or ''} {'' if is_list else field.description or ''}"
        others.append(Section(name, _one_line(meaning), inner))
    return [Section("", "", tuple(own)), *others]


def chosen(key: str | None) -> list[Section]:
    """Return the sections with what a key names: all settings, those of a section, or one.

    Raises `ConfigError` with the nearest key where there is none of that name.
    """
    there = sections()
    if key is None:
        return there
    if found := [section for section in there if section.name == key]:
        return found
    for section in there:
        if one := [setting for setting in section.settings if setting.key == key]:
            return [Section(section.name, section.meaning, tuple(one))]
    if key in Run.former:
        raise ConfigError(f"{key} is not a setting any more: {Run.former[key]}")
    raise ConfigError(f"{shown(key)} is not a setting; {_nearest(key, there)}")


def _nearest(key: str, there: Sequence[Section]) -> str:
    names = {section.name for section in there if section.name}
    keys = [setting.key for section in there for setting in section.settings]
    last = [full for full in keys if full.rpartition(".")[2] == key]  # its section was left out
    near = last or difflib.get_close_matches(key, [*names, *keys], n=1, cutoff=_ALIKE)
    return f"did you mean {' or '.join(near)}?" if near else "eseg settings lists all"


def print_settings(key: str | None, console: Console) -> None:
    """Print what `chosen` returns."""
    for section in chosen(key):
        if section.name:
            console.print(Text.assemble((section.name, "bold"), f"  {section.meaning}"), soft_wrap=True)
        for one in section.settings:
            console.print(Text.assemble((one.key, "bold"), f"  {one.kind}; {_values(one)}"), soft_wrap=True)
            console.print(f"    {one.meaning}", soft_wrap=True)


def _values(one: Setting) -> str:
    told = [f"default {one.default}" if one.default else "must be given"]
    return "; ".join([*told, *(f"{preset} {value}" for preset, value in one.presets.items())])


def as_page() -> str:
    """Return the page of the documentation, in Markdown."""
    parts = [_HEAD]
    for section in sections():
        title = f"## {section.name}\n\n{section.meaning}\n" if section.name else "## The run itself\n"
        rows = [
            [f"`{one.key}`", one.kind, f"`{one.default}`" if one.default else "must be given"]
            + [f"`{one.presets[preset]}`" if preset in one.presets else "" for preset in _PRESETS[1:]]
            + [one.meaning]
            for one in section.settings
        ]
        head = ["key", "value", "default", "`small`", "`paper`", "meaning"]
        lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in [head, ["---"] * len(head), *rows]]
        parts.append(title + "\n" + "\n".join(f"| {line} |" for line in lines) + "\n")
    return "\n".join(parts)


def _setting(
    full: str, key: str, section: type[Settings], properties: Mapping[str, Any], schema: Mapping[str, Any]
) -> Setting:
    known = properties[key]
    name = next(name for name, field in section.model_fields.items() if key in (name, field.alias))
    field = section.model_fields[name]
    usual = "" if field.is_required() else _as_yaml(field.get_default(call_default_factory=True))
    default, *others = (_of_preset(preset, full, usual) for preset in _PRESETS)
    presets = {preset: value for preset, value in zip(_PRESETS[1:], others, strict=True) if value != default}
    return Setting(full, _kind(known, schema), default, presets, _one_line(known.get("description", "")))


def _of_preset(preset: str, full: str, usual: str) -> str:
    """Return the value that a setting has with a preset; where it is another one in 3D, both."""
    section, _, key = full.partition(".")
    flat, deep = (
        _as_yaml(presets[preset][section][key]) if key in presets[preset].get(section, {}) else usual
        for presets in (PRESETS, VOLUME_PRESETS)
    )
    return flat if flat == deep else f"{flat}, in 3D {deep}"


def _kind(known: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema says of a value."""
    if "$ref" in known:
        return _kind(schema["$defs"][known["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in known:
        return " or ".join(_kind(one, schema) for one in known["anyOf"] if one.get("type") != "null")
    if "const" in known or "enum" in known:
        return " or ".join(str(one) for one in known.get("enum", [known.get("const")]))
    kind = known.get("type")
    if kind == "array":
        if "prefixItems" in known:
            return f"{len(known['prefixItems'])} {_plural(_kind(known['prefixItems'][0], schema))}"
        return f"list of {_plural(_kind(known['items'], schema))}"
    if kind == "object":
        if "properties" in known:
            return "mapping"
        keys = known.get("propertyNames", {}).get("enum")
        values = _plural(_kind(known["additionalProperties"], schema))
        return f"mapping{' of ' + ', '.join(keys) if keys else ''} to {values}"
    if known.get("format") == "path":
        return "path"
    return _KINDS[cast(str, kind)] + _limits(known)


def _plural(kind: str) -> str:
    """Return the words for several values of a kind."""
    first, space, rest = kind.partition(" ")
    return _PLURALS.get(first, first) + space + rest


def _limits(known: Mapping[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return "".join(f" {word} {known[name]:g}" for name, word in words.items() if name in known)


def _as_yaml(value: Any) -> str:
    """Return a value as it stands in a YAML file."""
    if value is None:
        return "none"
    text = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())
