"""The pictures of a report: strokes that are seen, maps in the colours of their classes, bars of a round length."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eseg_zoo.images.opening import open_image
from eseg_zoo.metrics import Reliability
from eseg_zoo.report.history import History
from eseg_zoo.report.pictures import (
    LARGEST_ZOOM,
    PANEL,
    RING,
    Picture,
    Ring,
    crops_of,
    panels_of,
    scale_bar,
    with_strokes,
)
from eseg_zoo.report.plots import draw_dice, draw_losses, draw_reliability
from eseg_zoo.report.scenes import Scene
from eseg_zoo.report.suggestions import Suggestion
from eseg_zoo.suggest.places import Place

COLOURS = ["#0072B2", "#E69F00", "#AA1155"]


def pixels(picture: Picture) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What a viewer decodes of a picture."""
    kind, _, data = picture.url.partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def scene_of(height: int, width: int, **changes: Any) -> Scene:
    rng = np.random.default_rng(0)
    labels = np.full((height, width), -1, np.int16)
    labels[height // 2, 3:9] = 2
    found: dict[str, Any] = {
        "place": "image, slice 3", "origin": (0, 0), "pixel": 0.005,
        "image": rng.integers(0, 255, (1, height, width)).astype(np.uint8), "labels": labels,
        "classes": rng.integers(0, 3, (height, width)).astype(np.int16),
        "uncertainty": rng.random((height, width)).astype(np.float32),
    }  # fmt: skip
    return Scene(**found | changes)


@pytest.mark.parametrize(
    ("width", "pixel", "text", "share"),
    [
        (1024, 0.0046, "1 µm", 1 / (1024 * 0.0046)),
        (1000, 0.001, "0.2 µm", 0.2),
        (512, 0.2, "20 µm", 20 / 102.4),
        (300, None, "50 pixels", 50 / 300),
        (3, None, "1 pixel", 1 / 3),
    ],
)
def test_a_scale_bar_has_a_round_length_of_at_most_three_tenths(
    width: int, pixel: float | None, text: str, share: float
) -> None:
    bar = scale_bar(width, pixel)
    assert bar.text == text
    assert bar.share == pytest.approx(share)


def test_a_stroke_one_pixel_wide_is_seen_in_a_picture_of_half_the_size() -> None:
    labels = np.full((1280, 1280), -1, np.int16)
    labels[600, 300:500] = 1
    drawn = with_strokes(np.full((640, 640, 3), 90, np.uint8), labels, COLOURS)
    orange = (drawn == (0xE6, 0x9F, 0x00)).all(-1)
    assert orange[:, 150:250].sum(0).min() >= 7
    assert not orange[:, :140].any()
    assert (drawn[:, 200] == 255).all(-1).any()  # and stands out from a dark ground


def test_strokes_of_several_classes_keep_their_colours_when_the_picture_is_enlarged() -> None:
    labels = np.full((20, 20), -1, np.int16)
    labels[4, 4], labels[15, 15] = 0, 2
    drawn = with_strokes(np.zeros((80, 80, 3), np.uint8), labels, COLOURS)
    assert tuple(drawn[18, 18]) == (0x00, 0x72, 0xB2)
    assert tuple(drawn[62, 62]) == (0xAA, 0x11, 0x55)


def test_labels_all_over_a_plane_let_the_image_through() -> None:
    image = np.random.default_rng(0).integers(0, 255, (30, 30, 3)).astype(np.uint8)
    labels = np.zeros((30, 30), np.int16)
    labels[:, 20:] = -1
    drawn = with_strokes(image, labels, COLOURS)
    np.testing.assert_allclose(drawn[:, :20], 0.45 * np.array([0, 0x72, 0xB2]) + 0.55 * image[:, :20], atol=1)
    np.testing.assert_array_equal(drawn[:, 20:], image[:, 20:])


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (613, 7), (997, 1009)])
def test_planes_of_any_size_and_labels_make_panels(size: tuple[int, int]) -> None:
    for labels in (np.zeros(size, np.int16), np.full(size, -1, np.int16), np.eye(*size, dtype=np.int16) * 3 - 1):
        scene = scene_of(9, 9, **{name: np.zeros(size, np.int16) for name in ("classes", "uncertainty")})
        scene = replace(scene, labels=labels, image=np.ones((2, *size), np.uint8))
        assert all(pixels(panel).size for panel in panels_of(scene, COLOURS))


