"""YAML files that people write: read as a mapping, with a clear error for anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from eseg_zoo.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice in one mapping, of which YAML itself would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice, again in line {line}"
                )
            seen.append(key)
        return dict(super().construct_mapping(node, deep))


def read_mapping(path: Path, *, hint: str) -> dict[str, Any]:
    """Return what the YAML file `path` holds.

    Raises `ConfigError` in one line when it does not exist, is not YAML, or does not hold keys; `hint` then says what
    it must hold.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not a readable YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold {hint}")
    return values
