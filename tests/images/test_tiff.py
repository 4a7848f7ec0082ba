"""A TIFF file gives its pixels, axes and pixel size, whoever wrote it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from eseg_zoo.errors import InputError
from eseg_zoo.images import open_image

from .conftest import STACK, refusal


def write(path: Path, array: NDArray[np.generic] = STACK, **options: Any) -> Path:
    tifffile.imwrite(path, array, **{"photometric": "minisblack"} | options)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "raw.tif"


STORAGES: dict[str, dict[str, Any]] = {
    "in one piece": {},
    "compressed": {"compression": "zlib"},
    "compressed with predictor": {"compression": "zlib", "predictor": True},
    "strips": {"rowsperstrip": 2},
    "compressed strips": {"rowsperstrip": 2, "compression": "lzw"},
    "tiles": {"tile": (16, 16), "compression": "zlib"},
    "big": {"bigtiff": True},
    "other byte order": {"byteorder": ">"},
    "other byte order, compressed": {"byteorder": ">", "compression": "zlib"},
}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float16])
def test_a_region_is_read_however_it_is_stored(path: Path, storage: str, dtype: type[np.generic]) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (3, 40, 50)).astype(dtype)
    image = open_image(write(path, pixels, **STORAGES[storage]), axes="zyx")
    region = image.read({"z": slice(1, 3), "y": slice(7, 29), "x": slice(11, 44)})
    assert region.shape == (1, 1, 2, 22, 33)
    assert region.dtype.isnative
    assert region.dtype == image.dtype == (np.float32 if dtype == np.float16 else dtype)
    np.testing.assert_array_equal(region[0, 0], pixels[1:3, 7:29, 11:44])


@pytest.mark.parametrize(
    ("options", "chunks"),
    [
        ({}, (1, 1, 50)),
        ({"compression": "zlib", "rowsperstrip": 40}, (1, 40, 50)),
        ({"compression": "zlib", "rowsperstrip": 16}, (1, 16, 50)),
        ({"compression": "zlib", "tile": (16, 32)}, (1, 16, 32)),
    ],
)
def test_chunks_are_what_is_decoded_at_once(path: Path, options: dict[str, Any], chunks: tuple[int, ...]) -> None:
    pixels = np.zeros((3, 40, 50), np.uint8)
    assert open_image(write(path, pixels, **options), axes="zyx").chunks == chunks


def test_an_image_travels_and_opens_by_itself(path: Path) -> None:
    image = open_image(write(path, compression="zlib"), axes="zyx")
    sent = pickle.dumps(image)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).read()[0, 0], STACK)


@pytest.mark.parametrize("said", ["ZYX", "TYX", "CYX", "TZYX", "TCYX", "ZCYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
def test_the_axes_that_a_file_states_are_believed(path: Path, said: str, kind: str) -> None:
    options = {} if kind == "shaped" else {kind: True}
    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, 6, 5)[-len(said) :], dtype=np.uint8)
    write(path, pixels, **options, metadata={"axes": said})
    image = open_image(path, usual_axes="zyx")
    assert image.axes == image.stated_axes == said.lower()
    order = [said.lower().index(a) for a in "tczyx" if a in said.lower()]
    np.testing.assert_array_equal(image.read().squeeze(), pixels.transpose(order))


@pytest.mark.parametrize("options", [{}, {"metadata": None}], ids=["numbered", "bare"])
def test_a_file_that_states_nothing_has_the_axes_of_training(path: Path, options: dict[str, Any]) -> None:
    write(path, **options)
    assert open_image(path, usual_axes="zyx").axes == "zyx"
    assert open_image(path, usual_axes="cyx").axes == "cyx"
    assert open_image(path, axes="xyz").sizes["z"] == 5
    assert "does not say what its 3 axes are" in refusal(path)


def test_a_movie_is_not_a_stack_unless_a_person_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, imagej=True, metadata={"axes": "TYX"})
    assert open_image(path, usual_axes="zyx").sizes["t"] == 4
    assert not caplog.records
    assert open_image(path, axes="zyx").sizes["z"] == 4
    assert "says that it has time points (axes tyx); it is read as zyx" in caplog.text


def test_axes_that_contradict_the_file_are_refused_with_both(path: Path) -> None:
    told = refusal(write(path, imagej=True, metadata={"axes": "ZYX"}), axes="xyz")
    assert told == f"axes is xyz, but {path} says that its axes are ZYX; leave axes out, or correct them"


RGB: dict[str, dict[str, Any]] = {
    "in every pixel": {},
    "without metadata": {"metadata": None},
    "imagej": {"imagej": True},
    "ome": {"ome": True},
}


@pytest.mark.parametrize("kind", RGB)
@pytest.mark.parametrize("axes", ["zyx", "tyx"])
def test_colours_are_refused_where_the_axes_name_no_channels(path: Path, kind: str, axes: str) -> None:
    write(path, np.zeros((30, 30, 3), np.uint8), photometric="rgb", **RGB[kind])
    told = f"{path} has several values at each pixel, as colour images do (axes YXS, S)"
    assert refusal(path, axes=axes).startswith(told)
    assert refusal(path, usual_axes=axes).startswith(told)
    assert refusal(path).startswith(told)


@pytest.mark.parametrize("kind", RGB)
def test_colours_are_read_as_channels_where_the_axes_say_so(path: Path, kind: str) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    write(path, colours, photometric="rgb", **RGB[kind])
    for image in (open_image(path, axes="yxc"), open_image(path, usual_axes="yxc")):
        np.testing.assert_array_equal(image.read()[0, :, 0], colours.transpose(2, 0, 1))
    assert "several values at each pixel" in refusal(path, axes="cyx")


def test_colours_in_planes_may_be_channels_or_slices(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    planes = np.random.default_rng(0).integers(0, 255, (3, 30, 20), dtype=np.uint8)
    write(path, planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(open_image(path, axes="cyx").read()[0, :, 0], planes)
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], planes)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_stated_channels_that_a_person_takes_for_slices_are_told(
    path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    stated: dict[str, Any] = {kind: True}
    write(path, **stated, metadata={"axes": "CYX"})
    assert open_image(path, axes="zyx").sizes["z"] == 4
    assert [r.getMessage() for r in caplog.records] == [
        f"{path} says that it has channels (axes cyx); it is read as zyx"
    ]


def test_truth_values_are_read_as_0_and_1(path: Path) -> None:
    image = open_image(write(path, STACK > 100), axes="zyx")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image.read()[0, 0], (STACK > 100).astype(np.uint8))


def test_complex_values_are_refused(path: Path) -> None:
    assert "holds complex values" in refusal(write(path, STACK.astype(np.complex64)), axes="zyx")


# ------------------------------------------------------------------------------------------------- levels, names


def write_pyramid(path: Path, **options: Any) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 96), dtype=np.uint8)
    with tifffile.TiffWriter(path, ome=options.pop("ome", True)) as writer:
        writer.write(pixels, subifds=2, photometric="minisblack", tile=(16, 16), **options)
        for step in (2, 4):
            writer.write(pixels[:, ::step, ::step], subfiletype=1, photometric="minisblack", tile=(16, 16))
    return pixels


def test_a_pyramid_is_one_image_with_levels(path: Path) -> None:
    sizes = {"PhysicalSizeX": 8, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 8, "PhysicalSizeYUnit": "nm"}
    pixels = write_pyramid(path, metadata={"axes": "ZYX", **sizes})
    np.testing.assert_array_equal(open_image(path).read()[0, 0], pixels)
    image = open_image(path, voxel_size={"y": 0.016, "x": 0.016})
    assert image.where == "level 1"
    assert image.voxel_size == pytest.approx({"y": 0.016, "x": 0.016})
    np.testing.assert_array_equal(image.read()[0, 0], pixels[:, ::2, ::2])
    np.testing.assert_array_equal(open_image(path, level=2).read()[0, 0], pixels[:, ::4, ::4])
    assert "level is 3" in refusal(path, level=3)
    assert "none is near the 1 x 1 µm" in refusal(path, voxel_size={"y": 1.0, "x": 1.0})


def test_the_level_is_asked_for_where_sizes_do_not_tell(path: Path) -> None:
    write_pyramid(path, metadata={"axes": "ZYX"})
    assert "choose one with --level" in refusal(path, voxel_size={})


def test_a_flat_file_has_one_level(path: Path) -> None:
    assert "has one resolution level, 0" in refusal(write(path), axes="zyx", level=1)
    assert open_image(path, axes="zyx", level=0).shape == STACK.shape


def test_channels_have_their_names(path: Path) -> None:
    write(path, STACK[:2], ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}})
    assert open_image(path).channels == ("DAPI", "GFP")


# ---------------------------------------------------------------------------------------------------- pixel sizes


def voxel_size(path: Path, **options: Any) -> dict[str, float]:
    return open_image(write(path, **options)).voxel_size


def test_an_ome_tiff_gives_its_pixel_size_in_micrometres(path: Path) -> None:
    sizes = {"PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.005, "PhysicalSizeYUnit": "µm"}
    depth = {"PhysicalSizeZ": 5e-5, "PhysicalSizeZUnit": "mm"}
    found = voxel_size(path, ome=True, metadata={"axes": "ZYX", **sizes, **depth})
    assert found == pytest.approx({"z": 0.05, "y": 0.005, "x": 0.004})


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"PhysicalSizeX": 0.5}, {"x": 0.5}),  # without a unit: micrometres
        ({"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "pixel"}, {}),
        ({"PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "Mm"}, {}),
        ({"PhysicalSizeX": "0,005", "PhysicalSizeY": 2}, {"y": 2.0}),
        ({"PhysicalSizeX": "nan", "PhysicalSizeY": "inf", "PhysicalSizeZ": 0}, {}),
    ],
)
def test_ome_sizes_that_are_not_lengths_are_left_open(
    path: Path, metadata: dict[str, Any], expected: dict[str, float]
) -> None:
    assert voxel_size(path, ome=True, metadata={"axes": "ZYX", **metadata}) == expected
    np.testing.assert_array_equal(open_image(path).read()[0, 0], STACK)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("\u00b5m", 1), ("\u03bcm", 1), ("\u00c5", 1e-4), ("\u212b", 1e-4), ("nm", 1e-3)],
    ids=["micro sign", "Greek mu", "A with ring", "angstrom sign", "nm"],
)
def test_every_way_to_write_a_unit_is_understood(path: Path, unit: str, factor: float) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 4.0, "PhysicalSizeXUnit": unit}
    assert voxel_size(path, ome=True, metadata=metadata) == pytest.approx({"x": 4 * factor})


@pytest.mark.parametrize(
    ("unit", "factor"), [("um", 1), ("micron", 1), ("\\u00b5m", 1), ("\\u00B5m", 1), ("nm", 1e-3), ("mm", 1e3)]
)
def test_an_imagej_tiff_gives_its_pixel_size_in_micrometres(path: Path, unit: str, factor: float) -> None:
    metadata = {"axes": "ZYX", "spacing": -0.04, "unit": unit}  # ImageJ's spacing may have a sign
    found = voxel_size(path, imagej=True, resolution=(125, 250), metadata=metadata)
    assert found == pytest.approx({"z": 0.04 * factor, "y": factor / 250, "x": factor / 125})


@pytest.mark.parametrize("spacing", [0, "nan", "inf", "0,04"])
def test_imagej_sizes_that_are_not_lengths_are_left_open(path: Path, spacing: object) -> None:
    metadata = {"axes": "ZYX", "spacing": spacing, "unit": "um"}
    assert voxel_size(path, imagej=True, resolution=(0, 0), metadata=metadata) == {}
    assert voxel_size(path, imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "pixel"}) == {}


def test_a_plain_tiff_leaves_the_pixel_size_open(path: Path) -> None:
    assert open_image(write(path, resolution=(300, 300)), axes="zyx").voxel_size == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Channel", "<<hannel"),
        ('SizeZ="4"', 'SizeZ="a"'),
        ("DimensionOrder", "DimensionalOrd"),
        ("<TiffData", "<TiffDate"),
    ],
)
def test_an_ome_description_that_is_broken_leaves_the_pixels_readable_and_is_told(
    path: Path, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = write(path, ome=True, metadata={"axes": "ZYX"}).read_bytes()
    assert old.encode() in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old.encode(), new.encode()))
    image = pickle.loads(pickle.dumps(open_image(path, usual_axes="zyx")))
    assert image.voxel_size == {}
    np.testing.assert_array_equal(image.read()[0, 0], STACK)
    assert "has an OME description that cannot be understood" in caplog.text


@pytest.mark.parametrize("xml", ["<OME></OME>", "<OME><Image/></OME>"])
def test_ome_xml_without_an_image_leaves_the_pixels_readable(path: Path, xml: str) -> None:
    image = open_image(write(path, description=xml, metadata=None), axes="zyx")
    assert image.voxel_size == {}
    np.testing.assert_array_equal(image.read()[0, 0], STACK)


def test_metadata_in_a_companion_file_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:2"/></OME>'
    )
    image = open_image(write(path, description=xml, metadata=None), axes="zyx")
    np.testing.assert_array_equal(image.read()[0, 0], STACK)
    assert "only its own planes are read" in caplog.text


# ------------------------------------------------------------------------------------------------------ bad files


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"II*", b"II*\x00\x08\x00\x00\x00", b"II*\x00" + bytes(20)], ids=repr
)
def test_a_file_that_is_not_a_tiff_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path, axes="zyx").startswith(f"{path} is ")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"ome": True}, {"tile": (16, 16)}], ids=repr)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_tiff_is_refused_at_opening(path: Path, options: dict[str, Any], share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (5, 99, 98), dtype=np.uint8)
    content = write(path, noise, **options).read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"raw\.tif "):
        open_image(path, axes="zyx")


def test_damaged_compressed_pixels_are_refused_where_they_are_read(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (99, 98), dtype=np.uint8)
    content = bytearray(write(path, noise, compression="zlib").read_bytes())
    content[4000:4100] = bytes(100)
    path.write_bytes(content)
    assert refusal(path, axes="yx").startswith(f"{path} cannot be read: ")


def test_an_unknown_compression_is_named(path: Path) -> None:
    content = write(path, compression="zlib").read_bytes()
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags["Compression"].valueoffset
    changed = bytearray(content)
    changed[place : place + 2] = (60001).to_bytes(2, "little")
    path.write_bytes(changed)
    assert "60001" in refusal(path, axes="zyx")


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}, {"compression": "zlib"}], ids=repr)
def test_changed_bytes_never_give_anything_but_a_refusal(path: Path, options: dict[str, Any]) -> None:
    options = options if "compression" in options else {**options, "metadata": {"axes": "ZYX", "PhysicalSizeX": 4.0}}
    content, rng = write(path, **options).read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        changed[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(changed)
        try:
            open_image(path, usual_axes="zyx").read()
        except InputError:
            refused += 1
    assert 0 < refused < 150
