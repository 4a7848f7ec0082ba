"""What people write in YAML files, checked: each mistake is one line that says what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from eseg_zoo.errors import ConfigError, shown

_MOST = 10  # mistakes that are told at once
_LONGEST_KEY = 80  # characters


class Settings(BaseModel):
    """Base of all settings: frozen, and a mistyped key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    former: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What became of a setting, by the key it has in older files: where it is now, or why it is gone."""

    @classmethod
    def checked(cls, values: Mapping[str, Any], path: Path | str) -> Self:
        """Return the settings with these values, which were read from `path`.

        Raises `ConfigError` with one line for each mistake: the key, its value, and what it must be.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{path}: {cls._describe(mistake)}" for mistake in error.errors()[:_MOST]]
            if error.error_count() > _MOST:
                lines.append(f"{path}: and {error.error_count() - _MOST} more mistakes")
            raise ConfigError("\n".join(lines)) from error
        except UnicodeEncodeError as error:  # of what a check of ours says of a value
            raise ConfigError(f"{path} has a character that is not text: {shown(error.object)}") from error

    @classmethod
    def without_paths(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of these settings, given as plain YAML values, that have a value and may be shown to others.

        Paths may not, as they tell about somebody's disk, nor may what is not a setting here and could be a path.
        """
        kept = {}
        for name, field in cls.model_fields.items():
            value, section = values.get(name), section_of(field.annotation)
            if section and isinstance(value, Mapping):
                kept[name] = section.without_paths(value)
            elif value is not None and not _holds_path(field.annotation):
                kept[name] = value
        return kept

    @classmethod
    def _describe(cls, mistake: ErrorDetails) -> str:
        key = ".".join(str(part) for part in mistake["loc"])
        if len(key) > _LONGEST_KEY or not key.isprintable():
            key = shown(key)
        if mistake["type"] == "extra_forbidden":
            if key in cls.former:
                return f"{key} is not a setting any more: {cls.former[key]}"
            known = cls._keys_at(mistake["loc"][:-1])
            near = difflib.get_close_matches(str(mistake["loc"][-1]), known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(known)}"
            return f"{key} is not a setting; {hint}"
        if mistake["type"] == "missing":
            return f"{key} is missing"
        if mistake["type"] == "value_error":
            said = str(mistake["ctx"]["error"])
            return f"{key} {said.removeprefix('it ')}" if said.startswith("it is ") else f"{key}: {said}".lstrip(": ")
        return f"{key} is {shown(mistake['input'])}; {mistake['msg'][0].lower()}{mistake['msg'][1:]}"

    @classmethod
    def _keys_at(cls, location: tuple[int | str, ...]) -> list[str]:
        """Return the keys of the nested settings at `location`."""
        section: type[Settings] = cls
        for part in location:
            if isinstance(part, int):  # of a list
                continue
            nested = section_of(section.model_fields[part].annotation)
            if nested is None:
                return []
            section = nested
        return [field.alias or name for name, field in section.model_fields.items()]


def section_of(kind: Any) -> type[Settings] | None:
    """Return the settings that a field of this type holds, alone or in lists; None if it holds others."""
    if isinstance(kind, type) and issubclass(kind, Settings):
        return kind
    return next(filter(None, map(section_of, get_args(kind))), None)


def _holds_path(kind: Any) -> bool:
    """Say whether values of this type are paths or hold some, such as `Path | None` and `list[Path]`."""
    section = section_of(kind)
    inner = [field.annotation for field in section.model_fields.values()] if section else get_args(kind)
    return kind is Path or any(map(_holds_path, inner))