def test_panels_are_image_labels_map_and_uncertainty_of_one_size() -> None:
    scene = scene_of(60, 90)
    panels = panels_of(scene, COLOURS)
    assert [panel.caption for panel in panels] == ["image", "labels", "class map", "uncertainty"]
    sizes = {pixels(panel).shape for panel in panels if not panel.is_map}
    assert sizes == {(60 * LARGEST_ZOOM, 90 * LARGEST_ZOOM, 3)}
    assert len({panel.bar for panel in panels}) == 1
    assert all(panel.alt for panel in panels)
    known = np.array([[0x00, 0x72, 0xB2], [0xE6, 0x9F, 0x00], [0xAA, 0x11, 0x55]])
    np.testing.assert_array_equal(pixels(panels[2]), known[scene.classes])


def test_a_truth_stands_beside_the_map_and_a_large_plane_becomes_smaller() -> None:
    scene = scene_of(700, 1000, truth=np.full((700, 1000), -1, np.int16))
    panels = panels_of(scene, COLOURS)
    assert [panel.caption for panel in panels] == ["image", "labels", "class map", "truth", "uncertainty"]
    assert pixels(panels[0]).shape[:2] == (round(0.7 * PANEL), PANEL)
    assert (pixels(panels[3]) == 128).all()  # grey where the truth says nothing


def test_a_map_of_more_classes_than_a_palette_holds_keeps_its_colours() -> None:
    colours = [f"#{number:06X}" for number in range(0, 3000, 10)]
    classes = np.arange(300, dtype=np.int16).reshape(15, 20)
    shown = pixels(panels_of(scene_of(15, 20, classes=classes), colours)[2])
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 300


def test_a_place_is_shown_in_a_ring() -> None:
    scene = scene_of(40, 48, origin=(100, 200))
    image = open_image(np.zeros((5, 300, 400), np.uint8), axes="zyx", name="image")
    place = Place(image, 0, 1, t=0, z=3, y=109, x=235, uncertainty=0.8, difference=1.0, looks_like="b")
    shown = crops_of(Suggestion(place, scene), COLOURS)
    assert [one.caption for one in shown] == ["image", "class map", "uncertainty"]
    assert pixels(shown[0]).shape == pixels(shown[2]).shape == (160, 192, 3)
    known = np.array([[0x00, 0x72, 0xB2], [0xE6, 0x9F, 0x00], [0xAA, 0x11, 0x55]])
    np.testing.assert_array_equal(pixels(shown[1]), known[scene.classes])
    # The middles of row 9 of 40 and column 35 of 48.
    assert {one.ring for one in shown} == {Ring(35.5 / 48, 9.5 / 40, 2 * RING / 48)}


def test_curves_are_drawn_of_what_was_logged_and_of_nothing_else() -> None:
    history = History(
        {
            "train/kl": ((10, 20), (3.0, 0.0)), "val/mean_dice": ((10,), (0.5,)), "val/dice/a$b$ <c>": ((10,), (0.5,)),
        },
        {"supervised": 0, "semi_supervised": 10},
    )  # fmt: skip
    for drawn in (draw_losses(history), draw_dice(history, ["a$b$ <c>", "none"], COLOURS[:2])):
        assert drawn is not None
        assert base64.b64decode(drawn.url.removeprefix("data:image/svg+xml;base64,")).endswith(b"</svg>\n")
    assert draw_losses(History({}, {})) is draw_dice(History({}, {}), [], []) is None


def test_reliability_is_drawn_of_one_curve_and_of_two() -> None:
    curve = Reliability.of(np.array([0, 1, 1]), np.array([[0.9, 0.4, 0.1], [0.1, 0.6, 0.9]]))
    for curves in ({"with": curve}, {"with": curve, "without": curve}):
        assert draw_reliability(curves, {"with": 0.1, "without": 0.2}).alt
