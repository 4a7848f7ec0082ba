"""What will hurt a training is told in a line each, and a good data set has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eseg_zoo.config import Run
from eseg_zoo.images.opening import open_image
from eseg_zoo.training.cautions import cautions, intensities_of_images
from eseg_zoo.training.data import open_pairs, read_labels
from eseg_zoo.training.label_summary import summary_of

SIDE = 512
CLASSES = {1: "cell", 2: "ground"}


def textured(*shape: int, low: int = 40, high: int = 200, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint8)


def points(*shape: int, each: int = 12, within: float = 1.0, seed: int = 0) -> NDArray[np.uint8]:
    """Single labelled pixels far from each other, of both classes on every slice."""
    rng, labels = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    *outer, y, x = shape
    rows, columns = int(within * y) // 4, int(within * x) // 4
    for index in np.ndindex(*outer):
        places = rng.choice(rows * columns, 2 * each, replace=False)
        labels[(*index, 4 * (places // columns), 4 * (places % columns))] = np.repeat([1, 2], each)
    return labels


def told(
    images: Sequence[NDArray[Any]], labels: Sequence[NDArray[Any]], *, axes: str = "zyx", **settings: Any
) -> list[str]:
    """The cautions of a training on these arrays."""
    names = [f"image{number}" for number in range(len(images))]
    run = Run.checked(
        {"images": names, "labels": names, "classes": CLASSES, "out": "out", "preset": "small", **settings}, "run"
    )
    opened = [open_image(image, axes=axes, name=name) for image, name in zip(images, names, strict=True)]
    data = read_labels(run, open_pairs(run, opened, list(labels)))
    shape = run.network.architecture(channels=opened[0].sizes["c"], classes=2, voxel_size=data.voxel_size)
    return cautions(run, data, shape.geometry, intensities_of_images(data))


def test_good_images_and_labels_have_none() -> None:
    two = [textured(3, SIDE, SIDE), textured(3, SIDE, SIDE, seed=1)]
    assert told(two, [points(3, SIDE, SIDE), points(3, SIDE, SIDE, seed=1)]) == []


def test_a_class_with_fewer_than_five_strokes_is_named_with_their_number() -> None:
    labels = points(3, SIDE, SIDE)
    labels[labels == 2] = 0
    labels[0, 100:140, 7], labels[2, 9, 300:420] = 2, 2
    (line,) = told([textured(3, SIDE, SIDE)], [labels])
    assert line.startswith("Few places are labelled: ground in 2 places. With fewer than 5 a class")
    labels[1, ::200, 450] = 2
    assert told([textured(3, SIDE, SIDE)], [labels]) == []


def test_labels_on_one_slice_of_four_are_told_with_its_place() -> None:
    labels = points(4, SIDE, SIDE)
    labels[[0, 1, 3]] = 0
    (line,) = told([textured(4, SIDE, SIDE)], [labels])
    assert line.startswith("All labels are on one slice of 4 (image0, slice 2, counted from 0)")
    assert told([textured(3, SIDE, SIDE)], [labels[:3]]) == [], "of three slices one is many"
    volumes = told([textured(4, SIDE, SIDE)], [labels], network={"dims": 3})
    assert any("one slice of 4 (image0, slice 2" in line for line in volumes)


def test_labels_in_one_image_of_several_are_told() -> None:
    labels = [points(2, SIDE, SIDE), np.zeros((2, SIDE, SIDE), np.uint8)]
    (line,) = told([textured(2, SIDE, SIDE), textured(2, SIDE, SIDE, seed=1)], labels)
    assert line.startswith("Only image0 of 2 images has labels")


def test_labels_in_one_corner_are_told_with_its_place() -> None:
    labels = points(2, SIDE, SIDE, within=0.2)
    (line,) = told([textured(2, SIDE, SIDE)], [labels])
    assert line.startswith("image0: 90% of the labelled places lie within ")
    assert "of its 512 x 512 pixels" in line
    assert told([textured(2, SIDE, SIDE)], [points(2, SIDE, SIDE, within=0.5)]) == []
    small = told([textured(2, 256, 256)], [points(2, 256, 256, within=0.2)])
    assert small == [], "it has no far corner"


def test_images_smaller_than_the_margin_of_a_patch_are_told() -> None:
    (line,) = told([textured(2, 51, 200)], [points(2, 51, 200)])
    assert line.startswith("image0 is small (y=51) beside the patches of 112 x 112 pixels")
    assert told([textured(2, 52, 200)], [points(2, 52, 200)]) == []


def test_a_channel_that_is_cut_off_is_told_with_its_share() -> None:
    image = textured(2, SIDE, SIDE)
    image[0, :60], image[0, 60:] = 255, image[0, 60:]
    (line,) = told([image], [points(2, SIDE, SIDE)])
    assert line.startswith("image0 has the largest value 255 at 6% of its pixels: it is cut off")
    image[0, :40] = 100
    assert told([image], [points(2, SIDE, SIDE)]) == []


def test_a_constant_channel_of_one_image_is_told() -> None:
    first, second = textured(2, 1, SIDE, SIDE), textured(2, 1, SIDE, SIDE, seed=1)
    second[1] = 3
    lines = told(
        [first, second], [points(1, SIDE, SIDE), points(1, SIDE, SIDE, seed=1)], axes="czyx", channels=["dna", "actin"]
    )
    assert lines == ["image1, channel actin, is constant (3): nothing is learnt from it there"]


@pytest.mark.parametrize(
    ("low", "high", "is_told"),
    [(40, 200, False), (80, 240, False), (215, 250, True), (40, 70, True), (40, 90, False)],
)
def test_images_that_differ_in_brightness_or_contrast_are_told(low: int, high: int, is_told: bool) -> None:
    images = [textured(2, SIDE, SIDE), textured(2, SIDE, SIDE, low=low, high=high, seed=1)]
    lines = told(images, [points(2, SIDE, SIDE), points(2, SIDE, SIDE, seed=1)])
    assert [line.startswith("The images differ in brightness or contrast: image") for line in lines] == [True] * is_told


def test_images_of_two_ranges_are_told_with_both() -> None:
    images = [textured(2, SIDE, SIDE, low=10, high=60), textured(2, SIDE, SIDE, low=150, high=200, seed=1)]
    (line,) = told(images, [points(2, SIDE, SIDE), points(2, SIDE, SIDE, seed=1)])
    assert "image0 10, 34, 59, image1 150, 175, 199 (1st percentile, median, 99th)" in line


def test_a_summary_counts_pixels_strokes_and_slices_of_each_class() -> None:
    labels = np.zeros((2, 3, 40, 40), np.uint8)  # frames of slices
    labels[0, 0, 3, 5:9], labels[0, 2, 7, 7], labels[1, 2, 7, 7] = 1, 1, 1
    labels[1, 1, 20:25, 9], labels[1, 1, 30:35, 9] = 2, 2
    for dims in (2, 3):
        run = Run.checked(
            {
                "images": "a",
                "labels": "a",
                "classes": CLASSES,
                "out": "out",
                "network": {"dims": dims},
                "training": {"validation_fraction": 0.1},
            },
            "run",
        )
        image = open_image(textured(2, 3, 40, 40), axes="tzyx", name="a")
        data = read_labels(run, open_pairs(run, [image], [labels]))
        found = summary_of(data.sections, data.training, data.validation, list(CLASSES.values()))
        assert found.pixels == {"cell": 6, "ground": 10}
        assert found.strokes == {"cell": 3, "ground": 2}
        assert found.slices == {"cell": 3, "ground": 1}
        assert found.labelled_slices == [(0, 0), (0, 2), (0, 4), (0, 5)]
        assert found.all_slices == 6
        assert found.held_out_strokes == {"cell": 1, "ground": 1}
        assert found.held_out_pixels["ground"] == 5
