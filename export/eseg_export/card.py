"""What a person states about a model: its name, authors, licence, citation and data. Everything has a default.

The fields are those of the zoo's own description (`bioimageio.spec`), which also checks their form; what the
checkpoint knows (classes, training, test data) is never asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from bioimageio.spec import ValidationContext
from bioimageio.spec._internal.license_id import LicenseIdLiteral
from bioimageio.spec.dataset.v0_3 import DatasetId
from bioimageio.spec.generic.v0_2 import Uploader
from bioimageio.spec.generic.v0_3 import CiteEntry, HttpUrl, LicenseId
from bioimageio.spec.model.v0_5 import Author, Maintainer, ModelId, Version
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from eseg_export.names import checked_identifier, checked_model_name, control_character
from eseg_zoo.errors import ConfigError
from eseg_zoo.settings import Settings
from eseg_zoo.yaml_file import TextLoader, read_mapping

Statements = TypeVar("Statements", bound=Settings)


def _known_license(value: object) -> object:
    """Return an SPDX identifier as it is written officially; the list is too long to show when none fits."""
    known = {name.lower(): name for name in get_args(LicenseIdLiteral)}
    if value is None or str(value).lower() in known:
        return value if value is None else known[str(value).lower()]
    near = difflib.get_close_matches(str(value).lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {known[near[0]]}?" if near else "see https://spdx.org/licenses"
    raise ValueError(f"{value!r} is not an SPDX identifier; {hint}")


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it is blank; say something, or leave it out")
    return text


ModelName = Annotated[str, AfterValidator(checked_model_name)]
"""The zoo's rule for names, in words."""
Identifier = Annotated[ModelId, BeforeValidator(lambda value: checked_identifier(str(value)))]
Stated = Annotated[str, AfterValidator(_not_blank)]


_ONE_LINE = ("name", "affiliation", "tags", "github_user", "email", "orcid", "id", "version")
_LONGEST_LINE = 256  # characters


class Card(Settings):
    """The statements in `card.yaml`."""

    id: Identifier | None = None
    """Identifier in the zoo, such as `affable-shark`; by default made of the name."""
    name: ModelName | None = None
    """Letters, digits and `_+- ()`, at most 64; by default the template's."""
    description: Annotated[Stated, Field(max_length=512)] | None = None
    """One or two sentences; by default the template's."""
    authors: tuple[Author, ...] = ()
    """Who made the model: name, affiliation, email, github_user, orcid."""
    maintainers: tuple[Maintainer, ...] = ()
    """Who answers questions (github_user); by default the authors."""
    uploader: Uploader | None = None
    """Who uploads it (email)."""
    license: Annotated[LicenseId | None, BeforeValidator(_known_license)] = None
    """SPDX identifier, such as `CC-BY-4.0`."""
    cite: tuple[CiteEntry, ...] = ()
    """Publications beside the ε-Seg paper: text, and doi or url."""
    tags: tuple[Stated, ...] = ()
    """Added to the template's."""
    version: Version = Version("0.1.0")
    """Of this model, as 1.2.3."""
    git_repo: HttpUrl | None = None
    """Where the model is developed."""
    training_data: Stated | None = None
    """What was imaged, how, and where the images can be had."""
    dataset_id: DatasetId | None = None
    """The training images, when they are in the zoo."""
    intended_use: Stated | None = None
    """What the model is for; by default the template's."""
    limits: Stated | None = None
    """Where it is known to fail; by default the template's."""

    @model_validator(mode="before")
    @classmethod
    def _printable(cls, values: Any) -> Any:
        """Refuse control characters and endless lines anywhere, before the format's own rules speak of patterns."""
        for key, text in _texts(values):
            name = key.rpartition(".")[2]
            if found := control_character(text, allowed="" if name in _ONE_LINE else "\n\t"):
                raise ValueError(f"{key} has {found}")
            if name in _ONE_LINE and len(text) > _LONGEST_LINE:
                raise ValueError(f"{key} has {len(text)} characters; {_LONGEST_LINE} are allowed")
        return values

    @property
    def github_users(self) -> list[str]:
        """Everybody whose GitHub name is stated."""
        named = [*(author.github_user for author in self.authors), *(who.github_user for who in self.maintainers)]
        return [user for user in named if user]


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in nested values with its key, such as `authors.0.name`; those of a list of texts with its."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _texts(item, key if isinstance(item, str) else f"{key}.{number}")


def card_of(card: str | Path | Mapping[str, Any] | Card | None) -> Card:
    """Return the card in a YAML file, or of a mapping of its keys; none is the empty card.

    Raises `ConfigError` for a mistake in it.
    """
    if card is None:
        return Card()
    if isinstance(card, Card):
        return card
    if isinstance(card, str | Path):
        return load_statements(Path(card), Card)
    if isinstance(card, Mapping):
        return _checked(card, Path("card"), Card)
    raise ConfigError(f"card is of type {type(card).__name__}; it must be a path, a mapping or a Card")


def load_statements(path: Path, model: type[Statements]) -> Statements:
    """Return the YAML file `path` as `model`; raises `ConfigError` with file, key and the nearest right key.

    Values are read as they are written: a version of 1.10 is no number.
    """
    hint = f"keys such as {', '.join(list(model.model_fields)[:4])}"
    return _checked(read_mapping(path, hint=hint, loader=TextLoader), path, model)


def _checked(values: Mapping[str, Any], origin: Path, model: type[Statements]) -> Statements:
    # Whether a GitHub user exists is asked once, by the test of the finished package.
    with ValidationContext(perform_io_checks=False):
        return model.checked(values, origin)
