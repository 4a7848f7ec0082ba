"""The files of a suggestion: which there are, and all of them written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eseg_zoo.errors import InputError
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.predict import stem
from eseg_zoo.output import make_folder, replacing
from eseg_zoo.suggest.pictures import draw_place
from eseg_zoo.suggest.places import Place
from eseg_zoo.suggest.writing import write_points, write_rois

_DOTS_PER_INCH = 110


@dataclass(frozen=True)
class SuggestionFiles:
    """What a suggestion is written to."""

    points: list[Path]  # one for each image
    rois: list[Path]  # the same, or none
    pictures: list[Path]  # one for each place, or none

    @classmethod
    def of(
        cls, images: Sequence[str], out: Path, rois: Path | None, pictures: Path | None, *, count: int
    ) -> SuggestionFiles:
        """Return the files for images of these names: of one image those that were given, of several with its name.

        Raises `InputError` for names that do not end in .csv and .zip, and for two images of one name.
        """
        for setting, path, suffix in (("out", out, ".csv"), ("rois", rois, ".zip")):
            if path is not None and path.suffix.lower() != suffix:
                raise InputError(f"{setting} is {path}; its name must end in {suffix}")
        return cls(
            _of_each(images, out),
            _of_each(images, rois) if rois else [],
            [pictures / f"place_{rank:02d}.png" for rank in range(1, count + 1)] if pictures else [],
        )

    @property
    def all(self) -> list[Path]:
        """All of them."""
        return [*self.points, *self.rois, *self.pictures]

    def write(self, predictor: Predictor, places: Sequence[Place], *, force: bool) -> list[Path]:
        """Write places and return the files that were written; an image without a place has none."""
        for folder in dict.fromkeys(path.absolute().parent for path in self.all):
            make_folder(folder)
        written = []
        for write, paths in ((write_points, self.points), (write_rois, self.rois)):
            for number, path in enumerate(paths):
                own = [place for place in places if place.number == number]
                if own:
                    write(path, own, force=force)
                    written.append(path)
        for path, place in zip(self.pictures, places, strict=False):
            with replacing(path, force=force) as temporary:
                draw_place(predictor, place).savefig(temporary, dpi=_DOTS_PER_INCH)
            written.append(path)
        return written


def _of_each(images: Sequence[str], path: Path) -> list[Path]:
    if len(images) == 1:
        return [path]
    found = [path.with_name(f"{path.stem}_{stem(name)}{path.suffix}") for name in images]
    if len(set(found)) < len(found):
        twice = next(target for target in found if found.count(target) > 1)
        raise InputError(f"several images would have the same file, {twice}; give those of one name in two commands")
    return found
