"""Planes of a TIFF file that would not be read, and parts that are stated and absent, are read or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from eseg_zoo.errors import InputError
from eseg_zoo.images import open_image

from .conftest import STACK, refusal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "raw.tif"


def write_pages(path: Path, pages: list[Any], options: list[dict[str, Any]] | None = None) -> None:
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(pages):
            more = options[number] if options else {}
            writer.write(page, metadata=None, **{"photometric": "minisblack"} | more)


# ------------------------------------------------------------------------------------- planes that would not be read


def test_appended_pages_are_a_stack(path: Path) -> None:
    for plane in STACK:
        tifffile.imwrite(path, plane, append=True, photometric="minisblack")
    image = open_image(path, usual_axes="zyx")
    np.testing.assert_array_equal(image.read()[0, 0], STACK)
    np.testing.assert_array_equal(image.read({"z": slice(2, 3), "y": slice(1, 4)})[0, 0], STACK[2:3, 1:4])


def test_pages_of_unlike_compression_and_strips_are_a_stack_in_their_order(path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"compression": "zlib"},
        {"rowsperstrip": 2},
        {"tile": (16, 16), "compression": "lzw"},
    ]
    write_pages(path, list(STACK), ways)
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], STACK)


def test_a_page_of_another_type_is_not_lost(path: Path) -> None:
    write_pages(path, [p.astype("u2") if i == 2 else p for i, p in enumerate(STACK)])
    told = refusal(path, axes="zyx")
    assert "holds 2 images of shapes 0: 3 x 6 x 5 uint8, 1: 6 x 5 uint16; only the first would be read" in told


def test_a_page_of_another_shape_is_not_lost_and_each_image_can_be_named(path: Path) -> None:
    thumbnail = np.arange(6, dtype=np.uint8).reshape(2, 3)
    write_pages(path, [thumbnail, *STACK])
    assert "holds 2 images of shapes 0: 2 x 3 uint8, 1: 4 x 6 x 5 uint8" in refusal(path, axes="zyx")
    np.testing.assert_array_equal(open_image(f"{path}#1", axes="zyx").read()[0, 0], STACK)
    np.testing.assert_array_equal(open_image(f"{path}#0").read()[0, 0, 0], thumbnail)
    assert "has no image 2" in refusal(f"{path}#2")


def test_a_thumbnail_that_says_so_is_not_an_image(path: Path) -> None:
    write_pages(path, [STACK[0, ::2, ::2], *STACK], [{"subfiletype": 1}, {}, {}, {}, {}])
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], STACK)


def write_positions(path: Path, positions: list[Any], axes: str = "ZYX", **options: Any) -> None:
    with tifffile.TiffWriter(path, **{"ome": True} | options) as writer:
        for number, position in enumerate(positions):
            metadata = {"axes": axes, "PhysicalSizeX": 1.5 + number}
            writer.write(position, photometric="minisblack", metadata=metadata)


@pytest.mark.parametrize("options", [{"ome": True}, {"ome": False}], ids=["ome", "shaped"])
def test_equal_positions_are_time_points_where_the_axes_have_some(path: Path, options: dict[str, Any]) -> None:
    write_positions(path, [STACK, STACK + 1, STACK + 2], **options)
    for image in (open_image(path, axes="tzyx"), open_image(path, usual_axes="tzyx")):
        assert image.axes == "tzyx"
        np.testing.assert_array_equal(image.read({"t": slice(1, 3)})[:, 0], [STACK + 1, STACK + 2])


@pytest.mark.parametrize("asked", [{"axes": "zyx"}, {"usual_axes": "zyx"}, {}], ids=repr)
def test_equal_positions_are_not_lost_where_the_axes_have_no_time(path: Path, asked: dict[str, Any]) -> None:
    write_positions(path, [STACK, STACK + 1])
    told = refusal(path, **asked)
    assert f"{path} holds 2 images of shapes 0: 4 x 6 x 5 uint8, 1: 4 x 6 x 5 uint8; only the first" in told
    second = open_image(f"{path}#1", **asked)
    np.testing.assert_array_equal(second.read()[0, 0], STACK + 1)
    assert second.voxel_size == {"x": 2.5}
    assert second.where == "image 1"


def test_unequal_positions_are_refused_even_for_time(path: Path) -> None:
    write_positions(path, [STACK, STACK[:3]])
    assert "holds 2 images" in refusal(path, axes="tzyx")


def test_pages_that_imagej_does_not_count_are_refused_or_read_as_a_person_says(path: Path) -> None:
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"images=4", b"images=2").replace(b"slices=4", b"slices=2"))
    told = refusal(path)
    assert "holds 4 planes, but it describes an image of shape 2 x 6 x 5 (axes ZYX); 2 planes of shape 6 x 5" in told
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], STACK)
    np.testing.assert_array_equal(open_image(f"{path}#0").read()[0, 0], STACK[:2])


def test_planes_that_ome_does_not_count_are_refused(path: Path) -> None:
    tifffile.imwrite(path, STACK, ome=True, metadata={"axes": "ZYX"})
    path.write_bytes(
        path.read_bytes().replace(b'SizeZ="4"', b'SizeZ="3"').replace(b'PlaneCount="4"', b'PlaneCount="3"')
    )
    assert "1 plane of shape 6 x 5 would not be read" in refusal(path)


def test_an_imagej_file_of_one_page_for_many_planes_is_whole(path: Path) -> None:
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        first, second = tiff.pages[0].offset, tiff.pages[1].offset
        tags = len(tiff.pages.first.tags)
    content = bytearray(path.read_bytes())
    end = first + 2 + 12 * tags
    assert int.from_bytes(content[end : end + 4], "little") == second
    content[end : end + 4] = bytes(4)  # as ImageJ writes files of more than 4 GB
    path.write_bytes(content)
    np.testing.assert_array_equal(open_image(path).read()[0, 0], STACK)


# --------------------------------------------------------------------------------------- parts that are not there


def write_set(folder: Path, lacking: set[int]) -> Path:
    names = [f"set_Z{i}.ome.tif" for i in range(4)]
    data = "".join(
        f'<TiffData FirstZ="{i}" IFD="0" PlaneCount="1"><UUID FileName="{n}">urn:uuid:{i}</UUID></TiffData>'
        for i, n in enumerate(names)
    )
    for i, name in enumerate(names):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{i}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
            'SizeX="5" SizeY="6" SizeZ="4" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{data}</Pixels></Image></OME>"
        )
        if i not in lacking:
            tifffile.imwrite(folder / name, STACK[i], photometric="minisblack", metadata=None, description=xml)
    return folder / names[0]


def test_a_set_of_files_is_one_image(tmp_path: Path) -> None:
    path = write_set(tmp_path, set())
    np.testing.assert_array_equal(open_image(path).read()[0, 0], STACK)


def test_a_set_is_another_one_when_one_of_its_files_changes(tmp_path: Path) -> None:
    path = write_set(tmp_path, set())
    before = open_image(path).fingerprint
    assert open_image(path).fingerprint == before
    with (tmp_path / "set_Z2.ome.tif").open("ab") as file:
        file.write(b"more")
    assert open_image(path).fingerprint != before


def test_a_set_without_one_of_its_files_is_refused_unless_that_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_set(tmp_path, {2})
    told = refusal(path)
    assert f"{path} lacks 1 of its 4 planes" in told
    assert "set_Z2.ome.tif" in told
    assert "--missing-chunks" in told
    assert not caplog.records  # one line, not two
    found = open_image(path, allow_missing=True).read()[0, 0]
    assert not caplog.records
    np.testing.assert_array_equal(found[[0, 1, 3]], STACK[[0, 1, 3]])
    assert not found[2].any()


def test_planes_that_ome_counts_and_the_file_lacks_are_refused(path: Path) -> None:
    tifffile.imwrite(path, STACK[:3], ome=True, metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes().replace(b'SizeZ="3"', b'SizeZ="5"'))
    assert f"{path} lacks 2 of its 5 planes" in refusal(path)
    found = open_image(path, allow_missing=True).read()[0, 0]
    np.testing.assert_array_equal(found[:3], STACK[:3])
    assert found.shape[0] == 5
    assert not found[3:].any()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("offset", [0, 2**31], ids=["no place", "beyond the end"])
def test_tiles_that_are_not_there_are_counted_and_refused(path: Path, compression: str | None, offset: int) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (2, 32, 48), dtype=np.uint8)
    tifffile.imwrite(path, pixels, tile=(16, 16), compression=compression, photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[1].aspage().tags["TileOffsets"]
        place = tag.valueoffset + 4 * 2
    content = bytearray(path.read_bytes())
    content[place : place + 4] = offset.to_bytes(4, "little")
    path.write_bytes(content)
    told = refusal(path, axes="zyx")
    assert f"{path} is damaged: it lacks 1 of its 12 tiles, the first in plane 1" in told
    found = open_image(path, axes="zyx", allow_missing=True).read()[0, 0]
    expected = pixels.copy()
    expected[1, :16, 32:] = 0
    np.testing.assert_array_equal(found, expected)


def test_a_truncated_stack_of_strips_counts_what_is_lost(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (2, 32, 48), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        start = tiff.series[0].dataoffset
    assert start is not None
    path.write_bytes(path.read_bytes()[: start + 32 * 48 + 100])
    assert refusal(path).startswith(f"{path} is damaged: ")


def test_an_image_in_parts_of_a_file_that_has_changed_is_not_read(path: Path) -> None:
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX"}, photometric="minisblack", compression="zlib")
    image = open_image(path)
    tifffile.imwrite(path, np.zeros((4, 6, 7), np.uint8), metadata={"axes": "ZYX"}, photometric="minisblack")
    with pytest.raises(InputError, match="it has changed since it was opened"):
        image.read()
