"""YAML files that people write: read as a mapping, with a clear error for anything else.

A file that was made to do harm is refused before it takes time or memory: what it holds is counted as it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from eseg_zoo.errors import ConfigError, shown
from eseg_zoo.paths import described, missing

# Far beyond what a person writes.
_BYTES, _DEPTH, _NODES, _DIGITS = 4 << 20, 50, 100_000, 1000
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LONGEST = 200  # characters of what YAML says of a mistake


class _Loader(yaml.SafeLoader):
    """Refuses what YAML takes and nobody means: a key that is given twice, endless nesting, aliases that multiply."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self.depth = self.nodes = 0
        self.sizes: dict[str, int] = {}  # nodes that an alias stands for, by its anchor

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line, before = event.start_mark.line + 1, self.nodes
        if self.depth > _DEPTH:
            raise yaml.YAMLError(f"it is nested deeper than {_DEPTH}, in line {line}")
        if isinstance(event, yaml.AliasEvent) and event.anchor in self.anchors and event.anchor not in self.sizes:
            raise yaml.YAMLError(f"*{event.anchor} stands within itself, in line {line}")
        self.depth += 1
        self.nodes += self.sizes.get(event.anchor or "", 1) if isinstance(event, yaml.AliasEvent) else 1
        if self.nodes > _NODES:
            raise yaml.YAMLError(f"it holds more than {_NODES} values, by its aliases, in line {line}")
        node = super().compose_node(parent, index)
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self.sizes[event.anchor] = self.nodes - before
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):  # a tag of a mapping at something else
            raise yaml.constructor.ConstructorError(None, None, f"line {node.start_mark.line + 1} is no mapping")
        seen: set[Any] = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            try:
                stands_twice = key in seen
            except TypeError as error:
                text = f"{shown(key)} in line {line} cannot be a key"
                raise yaml.constructor.ConstructorError(None, None, text) from error
            if stands_twice:
                text = f"the key {shown(key)} stands twice, again in line {line}"
                raise yaml.constructor.ConstructorError(None, None, text)
            seen.add(key)
        return dict(super().construct_mapping(node, deep))

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; one that is written wrongly for its kind is named with its line."""
        is_number = isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS
        if is_number and len(node.value) > _DIGITS:
            text = f"line {node.start_mark.line + 1} has a number of {len(node.value)} digits"
            raise yaml.constructor.ConstructorError(None, None, text)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            text = f"line {node.start_mark.line + 1} has {shown(node.value)}, which is no {kind}"
            raise yaml.constructor.ConstructorError(None, None, text) from error


class TextLoader(_Loader):
    """Reads every value as it is written: `1.10` and `yes` are text. Only what is empty, `~` or `null` is nothing."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- of the base class
        first: [(tag, what) for tag, what in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }


def read_mapping(path: Path, *, hint: str, loader: type[yaml.SafeLoader] = _Loader) -> dict[str, Any]:
    """Return what the YAML file `path` holds.

    Raises `ConfigError` in one line when it does not exist, is something else, such as an image or a folder, is not
    YAML, is far larger than a person writes, or does not hold keys; `hint` then says what it must hold.
    """
    kind = described(path)
    if kind not in ("", "a YAML file", "a text file"):
        raise ConfigError(f"{path} is {kind}, not a YAML file{_instead(path)}; a YAML file here holds {hint}")
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(missing(path)) from error
    except OSError as error:
        raise _unreadable(str(path), error) from error
    return mapping_of(content, str(path), hint=hint, loader=loader)


def mapping_of(content: bytes, name: str, *, hint: str, loader: type[yaml.SafeLoader] = _Loader) -> dict[str, Any]:
    """Return what the content of a YAML file holds; `name` is what messages call it. Raises as `read_mapping`."""
    if len(content) > _BYTES:
        raise ConfigError(f"{name} has more than {_BYTES} bytes; it must hold {hint}")
    try:
        values = yaml.load(content.decode("utf-8"), loader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(name, error) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} must hold {hint}")
    return values


def _unreadable(name: str, error: Exception) -> ConfigError:
    said = " ".join(str(error).split())
    said = said if len(said) <= _LONGEST else f"{said[: _LONGEST - 3]}..."
    return ConfigError(f"{name} is not a readable YAML file: {said}")


def _instead(folder: Path) -> str:
    """Return the question whether a YAML file in a folder is meant, where there is one."""
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]) if folder.is_dir() else []
    return f" (did you mean {found[0]}?)" if found else ""
