"""Arrays in memory are images without a copy; xarray says its axes."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from eseg_zoo.images import open_image

from .conftest import STACK, refusal


def test_an_array_is_not_copied() -> None:
    image = open_image(STACK, axes="zyx", name="images[0]")
    assert image.name == "images[0]"
    assert np.shares_memory(image.read(), STACK)
    assert np.shares_memory(image.read({"z": slice(1, 2)}), STACK)


def test_an_array_is_equal_to_itself_alone_and_its_fingerprint_is_its_pixels() -> None:
    one, same, copy = (open_image(array, axes="zyx") for array in (STACK, STACK, STACK.copy()))
    assert one.fingerprint == same.fingerprint == copy.fingerprint
    assert one.source != copy.source
    assert open_image(STACK + 1, axes="zyx").fingerprint != one.fingerprint
    assert open_image(np.asfortranarray(STACK), axes="zyx").fingerprint == one.fingerprint
    assert pickle.loads(pickle.dumps(one)).fingerprint == one.fingerprint
    assert open_image(STACK, axes="tyx").fingerprint != one.fingerprint


def test_a_dask_array_is_computed_by_the_region() -> None:
    computed = []

    def block(block_info: Any = None) -> np.ndarray:
        place = block_info[None]["array-location"]
        computed.append(place)
        return STACK[tuple(slice(*part) for part in place)]

    array = da.map_blocks(block, chunks=((1,) * 4, (6,), (5,)), dtype=np.uint8)
    computed.clear()
    image = open_image(array, axes="zyx")
    assert image.chunks == (1, 6, 5)
    assert not computed
    np.testing.assert_array_equal(image.read({"z": slice(2, 3)})[0, 0], STACK[2:3])
    assert len(computed) == 1
    assert image.fingerprint == open_image(array, axes="zyx").fingerprint


@pytest.mark.parametrize("dims", [("y", "x", "z"), ("Y", "X", "Z"), ("y", "x", "plane")])
def test_the_dimensions_of_an_xarray_are_its_axes(dims: tuple[str, ...]) -> None:
    image = open_image(xr.DataArray(STACK, dims=dims), usual_axes="zyx")
    assert image.axes == "yxz"
    np.testing.assert_array_equal(image.read()[0, 0], STACK.transpose(2, 0, 1))
    assert "says that its axes are YXZ" in refusal(xr.DataArray(STACK, dims=dims), axes="zyx")


def test_dimensions_without_names_state_nothing() -> None:
    assert open_image(xr.DataArray(STACK), usual_axes="zyx").axes == "zyx"
    assert "does not say what its 3 axes are" in refusal(xr.DataArray(STACK))


def test_an_xarray_gives_its_voxel_size_and_channels() -> None:
    array = xr.DataArray(STACK[:2], dims=("c", "y", "x"), coords={"c": ["DAPI", "GFP"]})
    assert open_image(array).channels == ("DAPI", "GFP")
    assert open_image(array.assign_attrs(voxel_size={"y": 0.5, "x": "?"})).voxel_size == {"y": 0.5}
    coordinates = xr.DataArray(np.arange(6) * 4.0 + 8, dims="y", attrs={"units": "nm"})
    assert open_image(array.assign_coords(y=coordinates)).voxel_size == pytest.approx({"y": 0.004})
    uneven = xr.DataArray(np.arange(6.0) ** 2, dims="y", attrs={"units": "nm"})
    assert open_image(array.assign_coords(y=uneven)).voxel_size == {}


def test_an_image_is_opened_again_with_other_axes() -> None:
    image = open_image(STACK, axes="zyx")
    assert open_image(image) is image
    assert open_image(image, usual_axes="tyx").axes == "zyx"
    assert open_image(image, axes="tyx").axes == "tyx"


@pytest.mark.parametrize("dtype", ["?", "f2", ">u2"])
def test_pixels_are_converted_as_those_of_files(dtype: str) -> None:
    array = STACK.astype(dtype)
    image = open_image(array, axes="zyx")
    found = image.read()
    assert found.dtype == image.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found[0, 0], array)


@pytest.mark.parametrize("source", [None, 5, [[1, 2]], {"a": 1}], ids=repr)
def test_what_is_no_image_is_refused(source: object) -> None:
    assert "an image is a path or an array" in refusal(source, axes="yx")


@pytest.mark.parametrize("dtype", ["c8", "O", "U2"])
def test_arrays_of_other_than_numbers_are_refused(dtype: str) -> None:
    assert "it must hold integers or floating-point numbers" in refusal(np.zeros((3, 3), dtype), axes="yx")
