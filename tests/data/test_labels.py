"""Label images become class indices, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from numpy.typing import NDArray

from eseg_zoo.data.labels import label_sections, read_labels
from eseg_zoo.errors import InputError

CLASSES = {7: "membrane", 3: "cytoplasm", 200: "mitochondrion"}


def image(*shape: int) -> xr.DataArray:
    return xr.DataArray(np.zeros(shape, np.uint8), dims=("t", "c", "z", "y", "x"))


def write(folder: Path, array: NDArray[np.generic]) -> Path:
    tifffile.imwrite(folder / "strokes.tif", array, photometric="minisblack")
    return folder / "strokes.tif"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32])
def test_values_become_indices_in_the_order_of_the_classes(tmp_path: Path, dtype: type) -> None:
    path = write(tmp_path, np.array([[0, 7, 3], [100, 0, 7]], np.float64).astype(dtype))
    found = read_labels(path, image(1, 1, 1, 2, 3), "yx", classes={7: "a", 3: "b", 100: "c"}, unlabelled=0)
    assert found.dims == ("t", "z", "y", "x")
    assert found.values.tolist() == [[[[-1, 0, 1], [2, -1, 0]]]]
    assert found.dtype == np.int16


def test_another_value_may_mean_not_labelled_and_zero_a_class(tmp_path: Path) -> None:
    path = write(tmp_path, np.array([[255, 0, 1]], np.uint8))
    found = read_labels(path, image(1, 1, 1, 1, 3), "yx", classes={0: "a", 1: "b"}, unlabelled=255)
    assert found.values.ravel().tolist() == [-1, 0, 1]


def test_labels_have_the_axes_of_the_image_without_its_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).choice([0, 7, 3, 200], (4, 5, 2)).astype(np.uint8)
    found = read_labels(write(tmp_path, values), image(1, 3, 4, 2, 5), "zxcy", classes=CLASSES, unlabelled=0)
    indices = {0: -1, 7: 0, 3: 1, 200: 2}
    for z, x, y in np.ndindex(values.shape):
        assert found.values[0, z, y, x] == indices[int(values[z, x, y])]


def test_another_shape_than_the_images_is_refused_with_both(tmp_path: Path) -> None:
    path = write(tmp_path, np.zeros((4, 6, 5), np.uint8))
    with pytest.raises(InputError) as caught:
        read_labels(path, image(1, 2, 4, 5, 6), "zcyx", classes=CLASSES, unlabelled=0)
    assert str(caught.value) == f"{path} has t=1 x z=4 x y=6 x x=5, but its image has t=1 x z=4 x y=5 x x=6"


def test_a_label_image_with_another_number_of_axes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, np.zeros((6, 5), np.uint8))
    with pytest.raises(InputError, match=r"has shape \(6, 5\), 2 axes, but axes 'zyx' names 3"):
        read_labels(path, image(1, 1, 4, 6, 5), "zyx", classes=CLASSES, unlabelled=0)


def test_labels_in_colours_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "strokes.tif", np.zeros((6, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"strokes\.tif has several values at each pixel"):
        read_labels(tmp_path / "strokes.tif", image(1, 1, 6, 5, 3), "zyx", classes=CLASSES, unlabelled=0)


@pytest.mark.parametrize(("value", "text"), [(5.0, "5"), (2.5, "2.5"), (-1.0, "-1"), (np.nan, "nan")])
def test_a_value_without_a_class_name_is_refused_with_its_count(tmp_path: Path, value: float, text: str) -> None:
    path = write(tmp_path, np.array([[0, 7, 3], [200, value, 7]], np.float32))
    with pytest.raises(InputError) as caught:
        read_labels(path, image(1, 1, 1, 2, 3), "yx", classes=CLASSES, unlabelled=0)
    assert str(caught.value) == (
        f"{path} has the label value {text} at 1 pixels, which has no class name "
        "(classes are 7: membrane, 3: cytoplasm, 200: mitochondrion; 0 means not labelled)"
    )


def test_label_sections_are_planes_or_volumes() -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    labels = xr.DataArray(values, dims=("t", "z", "y", "x"))
    planes, volumes = label_sections(labels, 2), label_sections(labels, 3)
    assert [plane[0, 0] for plane in planes] == [0, 20, 40, 60, 80, 100]
    assert [volume.shape for volume in volumes] == [(3, 4, 5)] * 2
