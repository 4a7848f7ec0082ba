"""What a report shows of images: labelled planes, small windows of them, and the least sure places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from labelled_pair import pair_of, with_slices

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.tiles import predict_section
from eseg_zoo.metrics import entropy
from eseg_zoo.patches.sections import sections_of
from eseg_zoo.report import scenes
from eseg_zoo.report.scenes import look, look_around, look_at


def test_a_scene_is_a_plane_with_its_labels_and_the_map_of_a_prediction(checkpoint: Checkpoint) -> None:
    pair = pair_of((3, 40, 56), {(1, 5, 7): 3, (1, 20, 30): 1})
    (scene,) = look(checkpoint, [pair])
    expected = predict_section(Predictor(checkpoint), sections_of(pair[0], 2)[1])
    assert scene.place == "image.tif, slice 1"
    assert scene.origin == (0, 0)
    np.testing.assert_array_equal(scene.image, pair[0].read()[0, :, 1])
    np.testing.assert_array_equal(np.argwhere(scene.labels >= 0), [(5, 7), (20, 30)])
    assert (scene.labels[5, 7], scene.labels[20, 30]) == (2, 0)
    np.testing.assert_array_equal(scene.classes, expected.argmax(0))
    np.testing.assert_allclose(scene.uncertainty, entropy(expected), atol=1e-5)


def test_planes_with_the_most_classes_are_shown_and_spread_over_all(checkpoint: Checkpoint) -> None:
    labelled: dict[tuple[int, ...], int] = {(z, 5, 5): 1 for z in range(9)}
    labelled |= {(z, 9, 9): 2 for z in (1, 3, 5, 6, 7)}
    found = look(with_slices(checkpoint), [pair_of((9, 24, 24), labelled)])
    assert [scene.place for scene in found] == [f"image.tif, slice {z}" for z in (1, 5, 7)]


def test_slices_that_the_training_was_not_given_are_not_shown(checkpoint: Checkpoint) -> None:
    pair = pair_of((6, 24, 24), {(z, 5, 5): 1 for z in range(6)})
    found = look(with_slices(checkpoint, training="1-2", validation="4-4"), [pair])
    assert [scene.place[-1] for scene in found] == ["1", "2", "4"]


def test_a_window_of_a_large_plane_is_on_the_grid_and_has_the_most_labels(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scenes.SIDE, 2, 32)
    pair = pair_of((1, 120, 140), {(0, 3, 3): 1, (0, 90, 101): 1, (0, 92, 103): 2, (0, 95, 99): 3})
    asked: list[Any] = []

    def counted(*given: Any, window: Any) -> Any:
        asked.append(window)
        return predict_section(*given, window=window)

    monkeypatch.setattr(scenes, "predict_section", counted)
    (scene,) = look(checkpoint, [pair])
    whole = predict_section(Predictor(checkpoint), sections_of(pair[0], 2)[0])
    assert scene.labels.shape == (32, 32)
    assert all(start % 8 == 0 for start in scene.origin)
    assert set(scene.labels[scene.labels >= 0].tolist()) == {0, 1, 2}
    y, x = scene.origin
    np.testing.assert_allclose(scene.uncertainty, entropy(whole)[y : y + 32, x : x + 32], atol=1e-4)
    assert asked == [(slice(y, y + 32), slice(x, x + 32))]


def test_a_volume_is_shown_by_its_labelled_plane(make_checkpoint: Callable[..., Checkpoint]) -> None:
    checkpoint = make_checkpoint(3)
    pair = pair_of((9, 24, 32), {(7, 4, 5): 1, (7, 6, 9): 2, (2, 4, 4): 1}, dims=3)
    first, second = look(with_slices(checkpoint), [pair])
    whole = predict_section(Predictor(checkpoint), sections_of(pair[0], 3)[0])
    assert (first.place, second.place) == ("image.tif, slice 7", "image.tif, slice 2")
    np.testing.assert_array_equal(first.image, pair[0].read()[0, :, 7])
    np.testing.assert_array_equal(np.argwhere(first.labels >= 0), [(4, 5), (6, 9)])
    np.testing.assert_allclose(first.uncertainty, entropy(whole)[7], atol=1e-4)


def test_frames_and_channels_of_a_movie_are_told_and_kept(make_checkpoint: Callable[..., Checkpoint]) -> None:
    pair = pair_of((3, 2, 24, 24), {(1, 4, 4): 1}, axes="tcyx")
    (scene,) = look(with_slices(make_checkpoint(channels=2)), [pair])
    assert scene.place == "image.tif, frame 1"
    assert scene.image.shape == (2, 24, 24)
    assert scene.picture.shape == (24, 24, 3)


@pytest.mark.parametrize(("place", "origin"), [((60, 70), (32, 40)), ((3, 139), (0, 96)), ((119, 0), (72, 0))])
def test_what_is_around_a_place_is_a_square_on_the_grid_within_the_plane(
    checkpoint: Checkpoint, place: tuple[int, int], origin: tuple[int, int]
) -> None:
    pair = pair_of((2, 120, 140), {(1, 60, 72): 2})
    predictor = Predictor(checkpoint)
    scene = look_around(predictor, pair, 1, place, side=48)
    (top, left), (height, width) = origin, scene.labels.shape
    whole = predict_section(predictor, sections_of(pair[0], 2)[1])
    assert (scene.place, scene.origin) == ("image.tif, slice 1", origin)
    assert all(start <= n < start + size for n, start, size in zip(place, origin, (height, width), strict=True))
    np.testing.assert_array_equal(scene.image[0], pair[0].read()[0, 0, 1, top : top + height, left : left + width])
    np.testing.assert_allclose(scene.uncertainty, entropy(whole)[top : top + height, left : left + width], atol=1e-4)


def test_what_is_around_a_place_in_a_volume_is_its_plane(make_checkpoint: Callable[..., Checkpoint]) -> None:
    pair = pair_of((9, 40, 44), {(5, 4, 5): 1}, dims=3)
    scene = look_around(Predictor(make_checkpoint(3)), pair, 0, (5, 10, 12), side=24)
    assert scene.place == "image.tif, slice 5"
    np.testing.assert_array_equal(scene.image[0], pair[0].read()[0, 0, 5, :24, :24])
    np.testing.assert_array_equal(np.argwhere(scene.labels >= 0), [(4, 5)])


def test_a_section_with_a_truth_is_shown_whether_it_has_labels_or_not(checkpoint: Checkpoint) -> None:
    pair = pair_of((3, 24, 24), {(0, 5, 5): 1})
    _, truth = pair_of((3, 24, 24), {(2,): 2})
    scene = look_at(checkpoint, pair, 2, truth=truth)
    assert scene.place == "image.tif, slice 2"
    assert (scene.labels == -1).all()
    assert scene.truth is not None
    assert (scene.truth == 1).all()
