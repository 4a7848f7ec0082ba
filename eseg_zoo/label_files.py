"""What a run says of its label files: where they are, and what the files themselves do not tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_serializer, model_validator

from eseg_zoo.names import plain_name
from eseg_zoo.settings import Settings

ClassName = Annotated[str, AfterValidator(plain_name)]


class LabelFile(Settings):
    """A label file; in YAML it is its path alone, or a mapping where there is more to say."""

    file: Path
    """A label image, an ilastik project, or a file of strokes, points, shapes or regions."""
    class_name: ClassName | None = Field(None, alias="class")
    """Class of everything that is labelled in it, for files that name no classes."""
    offset: dict[Literal["t", "z", "y", "x"], Annotated[int, Field(ge=0)]] = Field({})
    """First pixel in the image, such as `{z: 3, y: 100, x: 200}`, where the labels are of a part of it."""
    width: float | None = Field(None, gt=0)
    """Width in pixels of lines that state none; by default 1."""
    unit: Literal["pixel", "micrometer"] | None = None
    """Unit of the coordinates of files that state none; by default pixels."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, (str, Path)) else value

    @model_serializer
    def _as_given(self) -> Any:
        """Return the path where there is no more to say, as older runs have it."""
        said = {"class": self.class_name, "offset": self.offset, "width": self.width, "unit": self.unit}
        said = {key: value for key, value in said.items() if value}
        return {"file": self.file, **said} if said else self.file

    def moved(self, change: Callable[[Path], Path]) -> Self:
        """Return the same with its path replaced by what `change` makes of it."""
        return self.model_copy(update={"file": change(self.file)})


def label_lists(given: Any, images: int) -> list[list[Any]]:
    """Return the label files of each image, given as one file, a list of files, or a list of these.

    With one image a list of files is of that image. Nothing is checked: the result may have another length than
    `images`, and one entry may be meant for all of them.
    """
    entries = list(given) if isinstance(given, (list, tuple)) else [given]
    if images == 1 and not any(isinstance(entry, (list, tuple)) for entry in entries):
        return [entries]
    return [list(entry) if isinstance(entry, (list, tuple)) else [entry] for entry in entries]
