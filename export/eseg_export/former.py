"""What a package says that is exported again: whoever goes on with it need not state it anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eseg_export.card import Card
from eseg_zoo.package_file import PackageFile, is_package


@dataclass(frozen=True)
class FormerStatements:
    """The statements of a package as they were given to its export; None for those that were not."""

    card: Mapping[str, Any] | None = None
    template: str | None = None  # a built-in one: where somebody's own lies is in no package
    evaluation: Mapping[str, Any] | None = None


def former_statements(model: object, class_names: tuple[str, ...]) -> FormerStatements:
    """Return what is stated in the package that `model` is the path of; nothing for any other model."""
    if not isinstance(model, str | Path) or not is_package(Path(model)):
        return FormerStatements()
    own = PackageFile.open(Path(model)).at("config", "eseg") or {}
    evaluation = own.get("evaluation")
    if isinstance(evaluation, dict) and isinstance(dice := evaluation.get("dice"), dict):
        # A class without pixels has no Dice, which a package leaves out.
        evaluation = evaluation | {"dice": {name: dice.get(name) for name in class_names}}
    return FormerStatements(own.get("card"), own.get("template"), evaluation)


def stated(card: Card, template: str | None) -> dict[str, Any]:
    """Return what a package holds for `former_statements`, as plain YAML values."""
    given = card.model_dump(mode="json", exclude_unset=True)
    return ({"card": given} if given else {}) | ({"template": template} if template else {})
