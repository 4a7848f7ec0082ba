"""PNG files give the numbers that are stored: grey, colours, indices."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

from eseg_zoo.images import open_image

from .conftest import STACK, refusal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.png"


def test_a_grey_picture_is_a_plane(path: Path) -> None:
    Pillow.fromarray(STACK[0]).save(path)
    for image in (open_image(path), open_image(path, usual_axes="zyx"), open_image(path, axes="yx")):
        assert image.axes == "yx"
        np.testing.assert_array_equal(image.read({"y": slice(1, 4)})[0, 0, 0], STACK[0, 1:4])


def test_16_bits_are_kept(path: Path) -> None:
    grey = STACK[0].astype(np.uint16) * 257 - 3
    path.write_bytes(imagecodecs.png_encode(grey))
    np.testing.assert_array_equal(open_image(path).read()[0, 0, 0], grey)
    colours = (np.random.default_rng(0).random((6, 5, 3)) * 65535).astype(np.uint16)
    path.write_bytes(imagecodecs.png_encode(colours))
    image = open_image(path, axes="yxc")
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image.read()[0, :, 0], colours.transpose(2, 0, 1))


def test_an_indexed_picture_is_its_indices(path: Path) -> None:
    indices = (STACK[0] % 4).astype(np.uint8)
    picture = Pillow.fromarray(indices).convert("P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    picture.putdata(indices.ravel().tolist())
    picture.save(path, bits=2)
    image = open_image(path)
    assert image.axes == "yx"
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image.read()[0, 0, 0], indices)


def test_truth_values_are_0_and_1(path: Path) -> None:
    Pillow.fromarray(STACK[0] > 100).save(path)
    image = open_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image.read()[0, 0, 0], STACK[0] > 100)


@pytest.mark.parametrize("samples", [3, 4])
def test_colours_are_refused_where_the_axes_name_no_channels(path: Path, samples: int) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (6, 5, samples), dtype=np.uint8)
    Pillow.fromarray(colours).save(path)
    assert "several values at each pixel" in refusal(path)
    assert "several values at each pixel" in refusal(path, axes="zyx")
    np.testing.assert_array_equal(open_image(path, axes="yxc").read()[0, :, 0], colours.transpose(2, 0, 1))


@pytest.mark.parametrize("length", [8, 20, 40, -200])
def test_a_truncated_file_is_refused(path: Path, length: int) -> None:
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (60, 50), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:length])
    assert refusal(path).startswith(f"{path} ")


def test_an_animation_is_refused(path: Path) -> None:
    frames = [Pillow.fromarray(plane) for plane in STACK]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert "is an animation of 4 frames; only the first would be read" in refusal(path)


def test_a_picture_of_many_pixels_is_not_taken_for_an_attack(path: Path) -> None:
    width, height = 20_000, 20_000

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
    assert open_image(path).shape == (height, width)
