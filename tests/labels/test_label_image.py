"""Label images become class indices and anchors, or one line that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images import blocks
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.opening import LabelReading, given_labels, open_labels

CLASSES = {7: "membrane", 3: "cytoplasm", 200: "mitochondrion"}


def labels_of(
    values: NDArray[Any], axes: str, image: NDArray[Any] | None = None, image_axes: str = "",
    *, classes: Mapping[int, str] = CLASSES, unlabelled: int = 0, dims: int = 2,
) -> LabelImage:  # fmt: skip
    of = open_image(values if image is None else image, axes=image_axes or axes, name="raw.tif")
    found = open_image(values, axes=axes, name="strokes.tif")
    return opened(found, of, classes=classes, unlabelled=unlabelled, dims=dims)


def opened(
    pixels: Image, image: Image, *, classes: Mapping[int, str] = CLASSES, unlabelled: int = 0, dims: int = 2
) -> LabelImage:
    """The labels in one label image."""
    (found,) = open_labels([image], given_labels(pixels, 1), LabelReading(classes, unlabelled, dims))
    return found


def whole(labels: LabelImage, number: int = 0) -> list[Any]:
    """The indices of a section."""
    found: list[Any] = labels.read(number, labels.sections[number].whole).tolist()
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32])
def test_values_become_indices_in_the_order_of_the_classes(dtype: type[np.generic]) -> None:
    values = np.array([[0, 7, 3], [100, 0, 7]], np.float64).astype(dtype)
    found = labels_of(values, "yx", classes={7: "a", 3: "b", 100: "c"})
    assert whole(found) == [[-1, 0, 1], [2, -1, 0]]


@pytest.mark.parametrize("unlabelled", [255, -1])
def test_another_value_may_mean_not_labelled_and_zero_a_class(unlabelled: int) -> None:
    values = np.array([[unlabelled, 0, 1]], np.int16)
    assert whole(labels_of(values, "yx", classes={0: "a", 1: "b"}, unlabelled=unlabelled)) == [[-1, 0, 1]]


def test_labels_have_the_axes_of_the_image_without_its_channels() -> None:
    values = np.random.default_rng(0).choice([0, 7, 3, 200], (4, 5, 2)).astype(np.uint8)
    found = labels_of(values, "zxy", np.zeros((4, 5, 3, 2)), "zxcy")
    indices = {0: -1, 7: 0, 3: 1, 200: 2}
    for z, x, y in np.ndindex(values.shape):
        assert whole(found, z)[y][x] == indices[int(values[z, x, y])]


def test_another_size_than_the_images_is_refused_with_both() -> None:
    with pytest.raises(InputError) as caught:
        labels_of(np.zeros((4, 6, 5), np.uint8), "zyx", np.zeros((4, 2, 5, 6)), "zcyx")
    assert str(caught.value) == (
        "strokes.tif has t=1 x z=4 x y=6 x x=5, but its image raw.tif has t=1 x z=4 x y=5 x x=6"
    )


def test_labels_with_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"^strokes\.tif has 2 channels; a label image has one value at each pixel$"):
        labels_of(np.zeros((2, 6, 5), np.uint8), "cyx", np.zeros((2, 6, 5)), "cyx")


@pytest.mark.parametrize(("value", "text"), [(5.0, "5"), (2.5, "2.5"), (-1.0, "-1"), (np.nan, "nan")])
def test_a_value_without_a_class_name_is_refused_with_its_place(value: float, text: str) -> None:
    values = np.zeros((2, 2, 3), np.float32)
    values[1, 1, 2] = value
    with pytest.raises(InputError) as caught:
        labels_of(values, "zyx").anchors()
    assert str(caught.value) == (
        f"strokes.tif has the label value {text} at z=1, y=1, x=2, which has no class name "
        "(classes are 7: membrane, 3: cytoplasm, 200: mitochondrion; 0 means not labelled)"
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_anchors_are_the_labelled_pixels_of_a_section_however_it_is_read(
    dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).choice([0, 0, 7, 3], (3, 8, 9)).astype(np.uint8)
    section = values[1] if dims == 2 else values
    for block_bytes in (1 << 20, 20):
        monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
        labels = labels_of(values, "zyx", dims=dims)
        found = labels.anchors(first=4)[1] if dims == 2 else labels.anchors(first=5)[0]
        assert found.places[:, 1:].tolist() == np.argwhere(section > 0).tolist()
        assert set(found.places[:, 0].tolist()) == {5}
        np.testing.assert_array_equal(found.labels, np.where(section[section > 0] == 7, 0, 1))


@pytest.mark.parametrize("chunks", [(1, 8, 8), (4, 8, 8)])
@pytest.mark.parametrize("dims", [2, 3])
def test_chunks_of_a_zarr_that_were_never_written_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, ...], dims: int
) -> None:
    values = np.zeros((4, 32, 32), np.uint8)
    values[2, 9, 3:6] = 7
    array = zarr.create_array(tmp_path / "strokes.zarr", shape=values.shape, chunks=chunks, dtype=values.dtype)
    array[:] = values
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    pixels = open_image(tmp_path / "strokes.zarr", axes="zyx", allow_missing=True)
    image = open_image(values, axes="zyx")
    regions = []
    read = Image.read

    def noted(self: Image, region: Mapping[str, slice] | None = None) -> NDArray[np.generic]:
        regions.append(region)
        return read(self, region)

    monkeypatch.setattr(Image, "read", noted)
    found = opened(pixels, image, classes=CLASSES, unlabelled=0, dims=dims).anchors()
    places = np.concatenate([one.places for one in found])
    assert places.tolist() == [[2, 9, x] if dims == 2 else [0, 2, 9, x] for x in (3, 4, 5)]
    assert len(regions) == 1
    regions.clear()
    with pytest.raises(InputError, match="which has no class name"):  # what was never written is 0, which is no class
        opened(pixels, image, classes=CLASSES, unlabelled=255, dims=dims).anchors()
    assert len(regions) == 1


@pytest.mark.parametrize(
    ("shape", "image", "axes"),
    [
        ((1, 4, 5), (4, 5), "yx"),
        ((4, 5, 1), (4, 5), "yx"),
        ((1, 1, 4, 5), (4, 5), "yx"),
        ((1, 3, 4, 5), (3, 4, 5), "zyx"),
        ((3, 1, 4, 5), (3, 4, 5), "zyx"),
        ((1, 4, 5), (3, 4, 5, 2), "zyxc"),
    ],
    ids=str,
)
def test_labels_may_have_axes_of_length_1(
    tmp_path: Path, shape: tuple[int, ...], image: tuple[int, ...], axes: str
) -> None:
    if axes == "zyxc":
        image = (1, *image[1:])
    values = np.random.default_rng(0).choice([0, 7, 3], shape).astype(np.uint8)
    np.save(tmp_path / "labels.npy", values)
    of = open_image(np.zeros(image), axes=axes)
    pixels = open_image(tmp_path / "labels.npy", usual_axes=axes.replace("c", ""))
    found = opened(pixels, of, classes=CLASSES, unlabelled=0, dims=2)
    indices = np.array([whole(found, number) for number in range(len(found.sections))])
    np.testing.assert_array_equal(indices.ravel(), np.select([values.ravel() == 7, values.ravel() == 3], [0, 1], -1))


def test_labels_of_a_part_of_an_image_are_told_how_to_say_which() -> None:
    with pytest.raises(InputError) as caught:
        labels_of(np.zeros((4, 5), np.uint8), "yx", np.zeros((14, 4, 5)), "zyx")
    assert str(caught.value).endswith(
        ": if it is a part of the image, say at which of its pixels it begins, as in labels: {file: strokes.tif, "
        "offset: {z: 0}} for the first"
    )
    with pytest.raises(InputError) as caught:
        labels_of(np.zeros((4, 6), np.uint8), "yx", np.zeros((14, 4, 5)), "zyx")
    assert "offset" not in str(caught.value)
