"""Where to label next, as a report shows it: a few of the best places, looked for in a part of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.network import Predictor
from eseg_zoo.patches.sections import sections_of
from eseg_zoo.report.scenes import Pair, Scene, look_around
from eseg_zoo.suggest.places import Place, suggest_places

# Places that are shown, and the side of what is shown around one, in pixels.
COUNT, SIDE = 6, 96
# How many pixels (in volumes: voxels) are looked at for them, so that a report takes no longer than seconds.
PIXELS = {2: 2 << 20, 3: 1 << 20}


@dataclass(frozen=True)
class Suggestion:
    """A place to label, and what is around it."""

    place: Place
    scene: Scene

    @property
    def centre(self) -> tuple[int, int]:
        """The place in the scene, y and x."""
        return self.place.y - self.scene.origin[0], self.place.x - self.scene.origin[1]


def suggest(checkpoint: Checkpoint, pairs: Sequence[Pair]) -> tuple[Suggestion, ...]:
    """Return places in the slices that the training was given, the best first.

    Raises `InputError` where there is none, or pixels cannot be read.
    """
    predictor = Predictor(checkpoint)
    places = suggest_places(
        predictor, [image for image, _ in pairs], [labels for _, labels in pairs], count=COUNT,
        slices=checkpoint.settings.get("slices", {}).get("training"), pixels=PIXELS[checkpoint.dims],
    )  # fmt: skip
    return tuple(Suggestion(place, _around(predictor, pairs[place.number], place)) for place in places)


def _around(predictor: Predictor, pair: Pair, place: Place) -> Scene:
    sections = sections_of(pair[0], predictor.checkpoint.dims)
    number = next(index for index, one in enumerate(sections) if one.t == place.t and one.z in (None, place.z))
    where = (place.y, place.x) if predictor.checkpoint.dims == 2 else (place.z, place.y, place.x)
    return look_around(predictor, pair, number, where, side=SIDE)
