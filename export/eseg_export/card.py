"""What a person states about a model: its name, authors, licence, citation and data. Everything has a default.

The fields are those of the zoo's own description (`bioimageio.spec`), which also checks their form; what the
checkpoint knows (classes, training, test data) is never asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from bioimageio.spec import ValidationContext
from bioimageio.spec._internal.license_id import LicenseIdLiteral
from bioimageio.spec.dataset.v0_3 import DatasetId
from bioimageio.spec.generic.v0_2 import Uploader
from bioimageio.spec.generic.v0_3 import CiteEntry, HttpUrl, LicenseId
from bioimageio.spec.model.v0_5 import Author, Maintainer, ModelId, Version
from pydantic import BeforeValidator, Field

from eseg_zoo.errors import ConfigError
from eseg_zoo.settings import Settings
from eseg_zoo.yaml_file import read_mapping

Statements = TypeVar("Statements", bound=Settings)


def _known_license(value: object) -> object:
    """Return an SPDX identifier as it is written officially; the list is too long to show when none fits."""
    known = {name.lower(): name for name in get_args(LicenseIdLiteral)}
    if value is None or str(value).lower() in known:
        return value if value is None else known[str(value).lower()]
    near = difflib.get_close_matches(str(value).lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {known[near[0]]}?" if near else "see https://spdx.org/licenses"
    raise ValueError(f"{value!r} is not an SPDX identifier; {hint}")


ModelName = Annotated[str, Field(min_length=5, max_length=64, pattern=r"^[A-Za-z0-9_+\- ()]+$")]
"""The zoo's rule for names; longer ones are cut off by its website."""


class Card(Settings):
    """The statements in `card.yaml`."""

    id: ModelId | None = None
    """Identifier in the zoo, such as `affable-shark`; by default made of the name."""
    name: ModelName | None = None
    """Letters, digits and `_+- ()`, at most 64; by default the template's."""
    description: Annotated[str, Field(max_length=512)] | None = None
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
    tags: tuple[str, ...] = ()
    """Added to the template's."""
    version: Version = Version("0.1.0")
    """Of this model, as 1.2.3."""
    git_repo: HttpUrl | None = None
    """Where the model is developed."""
    training_data: str | None = None
    """What was imaged, how, and where the images can be had."""
    dataset_id: DatasetId | None = None
    """The training images, when they are in the zoo."""
    intended_use: str | None = None
    """What the model is for; by default the template's."""
    limits: str | None = None
    """Where it is known to fail; by default the template's."""

    @property
    def github_users(self) -> list[str]:
        """Everybody whose GitHub name is stated."""
        named = [*(author.github_user for author in self.authors), *(who.github_user for who in self.maintainers)]
        return [user for user in named if user]


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
    """Return the YAML file `path` as `model`; raises `ConfigError` with file, key and the nearest right key."""
    return _checked(read_mapping(path, hint=f"keys such as {', '.join(list(model.model_fields)[:4])}"), path, model)


def _checked(values: Mapping[str, Any], origin: Path, model: type[Statements]) -> Statements:
    # Whether a GitHub user exists is asked once, by the test of the finished package.
    with ValidationContext(perform_io_checks=False):
        return model.checked(values, origin)


def missing_for_publication(card: Card) -> list[str]:
    """Return what the zoo's reviewers ask for and the card does not state, one phrase each."""
    reachable = card.maintainers or any(author.github_user for author in card.authors)
    wanted = {
        "authors: who made the model": card.authors,
        "maintainers, or a github_user of an author: who answers questions": reachable,
        "license: an SPDX identifier such as CC-BY-4.0": card.license,
        "training_data: what was imaged, how, and where it can be had": card.training_data,
        "description: what this model segments": card.description,
    }
    return [what for what, given in wanted.items() if not given]
