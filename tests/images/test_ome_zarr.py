"""OME-Zarr of every version and plain Zarr are read at the level that is meant, with the axes that they state."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_multiscales_metadata

from eseg_zoo.images import Spacing, open_image

from .conftest import refusal

PIXELS = np.random.default_rng(0).integers(1, 255, (4, 20, 30)).astype(np.uint16)
TRAINED = {"z": 0.04, "y": 0.016, "x": 0.016}


def write_ome_zarr(
    path: Path, *, axes: str = "zyx", levels: int = 3, unit: str | None = "nanometer", fmt: Any = None,
    size: float = 8, pixels: Any = PIXELS,
) -> Path:  # fmt: skip
    fmt = fmt or FormatV04()
    group = zarr.open_group(str(path), mode="w", zarr_format=fmt.zarr_format)
    datasets = []
    pixels = pixels.reshape((1,) * (len(axes) - 3) + pixels.shape)
    for level in range(levels):
        step = 2**level
        data = pixels[..., ::step, ::step]
        array = group.create_array(
            str(level), shape=data.shape, chunks=(1,) * (len(axes) - 2) + (8, 8), dtype=data.dtype,
            chunk_key_encoding={"name": "v2" if fmt.zarr_format == 2 else "default", "separator": "/"},
        )  # fmt: skip
        array[...] = data
        scale = [1.0] * (len(axes) - 3) + [40.0, size * step, size * step]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    stated = [
        {"name": a, "type": {"t": "time", "c": "channel"}.get(a, "space")}
        | ({"unit": unit} if unit and a in "zyx" else {})
        for a in axes
    ]
    write_multiscales_metadata(group, datasets, fmt=fmt, axes=stated)
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    group = zarr.open_group(str(path), mode="r+")
    attributes = group.attrs.asdict()
    change(attributes)
    group.attrs.put(attributes)


def first(attributes: dict[str, Any]) -> Any:
    return attributes.get("ome", attributes)["multiscales"][0]


@pytest.mark.parametrize("fmt", [FormatV04(), FormatV05()], ids=str)
def test_the_level_with_the_pixels_of_training_is_read(tmp_path: Path, fmt: Any) -> None:
    image = open_image(write_ome_zarr(tmp_path / "v.ome.zarr", fmt=fmt), voxel_size=TRAINED)
    assert (image.where, image.shape, image.axes) == ("1", (4, 10, 15), "zyx")
    assert image.spacing[2] == Spacing(16.0, 0.0, "nanometer")
    assert image.voxel_size == pytest.approx(TRAINED)
    np.testing.assert_array_equal(image.read({"z": slice(1, 3), "x": slice(4, 9)})[0, 0], PIXELS[1:3, ::2, 8:18:2])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).read()[0, 0], PIXELS[:, ::2, ::2])


def test_a_given_level_is_read_and_the_finest_without_any_wish(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr")
    assert open_image(path, level=2, voxel_size=TRAINED).where == "2"
    assert open_image(path).where == "0"
    assert open_image(path / "1").where == "1"
    assert open_image(path / "1").voxel_size == pytest.approx(TRAINED)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"unit": None}, ["0: 4 x 20 x 30 pixels", "2: 4 x 5 x 8 pixels", "--level", "not known"]),
        ({"size": 0}, ["0: 4 x 20 x 30 pixels of 0.04 µm", "--level", "not known"]),
        ({"size": -8}, ["0: 4 x 20 x 30 pixels of 0.04 µm", "--level", "not known"]),
        ({"size": 100}, ["of 0.04 x 0.1 x 0.1 µm", "--level", "none is near the 0.016 x 0.016 µm"]),
    ],
)
def test_when_the_pixel_sizes_do_not_tell_the_level_is_asked_for(
    tmp_path: Path, stated: dict[str, Any], words: list[str]
) -> None:
    told = refusal(write_ome_zarr(tmp_path / "v.ome.zarr", **stated), voxel_size=TRAINED)
    assert all(word in told for word in words), told


def test_a_level_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "level is 3; " in refusal(write_ome_zarr(tmp_path / "v.ome.zarr"), level=3)
    edit(tmp_path / "v.ome.zarr", lambda a: first(a)["datasets"][1].update(path="7"))
    assert "states the resolution level 7, but it is not there" in refusal(tmp_path / "v.ome.zarr")


@pytest.mark.parametrize("axes", ["zyx", "czyx", "tczyx", "tzyx"])
def test_the_stated_axes_are_believed(tmp_path: Path, axes: str) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", axes=axes, levels=1)
    assert open_image(path, usual_axes="zyx").axes == axes
    assert open_image(path, axes="zyx").axes == axes  # the others have length 1
    assert "says that its axes are" in refusal(path, axes=axes[:-3] + "xyz")


@pytest.mark.parametrize("version", ["0.1", "0.3"])
def test_old_versions_state_axes_by_rule_or_by_name_alone(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", axes="tczyx", levels=1)

    def age(attributes: dict[str, Any]) -> None:
        image = first(attributes)
        image.update(version=version, axes=list("tczyx"))
        if version == "0.1":
            del image["axes"]
        del image["datasets"][0]["coordinateTransformations"]

    edit(path, age)
    image = open_image(path)
    assert (image.axes, image.voxel_size) == ("tczyx", {})
    np.testing.assert_array_equal(image.read()[0, 0], PIXELS)


def test_axes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr")
    edit(path, lambda a: first(a)["axes"][0].update(name="wavelength"))
    assert "has the axes 'wavelength, y, x'; each must be one of t, c, z, y, x" in refusal(path)
    edit(path, lambda a: first(a)["axes"].pop(0))
    assert "has shape (4, 20, 30), but the stated axes are yx" in refusal(path)


def test_axes_that_cannot_be_understood_are_asked_for(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr")
    edit(path, lambda a: first(a)["axes"][0].pop("name"))
    assert "does not say what its 3 axes are" in refusal(path)
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], PIXELS)


def test_a_scale_that_is_unreadable_leaves_the_size_open(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", levels=1)
    edit(path, lambda a: first(a)["datasets"][0].update(coordinateTransformations=[{"type": "scale", "scale": ["a"]}]))
    image = open_image(path)
    assert image.voxel_size == {}
    np.testing.assert_array_equal(image.read()[0, 0], PIXELS)


def test_channels_have_their_names(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", axes="czyx", levels=1)
    edit(path, lambda a: a.update(omero={"channels": [{"label": "DAPI"}]}))
    assert open_image(path).channels == ("DAPI",)


def test_a_group_that_is_not_an_image_names_what_it_holds(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="w")
    group.create_array("raw", data=PIXELS)
    assert "describes no OME-NGFF image; it holds raw" in refusal(tmp_path / "v.zarr")
    assert open_image(tmp_path / "v.zarr" / "raw", axes="zyx").shape == PIXELS.shape


def test_images_that_are_nested_are_found(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "v.zarr"), mode="w", zarr_format=2)
    write_ome_zarr(tmp_path / "v.zarr" / "0", levels=1)
    np.testing.assert_array_equal(open_image(tmp_path / "v.zarr").read()[0, 0], PIXELS)
    write_ome_zarr(tmp_path / "v.zarr" / "1", levels=1)
    assert "holds the images 0, 1; name one" in refusal(tmp_path / "v.zarr")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4"])
def test_a_plain_array_has_the_axes_of_a_person_or_of_training(tmp_path: Path, zarr_format: Any, dtype: str) -> None:
    data = PIXELS.astype(dtype)
    zarr.create_array(str(tmp_path / "v.zarr"), data=data, chunks=(2, 8, 8), zarr_format=zarr_format)
    image = open_image(tmp_path / "v.zarr", usual_axes="zyx")
    assert image.chunks == (2, 8, 8)
    assert image.dtype.isnative
    np.testing.assert_array_equal(image.read({"y": slice(3, 9)})[0, 0], PIXELS[:, 3:9])
    assert "does not say what its 3 axes are" in refusal(tmp_path / "v.zarr")


def test_the_names_of_dimensions_are_axes(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "v.zarr"), data=PIXELS, dimension_names=["y", "x", "z"])
    assert open_image(tmp_path / "v.zarr", usual_axes="zyx").axes == "yxz"


def test_a_codec_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    zarr.create_array(str(path), data=PIXELS, zarr_format=2)
    meta = json.loads((path / ".zarray").read_text())
    meta["compressor"] = {"id": "no_such_codec"}
    (path / ".zarray").write_text(json.dumps(meta))
    assert "uses a codec that is not installed" in refusal(path, axes="zyx")
    assert "no_such_codec" in refusal(path, axes="zyx")


def test_a_codec_of_a_level_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.zarr", levels=1)
    meta = json.loads((path / "0" / ".zarray").read_text())
    meta["compressor"] = {"id": "no_such_codec"}
    (path / "0" / ".zarray").write_text(json.dumps(meta))
    assert "no_such_codec" in refusal(path)


def test_a_codec_of_format_3_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    zarr.create_array(str(path), data=PIXELS)
    meta = json.loads((path / "zarr.json").read_text())
    meta["codecs"][-1] = {"name": "no_such_codec", "configuration": {}}
    (path / "zarr.json").write_text(json.dumps(meta))
    assert "no_such_codec" in refusal(path, axes="zyx")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"zarr_format": 7}'])
@pytest.mark.parametrize("name", [".zarray", ".zattrs", "zarr.json"])
def test_broken_metadata_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "v.zarr").mkdir()
    (tmp_path / "v.zarr" / name).write_text(text)
    assert refusal(tmp_path / "v.zarr", axes="zyx").startswith(f"{tmp_path / 'v.zarr'} ")


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", levels=1)
    (path / "0" / "1" / "2" / "3").write_bytes(b"no chunk")
    image = open_image(path)
    np.testing.assert_array_equal(image.read({"z": slice(0, 1)})[0, 0], PIXELS[:1])
    with pytest.raises(Exception, match=r"v\.ome\.zarr cannot be read at z 1-1, y 16-19: "):
        image.read({"z": slice(1, 2), "y": slice(16, 20)})


def test_a_changed_chunk_is_another_input(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", levels=1)
    one, same = open_image(path), open_image(path)
    assert (one.source, one.fingerprint) == (same.source, same.fingerprint)
    array = zarr.open_array(str(path), path="0", mode="r+")
    array[0, :8, :8] = 7
    other = open_image(path)
    assert other.source != one.source
    assert other.fingerprint != one.fingerprint
