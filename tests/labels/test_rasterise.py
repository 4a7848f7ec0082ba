"""Which pixels geometry takes, compared with shapely, scikit-image and arithmetic by hand."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
import shapely
import skimage.draw
import skimage.measure
from numpy.typing import NDArray
from painting import drawn, mask_of

from eseg_zoo.labels import rasterise
from eseg_zoo.labels.rasterise import Edge

PLANE = (40, 50)
CENTRES = np.argwhere(np.ones(PLANE, bool))


def outlines(*, rounded: float = 0) -> list[NDArray[np.float64]]:
    """Random outlines that cross themselves and the borders of the image."""
    rng = np.random.default_rng(0)
    found = [rng.uniform(-15, 60, (int(rng.integers(3, 9)), 2)) for _ in range(40)]
    return [np.round(one / rounded) * rounded for one in found] if rounded else found


def distances(geometry: shapely.Geometry) -> NDArray[np.float64]:
    return shapely.distance(geometry, shapely.points(CENTRES)).reshape(PLANE)


@pytest.mark.parametrize("edge", Edge)
@pytest.mark.parametrize("rounded", [0, 0.5, 1])
def test_a_polygon_takes_the_pixels_whose_centre_is_inside(rounded: float, edge: Edge) -> None:
    for outline in outlines(rounded=rounded):
        inside = skimage.measure.points_in_poly(CENTRES, outline).reshape(PLANE)
        away = distances(shapely.LinearRing(outline)) > 1e-9
        found = mask_of(rasterise.polygon([outline], PLANE, edge=edge), PLANE)
        np.testing.assert_array_equal(found[away], inside[away])
        if edge is Edge.ALL:
            assert found[~away].all()


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        (Edge.UPPER_LEFT, "..... .##.. .##.. ....."),
        (Edge.LOWER_RIGHT, "..... ..... ..##. ..##."),
        (Edge.ALL, "..... .###. .###. .###."),
    ],
)
def test_centres_on_the_outline_are_those_of_the_programs_rule(edge: Edge, expected: str) -> None:
    square = np.array([[1, 1], [1, 3], [3, 3], [3, 1]], float)
    np.testing.assert_array_equal(mask_of(rasterise.polygon([square], (4, 5), edge=edge), (4, 5)), drawn(expected))


def test_rings_within_rings_are_holes() -> None:
    rings = [np.array([[a, a], [a, b], [b, b], [b, a]], float) - 0.5 for a, b in ((1, 8), (2, 7), (4, 5))]
    expected = np.zeros((9, 9), bool)
    expected[1:8, 1:8], expected[2:7, 2:7], expected[4, 4] = True, False, True
    np.testing.assert_array_equal(mask_of(rasterise.polygon(rings, (9, 9)), (9, 9)), expected)


@pytest.mark.parametrize("width", [1.5, 3, 10.2])
def test_a_broad_line_takes_the_pixels_within_half_its_width(width: float) -> None:
    for vertices in [*outlines(), *outlines(rounded=1)]:
        distance = distances(shapely.LineString(vertices))
        sure = np.abs(distance - width / 2) > 1e-9
        found = mask_of(rasterise.line(vertices, width, PLANE), PLANE)
        np.testing.assert_array_equal(found[sure], (distance < width / 2)[sure])


def test_a_line_of_width_1_is_a_chain_of_the_nearest_pixels() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        start, end = rng.integers(0, 40, (2, 2))
        found = mask_of(rasterise.line(np.array([start, end], float) + 0.3, 1, PLANE), PLANE)
        rows, columns = skimage.draw.line(*start, *end)
        assert found.sum() == len(rows)
        steps = np.linspace(0, 1, len(rows))[:, None]
        exact = start + steps * (end - start)
        for place in np.argwhere(found):  # within half a pixel, where skimage takes either of two equally near ones
            assert np.abs(exact - place).max(axis=1).min() <= 0.5 + 1e-9
        ties = (np.abs(exact % 1 - 0.5) < 1e-9).any(axis=1)
        assert found[rows[~ties], columns[~ties]].all()


@pytest.mark.parametrize("width", [1, 7])
def test_clipping_changes_no_pixel(width: float) -> None:
    for vertices in [*outlines(rounded=1), *outlines()]:
        large = mask_of(rasterise.line(vertices + 20, width, (90, 100)), (90, 100))
        np.testing.assert_array_equal(mask_of(rasterise.line(vertices, width, PLANE), PLANE), large[20:60, 20:70])
        large = mask_of(rasterise.polygon([vertices + 20], (90, 100)), (90, 100))
        np.testing.assert_array_equal(mask_of(rasterise.polygon([vertices], PLANE), PLANE), large[20:60, 20:70])


def test_an_ellipse_takes_the_pixels_whose_centre_is_inside() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        centre, angle = rng.uniform(-5, 50, 2), rng.uniform(0, 6)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        axes = np.diag(rng.uniform(0.5, 30, 2)) @ turn
        radius = np.hypot(*((CENTRES - centre) @ np.linalg.inv(axes)).T).reshape(PLANE)
        sure = np.abs(radius - 1) > 1e-9
        found = mask_of(rasterise.ellipse(centre, axes, PLANE), PLANE)
        np.testing.assert_array_equal(found[sure], (radius < 1)[sure])


def test_a_point_takes_the_pixel_that_it_lies_in() -> None:
    places = np.array([[0.49, 0.5], [-0.5, 1.2], [2.5, 2.49], [-0.51, 0], [3, 4]])
    found = mask_of(rasterise.points(places, (4, 4)), (4, 4))
    assert np.argwhere(found).tolist() == [[0, 1], [3, 2]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_coordinates_that_are_no_place_are_refused(wrong: float) -> None:
    places = np.array([[1, 2], [wrong, 3], [4, 5]])
    for call in (
        lambda: rasterise.points(places, PLANE),
        lambda: rasterise.line(places, 1, PLANE),
        lambda: rasterise.line(places, 3, PLANE),
        lambda: rasterise.polygon([places], PLANE),
        lambda: rasterise.ellipse(places[1], places[:2], PLANE),
    ):
        with pytest.raises(ValueError, match=re.escape(f"the coordinate {wrong:g}")):
            call()


def test_far_coordinates_and_many_vertices_take_little_memory() -> None:
    far = np.array([[-1e12, -1e12], [1e12, 1e12], [1e12, -1e12]])
    many = np.random.default_rng(0).uniform(0, 20, (200_000, 2))
    tracemalloc.start()
    for places in (far, many):
        for width in (1, 3):
            assert len(rasterise.line(places, width, PLANE))
        assert len(rasterise.polygon([places], PLANE))
        rasterise.points(places, PLANE)
    rasterise.ellipse(np.zeros(2), np.diag([1e12, 1e12]), PLANE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 << 20


def test_an_outline_that_crosses_too_many_rows_is_refused() -> None:
    zigzag = np.zeros((5000, 2))
    zigzag[::2, 0] = 10_000
    with pytest.raises(ValueError, match="crosses 50000000 rows, more than 20000000"):
        rasterise.polygon([zigzag], (10_000, 10_000))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_has_too_few_vertices_takes_no_area(count: int) -> None:
    places = np.full((count, 2), 3.0)
    assert len(rasterise.polygon([places], PLANE)) == 0
    assert len(rasterise.line(places, 1, PLANE)) == (count > 0)
    assert len(rasterise.points(places, PLANE)) == (count > 0)
