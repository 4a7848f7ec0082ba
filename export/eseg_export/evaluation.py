"""What `eseg evaluate --json` found, for the package's README and picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eseg_zoo.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]


class Evaluation(BaseModel):
    """Dice of every class over the labelled pixels of images that somebody chose; other figures are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    mean_dice: Share
    dice: dict[str, Share | None]  # class name -> Dice; None: it has no labelled pixels there
    pixels: dict[str, Annotated[int, Field(ge=0)]]  # class name -> labelled pixels

    @property
    def total(self) -> int:
        """Labelled pixels of all classes."""
        return sum(self.pixels.values())


def evaluation_of(
    figures: str | Path | Mapping[str, Any] | Evaluation | None, class_names: tuple[str, ...]
) -> Evaluation | None:
    """Return the evaluation in a JSON file, or of its figures; raises `ConfigError` unless it is of these classes."""
    if figures is None or isinstance(figures, Evaluation):
        found, origin = figures, "evaluation"
    elif isinstance(figures, Mapping):
        found, origin = _checked(figures, "evaluation"), "evaluation"
    else:
        found, origin = _checked(_read(Path(figures)), str(figures)), str(figures)
    if found is not None and (found.dice.keys() != set(class_names) or found.pixels.keys() != set(class_names)):
        raise ConfigError(
            f"{origin}: its classes are {', '.join(found.dice)}; the model's are {', '.join(class_names)}: it is the"
            " evaluation of another model"
        )
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not readable JSON, as `eseg evaluate --json` writes it: {error}") from error


def _checked(figures: Any, origin: str) -> Evaluation:
    try:
        return Evaluation.model_validate(figures)
    except ValidationError as error:
        mistake = error.errors()[0]
        key = ".".join(map(str, mistake["loc"])) or "its content"
        raise ConfigError(
            f"{origin}: {key}: {mistake['msg'][0].lower()}{mistake['msg'][1:]}; it must be what `eseg evaluate --json`"
            " writes"
        ) from error
