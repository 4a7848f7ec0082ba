"""The texts in `rdf_templates/`: read, and filled in with what the checkpoint knows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from bioimageio.spec.generic.v0_3 import CiteEntry
from pydantic import BeforeValidator, Field

from eseg_export.card import load_statements
from eseg_zoo.errors import ConfigError
from eseg_zoo.settings import Settings

_BUILT_IN = "eseg_export.rdf_templates"

ShortText = Annotated[str, Field(max_length=128)]


def _whole(value: object) -> object:
    """Return a number that was written down as one."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Texts(Settings):
    """The keys of a template; see `em2d.yaml` for what they mean."""

    dims: Annotated[Literal[2, 3] | None, BeforeValidator(_whole)] = None
    name: str
    description: str
    tags: tuple[str, ...]
    links: tuple[str, ...] = ()
    cite: tuple[CiteEntry, ...]
    input: ShortText
    output: ShortText
    modality: str
    readme: str
    intended_use: str
    limits: str


@dataclass(frozen=True)
class PackageTemplate:
    """A template and where it lies, for messages and for the README beside it."""

    path: Path
    texts: Texts
    built_in: str | None = None  # its name, where it is none of a person's own

    def fill(self, words: Mapping[str, str]) -> Texts:
        """Return the texts with their `$words` replaced.

        Raises `ConfigError` for a word that is not known, and for a template of another kind of model.
        """
        if self.texts.dims is not None and str(self.texts.dims) != words["dims"]:
            raise ConfigError(f"{self.path}: dims is {self.texts.dims}; the model is {words['dims']}D")
        values = _fill(self.texts.model_dump(mode="json", exclude_unset=True), words, self.path)
        return Texts.checked(values, self.path)

    def fill_readme(self, words: Mapping[str, str]) -> str:
        """Return the README with its `$words` replaced; raises `ConfigError` for a word that is not known."""
        path = self.path.parent / self.texts.readme
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: readme is {self.texts.readme}, which cannot be read: {error}") from error
        return str(_fill(text, words, path))


def load_template(name: str) -> PackageTemplate:
    """Return a template by its built-in name, such as `em2d`, or by the path of its YAML file."""
    if name.endswith((".yaml", ".yml")):
        path, built_in = Path(name), None
    else:
        folder = Path(str(files(_BUILT_IN)))
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"built in are {', '.join(known)}"
            raise ConfigError(f"{name} is not a template; {hint} Or give the path of a .yaml file")
        path, built_in = folder / f"{name}.yaml", name
    return PackageTemplate(path, load_statements(path, Texts), built_in)


def _fill(value: Any, words: Mapping[str, str], path: Path) -> Any:
    """Replace the words in every string of nested YAML values."""
    if isinstance(value, list):
        return [_fill(item, words, path) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, words, path) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    try:
        return Template(value).substitute(words)
    except KeyError as error:
        raise ConfigError(
            f"{path}: ${error.args[0]} is not a word of a template; they are {', '.join(words)}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; write $$ for a dollar sign") from error
