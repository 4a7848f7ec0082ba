"""Places to label next in whole images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import texture
from eseg_zoo.api import Model
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import InputError, StoppedError
from eseg_zoo.images.image import Image, Spacing
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.landmarks import landmarks_of
from eseg_zoo.patches.anchors import AnchorSet
from eseg_zoo.patches.sections import sections_of
from eseg_zoo.progress import Progress
from eseg_zoo.suggest import sampling
from eseg_zoo.suggest.candidates import REACH
from eseg_zoo.suggest.places import Place


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> Model:
    return Model(checkpoint)


@pytest.fixture(scope="module")
def volume_model(make_checkpoint: Callable[..., Checkpoint]) -> Model:
    return Model(make_checkpoint(3))


def stack(shape: tuple[int, ...] = (3, 120, 100), seed: int = 0) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = texture((1, *shape), seed).numpy()[0]
    return found


def where(places: list[Place]) -> list[tuple[int, ...]]:
    return [(place.number, place.t, place.z, place.y, place.x) for place in places]


def test_places_are_spread_over_the_slices_and_ranked(model: Model) -> None:
    places = model.suggest(stack(), count=6, device="cpu")
    assert [place.rank for place in places] == [1, 2, 3, 4, 5, 6]
    assert np.bincount([place.z for place in places]).tolist() == [2, 2, 2]
    assert all(0 < place.uncertainty <= 1 and place.difference > 0 for place in places)
    assert {place.looks_like for place in places} <= {one.name for one in model.classes}
    assert places[0].position == (places[0].z, places[0].y, places[0].x)


def test_a_place_says_what_the_map_has_there(model: Model) -> None:
    image = stack()
    classes = model.predict(image, device="cpu")["classes"].values
    names = {one.value: one.name for one in model.classes}
    for place in model.suggest(image, count=8, device="cpu"):
        assert place.looks_like == names[int(classes[place.z, place.y, place.x])]


def test_the_same_images_and_seed_give_the_same_places(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert where(model.suggest(stack(), count=5)) == where(model.suggest(stack(), count=5))
    monkeypatch.setitem(sampling.SIDES, 2, 32)
    monkeypatch.setitem(sampling.MOST_PIXELS, 2, 8 * 32 * 32)
    first, again, other = (model.suggest(stack(), count=5, seed=seed) for seed in (1, 1, 2))
    assert where(first) == where(again)
    assert where(first) != where(other)


def test_places_of_several_images_are_ranked_together(model: Model) -> None:
    places = model.suggest([stack(seed=1), stack((1, 90, 90), seed=2)], count=8, axes="zyx")
    assert np.bincount([place.number for place in places], minlength=2).tolist() == [6, 2]
    assert {place.image.name for place in places} == {"images[0]", "images[1]"}


def test_what_is_labelled_is_not_suggested_again(model: Model) -> None:
    image = stack()
    first = model.suggest(image, count=6)
    labels = np.zeros_like(image)
    for place in first:
        labels[place.z, place.y, place.x - 2 : place.x + 3] = 1
    again = model.suggest(image, labels, count=6)
    painted = np.argwhere(labels)
    for place in again:
        same = painted[painted[:, 0] == place.z, 1:]
        assert np.abs(same - [place.y, place.x]).max(1).min() > REACH


def test_difference_is_measured_from_what_is_labelled(model: Model) -> None:
    image, labels = stack(), np.zeros_like(stack())
    labels[0, 40, 30:40] = 1
    (alone,) = model.suggest(image, labels, count=1)
    labels[alone.z, alone.y + REACH + 1, alone.x] = 2  # beside it, and so like it
    others = model.suggest(image, labels, count=20)
    same = [place.difference for place in others if (place.z, place.y, place.x) == (alone.z, alone.y, alone.x)]
    assert same == [] or same[0] < alone.difference


def test_landmarks_stand_for_labels_that_are_not_given(checkpoint: Checkpoint) -> None:
    image = stack()
    first = Model(checkpoint).suggest(image, count=3)
    sections = sections_of(open_image(image, axes="zyx"), 2)
    anchors = AnchorSet.of(np.array([[p.z, p.y, p.x] for p in first]), np.array([0, 1, 2]))
    record = replace(checkpoint.training, landmarks=landmarks_of(sections, anchors))
    places = Model(replace(checkpoint, training=record)).suggest(image, count=12)
    for one in first:
        near = [place for place in places if place.z == one.z]
        assert all(max(abs(place.y - one.y), abs(place.x - one.x)) > REACH for place in near)


def test_slices_limit_where_places_are(model: Model) -> None:
    assert {place.z for place in model.suggest(stack(), count=6, slices="1-2")} == {1, 2}


def test_frames_of_a_movie_are_slices_of_their_own(model: Model) -> None:
    places = model.suggest(stack(), axes="tyx", count=3)
    assert sorted(place.t for place in places) == [0, 1, 2]
    assert places[0].position == (places[0].t, places[0].y, places[0].x)


def test_places_in_a_volume_lie_in_planes_of_their_own(volume_model: Model) -> None:
    image = stack((6, 90, 90))
    places = volume_model.suggest(image, count=5)
    assert len({place.z for place in places}) == 5
    assert all(REACH <= n < 90 - REACH for place in places for n in (place.y, place.x))
    labels = np.zeros_like(image)
    for place in places:
        labels[place.z, place.y, place.x] = 1
    assert not set(where(volume_model.suggest(image, labels, count=5))) & set(where(places))


def test_padding_has_no_place(model: Model) -> None:
    image = stack()
    image[0], image[:, 60:], image[:, :, 70:] = 0, 0, 0
    places = model.suggest(image, count=10)
    assert all(place.z > 0 and place.y < 60 - REACH and place.x < 70 - REACH for place in places)


@dataclass(frozen=True)
class Huge:
    """Pixels of a volume that would fill any disk; it notes how many are read."""

    read: list[int] = field(default_factory=list, compare=False)
    failures: tuple[type[Exception], ...] = ()
    kept: bool = False
    identity: str = "huge"

    def open(self) -> Huge:
        return self

    def __getitem__(self, part: tuple[slice, ...]) -> NDArray[np.uint8]:
        shape = [one.stop - one.start for one in part]
        self.read.append(int(np.prod(shape)))
        return np.random.default_rng([one.start for one in part]).integers(1, 255, shape, dtype=np.uint8)


def test_of_an_image_larger_than_any_memory_a_sample_is_read(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sampling.SIDES, 2, 64)
    monkeypatch.setitem(sampling.MOST_PIXELS, 2, 12 * 64 * 64)
    source, chunks = Huge(), (1, 256, 256)
    image = Image(source, "huge", "zyx", (500, 60_000, 60_000), np.dtype(np.uint8), chunks, (Spacing(),) * 3)
    places = model.suggest(image, count=10)
    assert len(places) == 10
    assert len({place.z for place in places}) >= 9
    assert len(source.read) == 12
    assert max(source.read) <= (64 + 2 * 52) ** 2, "a part and its margin"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"count": 0}, "count is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"slices": "2-5"}, "the slices 0-2"),
        ({"labels": np.zeros((2, 120, 100), np.uint8)}, "labels[0] has"),
        ({"labels": np.full((3, 120, 100), 77, np.uint8)}, "label value 77"),
        ({"labels": np.ones((3, 120, 100), np.uint8)}, "there is no place to suggest"),
    ],
)
def test_what_does_not_fit_is_one_of_our_errors(model: Model, arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        model.suggest(stack(), **arguments)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_that_is_all_padding_has_no_place(model: Model) -> None:
    with pytest.raises(InputError, match=r"images\[0\]: there is no place to suggest; every part is padding"):
        model.suggest(np.full((2, 80, 80), 7, np.uint8))


def test_no_image_is_one_of_our_errors(model: Model) -> None:
    with pytest.raises(InputError, match="there is no image"):
        model.suggest([])


def test_looking_is_told_and_can_be_stopped(model: Model) -> None:
    seen: list[int] = []

    def watch(progress: Progress) -> None:
        seen.append(progress.done)
        progress.stop()

    with pytest.raises(StoppedError):
        model.suggest(stack(), progress=watch)
    assert seen == [1]
