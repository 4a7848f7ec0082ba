"""Layers: parts of an image, several files for one, what they disagree on, and images far beyond the memory."""

from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import Image
from eseg_zoo.images.opening import open_image
from eseg_zoo.label_files import LabelFile
from eseg_zoo.labels.layers import PaintedLayer
from eseg_zoo.labels.opening import GivenLabels, LabelReading, given_labels, open_labels
from eseg_zoo.labels.painted import Block, LabelClass, Painted
from labels.ilastik_project import PaintedImage, write_project
from labels.phantom import NAMES, SHAPE, Open, read_of, values_of


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_later_file_paints_over_an_earlier_one(
    tmp_path: Path, strokes: NDArray[Any], open_all: Open, caplog: pytest.LogCaptureFixture, dims: int
) -> None:
    later = np.zeros_like(strokes)
    later[0, 3, 10:30] = 3  # over ten pixels of membrane
    later[1, 0, 0] = 2  # the same as before
    project = write_project(tmp_path / "p.ilp", [PaintedImage(later, "zyx", "raw.tif")], names=list(NAMES.values()))
    np.save(tmp_path / "strokes.npy", strokes)
    (found,) = open_all([tmp_path / "strokes.npy", project], dims=dims)
    expected = np.where(later, later, strokes)
    for values in (values_of(found), read_of(found)):
        np.testing.assert_array_equal(values.reshape(SHAPE), expected)
    assert warnings_in(caplog) == [
        f"{tmp_path}/strokes.npy and {project} give 10 pixels of raw.tif several classes, the first at z=0, y=3, x=10; "
        "what is painted last counts"
    ]
    (reverse,) = open_all([project, tmp_path / "strokes.npy"], dims=dims)
    np.testing.assert_array_equal(values_of(reverse).reshape(SHAPE), np.where(strokes, strokes, later))


def test_files_that_agree_are_not_told(strokes: NDArray[Any], open_all: Open, caplog: pytest.LogCaptureFixture) -> None:
    (found,) = open_all([strokes, strokes])
    np.testing.assert_array_equal(values_of(found), strokes)
    assert warnings_in(caplog) == []


def test_each_image_has_files_of_its_own(strokes: NDArray[Any], open_all: Open) -> None:
    other = strokes[::-1].copy()
    first, second = open_all([[strokes, other], other], names=("a.tif", "b.tif"))
    np.testing.assert_array_equal(values_of(first), np.where(other, other, strokes))
    np.testing.assert_array_equal(values_of(second), other)


def test_a_label_image_of_a_part_has_an_offset(strokes: NDArray[Any], open_all: Open) -> None:
    for part, offset in (
        (strokes[1], {"z": 1}),
        (strokes[1:2, 5:, 20:], {"z": 1, "y": 5, "x": 20}),
        (strokes[:2, :20], {"z": 0}),
    ):
        (found,) = open_all({"file": part, "offset": offset})
        expected = np.zeros_like(strokes)
        box = [slice(offset.get(axis, 0), None) for axis in "zyx"]
        expected[tuple(box)][tuple(map(slice, part.shape[-3:] if part.ndim == 3 else (1, *part.shape)))] = part
        for values in (values_of(found), read_of(found)):
            np.testing.assert_array_equal(values, expected)


def test_labels_beyond_the_image_are_counted_and_refused_where_all_are(
    strokes: NDArray[Any], open_all: Open, caplog: pytest.LogCaptureFixture
) -> None:
    (found,) = open_all({"file": strokes, "offset": {"y": 10}})
    expected = np.zeros_like(strokes)
    expected[:, 10:] = strokes[:, :30]
    np.testing.assert_array_equal(values_of(found), expected)
    outside = int((strokes[:, 30:] > 0).sum())
    assert outside > 0
    assert warnings_in(caplog) == [
        f"labels[0]: {outside} labelled pixel{'s' * (outside > 1)} outside of raw.tif (z=3 x y=40 x x=52) do not count"
    ]
    with pytest.raises(
        InputError, match=r"labels\[0\] has no label within raw\.tif \(z=3 x y=40 x x=52\): 18 labelled"
    ):
        open_all({"file": strokes[0, 3:4, :20].clip(0, 1), "offset": {"z": 2, "y": 39, "x": 51}})
    with pytest.raises(
        InputError, match=r"labels\[0\] has the offset z: 3, but raw\.tif has 3 pixels along z, counted"
    ):
        open_all({"file": strokes[0], "offset": {"z": 3}})


