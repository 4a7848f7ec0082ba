"""Layers of napari as one image: channels, axes, scales, and what does not go together."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
from napari.layers import Image

from eseg_napari.chosen_image import axes_of, choose, split_channels
from eseg_napari.inputs import training_inputs
from eseg_napari.strokes import Strokes
from eseg_zoo.errors import InputError


def layer(shape: tuple[int, ...], name: str = "raw", **more: Any) -> Image:
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    return Image(values, name=name, **more)


def test_layers_are_channels_of_one_image() -> None:
    one, two = layer((3, 8, 9), "nuclei"), layer((3, 8, 9), "cells")
    chosen = choose([one, two], "zyx")
    assert (chosen.image.axes, chosen.axes, chosen.image.channels) == ("czyx", "zyx", ("nuclei", "cells"))
    part = {"z": slice(1, 3), "y": slice(2, 4), "x": slice(0, 9)}
    np.testing.assert_array_equal(chosen.image.read(part)[0, 1], two.data[1:3, 2:4])


def test_a_time_series_keeps_its_axes() -> None:
    chosen = choose([layer((2, 3, 8, 9))], "tzyx")
    assert chosen.image.sizes == {"t": 2, "c": 1, "z": 3, "y": 8, "x": 9}


def test_channels_within_a_layer_are_split_without_a_copy() -> None:
    whole = layer((3, 2, 8, 9))
    first, second = split_channels(whole, "zcyx")
    assert np.shares_memory(second, whole.data)
    np.testing.assert_array_equal(first, whole.data[:, 0])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {}),
        ({"scale": (0.5, 0.1, 0.1)}, {"z": 0.5, "y": 0.1, "x": 0.1}),
        ({"scale": (50, 4, 4), "units": ("nm", "nm", "nm")}, {"z": 0.05, "y": 0.004, "x": 0.004}),
    ],
)
def test_the_scale_is_the_voxel_size(more: Any, expected: Any) -> None:
    found = choose([layer((3, 8, 9), **more)], "zyx").image.voxel_size
    assert found == pytest.approx(expected)


def test_a_pyramid_is_its_finest_level() -> None:
    levels = [np.zeros((16, 16)), np.zeros((8, 8))]
    assert choose([Image(levels, multiscale=True)], "yx").shape == (16, 16)


def test_named_axes_are_offered_first() -> None:
    assert axes_of(Image(np.zeros((2, 3, 4, 4)), axis_labels=("t", "c", "y", "x")))[0] == "tcyx"
    assert axes_of(Image(np.zeros((2, 3, 4)))) == ("zyx", "tyx", "cyx", "yxc")


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([], "open one, and check its box"),
        ([Image(np.zeros((8, 9, 3)), rgb=True, name="photo")], "choose Split RGB"),
        ([layer((3, 8, 9)), layer((3, 8, 10), "other")], "other has 3 x 8 x 10 pixels, but raw 3 x 8 x 9.*uncheck"),
        ([layer((3, 8, 9)), layer((3, 8, 9), "other", scale=(1, 2, 2))], "lies elsewhere.*uncheck"),
        ([layer((2, 3, 8, 9))], "cannot be 'zyx'; choose its axes"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_image_says_what_to_do(layers: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        choose(layers, "zyx")


def test_of_a_large_image_only_the_surroundings_of_strokes_are_read() -> None:
    read: list[Any] = []

    def plane(block_info: Any = None) -> Any:
        read.append(block_info[None]["chunk-location"])
        return np.zeros((1, 1000, 1000), np.uint8)

    chunks = ((1,) * 1000, (1000,) * 10, (1000,) * 10)
    data = dask.array.map_blocks(plane, chunks=chunks, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8))
    assert data.nbytes == 100e9
    chosen = choose([Image(data, name="huge", contrast_limits=(0, 255))], "zyx")
    read.clear()  # napari has shown a slice
    strokes = Strokes(chosen.shape)
    strokes[3, 500, 500:520] = 1
    strokes[3, 600, 700:720] = 2
    strokes[900, 9990, 9990:] = 1
    inputs = training_inputs(chosen, strokes.snapshot(), dims=2)
    assert [image.shape for image in inputs.images] == [(1, 1024, 1024), (1, 272, 272)]
    assert not read
    values = [np.unique(labels.read()).tolist() for labels in inputs.labels]
    assert values == [[0, 1, 2], [0, 1]]
    inputs.images[1].read()
    assert set(read) == {(900, 9, 9)}


def test_a_small_image_is_given_whole() -> None:
    chosen = choose([layer((3, 8, 9))], "zyx")
    strokes = Strokes(chosen.shape)
    strokes[1, 1, 1] = 1
    assert training_inputs(chosen, strokes.snapshot(), dims=2).images == [chosen.image]
    parts = training_inputs(chosen, strokes.snapshot(), dims=3, largest=1)
    assert [image.shape for image in parts.images] == [(3, 8, 9)]
