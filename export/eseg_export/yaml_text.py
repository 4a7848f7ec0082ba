"""YAML that says the same to every consumer: to parsers of YAML 1.1 (PyYAML, SnakeYAML) and of 1.2 (bioimageio's)."""

from __future__ import annotations

import re
from typing import Any

import yaml

# What begins like a number, a date or a time of day, or is a word with a meaning in one of the two: `1e3` and `0o17`
# are numbers in 1.2 alone, `1:30`, `017` and `yes` have a meaning in 1.1 alone.
_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9.]")
_WORDS = frozenset(("", "~", "=", "<<", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"))


class _Dumper(yaml.SafeDumper):
    """Quotes every text that some parser could take for something else, and repeats instead of using aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    quoted = value.lower() in _WORDS or _LIKE_A_NUMBER.match(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if quoted else None)


_Dumper.add_representer(str, _text)


def to_yaml(values: dict[str, Any]) -> str:
    """Return plain values as YAML, in their order, with every text quoted that could be read as anything else."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