def painted(*blocks: Block) -> Painted:
    return Painted("p", (LabelClass("a", 1), LabelClass("b", 2)), blocks)


def test_painted_pixels_outside_do_not_count_and_a_later_block_paints_over() -> None:
    ones, two = np.ones((1, 1, 2, 4), np.uint16), np.full((1, 1, 1, 1), 2, np.uint16)
    content = painted(Block((0, 2, 38, 50), ones), Block((0, 2, 39, 51), two), Block((0, 0, 0, 0), two))
    layer = PaintedLayer.of(content, {1: 0, 2: 1}, (1, *SHAPE), (0, 0, 0, 0))
    assert layer.count_outside() == (4, True)
    assert layer.overlaps == (1, (0, 2, 39, 51))
    whole = layer.read((slice(0, 1), slice(0, 3), slice(0, 40), slice(0, 52)))
    assert np.argwhere(whole == 0).tolist() == [[0, 2, 38, 50], [0, 2, 38, 51], [0, 2, 39, 50]]
    assert np.argwhere(whole == 1).tolist() == [[0, 0, 0, 0], [0, 2, 39, 51]]
    part = layer.read((slice(0, 1), slice(2, 3), slice(37, 40), slice(51, 52)))
    np.testing.assert_array_equal(part, whole[:, 2:3, 37:40, 51:52])
    with pytest.raises(InputError, match="p has painted pixels of value 2, for which it names no class"):
        PaintedLayer.of(content, {1: 0}, (1, *SHAPE), (0, 0, 0, 0))


def test_a_class_may_be_said_for_all_labels_of_a_file(strokes: NDArray[Any], open_all: Open) -> None:
    mask = (strokes == 1).astype(np.uint8) * 255
    (found,) = open_all([{"file": mask, "class": "cytoplasm"}, {"file": strokes == 3, "class": "mitochondrion"}])
    np.testing.assert_array_equal(values_of(found), np.select([strokes == 1, strokes == 3], [2, 3], 0))


@pytest.fixture
def huge(tmp_path: Path) -> Image:
    """A volume of 2 TB of which no chunk was ever written."""
    zarr.create_array(tmp_path / "raw.zarr", shape=(2000, 32_000, 32_000), chunks=(64, 256, 256), dtype=np.uint8)
    return open_image(tmp_path / "raw.zarr", axes="zyx", allow_missing=True)


def test_a_few_strokes_on_a_huge_volume_take_little_memory(
    tmp_path: Path, huge: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, (2000, 32_000, 31_000), (10, 3))
    labels = tmp_path / "p.csv"
    rows = [f"{z},{y},{x + n},{name}" for z, y, x in places for n in range(300) for name in ["ab"[z % 2]]]
    labels.write_text("\n".join(["z,y,x,class", *rows]), encoding="utf-8")

    def never(*arguments: object) -> None:
        raise AssertionError("the image is not read for its labels")

    monkeypatch.setattr(Image, "read", never)
    tracemalloc.start()
    (found,) = open_labels([huge], given_labels(labels, 1), LabelReading({}, 0, 3))
    (anchors,) = found.anchors()
    window = found.read(0, tuple(slice(int(n), int(n) + 64) for n in np.minimum(places[0], 31_900)))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(anchors) == 3000
    assert window[0, 0].tolist() == [places[0, 0] % 2 if found.classes[0].name == "a" else 1 - places[0, 0] % 2] * 64
    assert most < 16 << 20


def test_a_sparse_label_image_of_a_huge_volume_is_not_read_where_nothing_was_written(
    tmp_path: Path, huge: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = zarr.create_array(
        tmp_path / "strokes.zarr", shape=huge.shape, chunks=(2000, 16_000, 16_000), dtype=np.uint8, fill_value=0
    )
    assert array.nchunks_initialized == 0

    def never(*arguments: object) -> None:
        raise AssertionError("nothing was written")

    monkeypatch.setattr(Image, "read", never)
    given = [[GivenLabels(tmp_path / "strokes.zarr", LabelFile(file=tmp_path / "strokes.zarr"), "strokes.zarr")]]
    (found,) = open_labels([huge], given, LabelReading({1: "a", 2: "b"}, 0, 3, allow_missing=True))
    assert [len(anchors) for anchors in found.anchors()] == [0]
