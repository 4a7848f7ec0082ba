"""Images come in with named axes and their pixel size, or with one line that says why not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from eseg_zoo.data.volumes import axes_of, chosen_slices, read_image, require_finite, sections
from eseg_zoo.errors import InputError

STACK = np.random.default_rng(0).integers(0, 255, (4, 6, 5), dtype=np.uint8)


def write(path: Path, array: NDArray[np.generic] = STACK, **options: Any) -> Path:
    tifffile.imwrite(path, array, **{"photometric": "minisblack"} | options)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "raw.tif"


def refusal(path: Path, axes: str = "zyx") -> str:
    with pytest.raises(InputError) as caught:
        read_image(path, axes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------- axes


@pytest.mark.parametrize("axes", [*map("".join, itertools.permutations("czyx")), "yx", "xy", "tyx", "xyzct"])
def test_axes_in_any_order_give_the_same_pixel(path: Path, axes: str) -> None:
    sizes = {"t": 6, "c": 2, "z": 3, "y": 4, "x": 5}
    array = np.random.default_rng(0).integers(0, 999, [sizes[a] for a in axes]).astype(np.uint16)
    image = read_image(write(path, array), axes)
    assert image.dims == ("t", "c", "z", "y", "x")
    assert image.shape == tuple(sizes[a] if a in axes else 1 for a in "tczyx")
    assert image.dtype == np.uint16
    for place in np.ndindex(array.shape):
        assert image.isel(dict(zip(axes, place, strict=True))).item() == array[place]


def test_axes_that_do_not_fit_the_file_are_refused(path: Path) -> None:
    assert (
        refusal(write(path), "yx") == f"{path} has shape (4, 6, 5), 3 axes, but axes 'yx' names 2; "
        "give axes with one letter for each, such as zyx"
    )


@pytest.mark.parametrize("axes", ["zzx", "wyx", "ZYX"])
def test_letters_that_are_no_axes_are_refused(path: Path, axes: str) -> None:
    assert refusal(write(path), axes) == f"axes is {axes!r}; it must be made of the letters t, c, z, y, x, each once"


@pytest.mark.parametrize(
    ("shape", "axes", "found"),
    [
        ((4, 6, 5), "zyx", "zyx"),
        ((6, 5), "zyx", "yx"),  # one plane for a model of stacks
        ((6, 5), "tzyx", "yx"),
        ((4, 6, 5), "tzyx", "zyx"),
        ((4, 6, 5), "zcyx", "cyx"),
    ],
)
def test_axes_of_drops_leading_time_and_depth(path: Path, shape: tuple[int, ...], axes: str, found: str) -> None:
    assert axes_of(write(path, np.zeros(shape, np.uint8)), axes) == found


@pytest.mark.parametrize(
    ("shape", "axes"), [((4, 6, 5), "yx"), ((6, 5), "cyx"), ((6, 5), "yxc"), ((2, 4, 6, 5), "zyx")]
)
def test_axes_of_refuses_what_it_cannot_explain(path: Path, shape: tuple[int, ...], axes: str) -> None:
    write(path, np.zeros(shape, np.uint8))
    with pytest.raises(InputError) as caught:
        axes_of(path, axes)
    assert str(caught.value) == (
        f"{path} has shape {shape}, but the model was trained on axes {axes!r}; "
        f"give --axes with one letter for each of the {len(shape)} axes"
    )


@pytest.mark.parametrize(("text", "expected"), [(None, range(4)), ("1-2", range(1, 3)), ("3-3", range(3, 4))])
def test_slices_are_chosen_by_the_first_and_the_last(text: str | None, expected: range) -> None:
    assert chosen_slices(text, 4, Path("v.tif"), setting="slices") == expected


@pytest.mark.parametrize("text", ["", "2", "2-1", "0-4", "-1-2", "a-b"])
def test_slices_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=rf"slices is {text}, but v\.tif has the slices 0-3, given as first-last"):
        chosen_slices(text, 4, Path("v.tif"), setting="slices")


@pytest.mark.parametrize("said", ["ZYX", "TYX", "CYX", "TZYX", "TCYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_file_of_more_axes_is_believed_what_it_says(path: Path, said: str, kind: str) -> None:
    write(path, np.zeros((2, 3, 6, 5)[-len(said) :], np.uint8), **{kind: True}, metadata={"axes": said})
    assert axes_of(path, "yx") == said.lower()


def test_colours_in_the_last_axis_are_no_slices(path: Path) -> None:
    write(path, np.zeros((6, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"has shape \(6, 5, 3\), .* one letter for each of the 3 axes"):
        axes_of(path, "yx")


RGB = {
    "in every pixel": ((30, 30, 3), {}),
    "without metadata": ((30, 30, 3), {"metadata": None}),
    "imagej": ((30, 30, 3), {"imagej": True}),
    "ome": ((30, 30, 3), {"ome": True}),
}


@pytest.mark.parametrize("kind", RGB)
@pytest.mark.parametrize("axes", ["zyx", "tyx", "yx"])
def test_colours_are_refused_where_the_axes_name_no_channels(path: Path, kind: str, axes: str) -> None:
    shape, options = RGB[kind]
    found = refusal(write(path, np.zeros(shape, np.uint8), photometric="rgb", **options), axes)
    told = f"{path} has several values at each pixel, as colour images do (axes YXS, S), but axes '{axes}' has no c"
    assert found.startswith(told)


def test_colours_in_planes_are_channels_that_may_be_slices_after_all(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, np.zeros((3, 30, 20), np.uint8), photometric="rgb", planarconfig="separate")
    assert axes_of(path, "zyx") == "zyx"
    assert read_image(path, "cyx").sizes["c"] == 3
    assert not caplog.records
    assert read_image(path, "zyx").sizes["z"] == 3
    assert "says that it has channels (axes cyx); it is read as zyx" in caplog.text


def test_colours_are_read_as_channels_where_the_axes_say_so(path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    write(path, colours, photometric="rgb")
    assert axes_of(path, "yxc") == "yxc"
    np.testing.assert_array_equal(read_image(path, "yxc").values[0, :, 0], colours.transpose(2, 0, 1))
    assert "several values at each pixel" in refusal(path, "cyx")


@pytest.mark.parametrize(("kind", "said"), [("imagej", "CYX"), ("ome", "CYX"), ("ome", "ZYX")])
def test_stated_channels_that_are_taken_for_slices_are_told(
    path: Path, kind: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, **{kind: True}, metadata={"axes": said})
    assert axes_of(path, "zyx") == "zyx"
    read_image(path, "zyx")
    told = [record.getMessage() for record in caplog.records]
    assert told == ([f"{path} says that it has channels (axes cyx); it is read as zyx"] if said == "CYX" else [])


def test_channels_of_several_positions_that_are_taken_for_slices_are_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        for number in range(2):
            writer.write(STACK + number, photometric="minisblack", metadata={"axes": "CYX"})
    assert axes_of(path, "tcyx") == "tcyx"
    assert read_image(path, axes_of(path, "tzyx")).sizes["t"] == 2
    assert "says that it has channels (axes tcyx); it is read as tzyx" in caplog.text


@pytest.mark.parametrize("options", [{}, {"metadata": None}], ids=["numbered", "bare"])
def test_a_file_that_states_nothing_has_the_axes_of_training(path: Path, options: dict[str, Any]) -> None:
    assert axes_of(write(path, **options), "zyx") == "zyx"
    assert axes_of(path, "cyx") == "cyx"


@pytest.mark.parametrize(("single", "axes"), [("YX", "tyx"), ("CYX", "tcyx"), ("ZYX", "tzyx")])
def test_positions_of_an_ome_file_are_a_batch_along_t(path: Path, single: str, axes: str) -> None:
    shape = (3, 6, 5)[-len(single) :]
    positions = [np.random.default_rng(i).integers(0, 255, shape).astype(np.uint8) for i in range(4)]
    with tifffile.TiffWriter(path, ome=True) as writer:
        for position in positions:
            writer.write(position, photometric="minisblack", metadata={"axes": single})
    assert axes_of(path, axes) == axes
    image = read_image(path, axes)
    assert image.sizes["t"] == 4
    found = image.transpose("t", "z", "c", "y", "x").values.reshape(4, *shape)
    np.testing.assert_array_equal(found, np.stack(positions))


@pytest.mark.parametrize(("dims", "shape"), [(2, (3, 5, 7)), (3, (3, 4, 5, 7))])
def test_sections_keep_channels_and_run_over_time_then_depth(path: Path, dims: int, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random((2, 4, 3, 5, 7), np.float32)  # t z c y x
    found = sections(read_image(write(path, array), "tzcyx"), dims)
    expected = [plane for volume in array for plane in volume] if dims == 2 else [v.swapaxes(0, 1) for v in array]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == shape
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------- pixel sizes


def test_an_ome_tiff_gives_its_pixel_size_in_micrometres(path: Path) -> None:
    sizes = {"PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.005, "PhysicalSizeYUnit": "µm"}
    depth = {"PhysicalSizeZ": 5e-5, "PhysicalSizeZUnit": "mm"}
    image = read_image(write(path, ome=True, metadata={"axes": "ZYX", **sizes, **depth}), "zyx")
    assert image.attrs["voxel_size"] == pytest.approx({"z": 0.05, "y": 0.005, "x": 0.004})


def test_ome_sizes_without_a_unit_are_micrometres(path: Path) -> None:
    image = read_image(write(path, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5}), "zyx")
    assert image.attrs["voxel_size"] == {"x": 0.5}


def test_ome_sizes_in_pixels_are_no_lengths(path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "pixel"}
    assert read_image(write(path, ome=True, metadata=metadata), "zyx").attrs["voxel_size"] == {}


def test_the_first_of_several_ome_images_counts(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        for size in (1.5, 2.5):
            metadata = {"axes": "ZYX", "PhysicalSizeX": size}
            writer.write(STACK + int(size), photometric="minisblack", metadata=metadata)
    image = read_image(path, "zyx")
    assert image.attrs["voxel_size"] == {"x": 1.5}
    np.testing.assert_array_equal(image.values[0, 0], STACK + 1)


@pytest.mark.parametrize(
    "xml",
    [
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:2"/></OME>',
        "<OME></OME>",
    ],
    ids=["metadata in a companion file", "empty"],
)
def test_ome_xml_without_an_image_leaves_the_pixel_size_open(path: Path, xml: str) -> None:
    image = read_image(write(path, description=xml, metadata=None), "zyx")
    assert image.attrs["voxel_size"] == {}
    np.testing.assert_array_equal(image.values[0, 0], STACK)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("um", 1),
        ("micron", 1),
        ("Micron", 1),
        ("\\u00b5m", 1),
        ("\\u00B5m", 1),  # as Fiji writes it
        ("nm", 1e-3),
        ("mm", 1e3),
    ],
)
def test_an_imagej_tiff_gives_its_pixel_size_in_micrometres(path: Path, unit: str, factor: float) -> None:
    metadata = {"axes": "ZYX", "spacing": 0.04, "unit": unit}
    image = read_image(write(path, imagej=True, resolution=(125, 250), metadata=metadata), "zyx")
    assert image.attrs["voxel_size"] == pytest.approx({"z": 0.04 * factor, "y": factor / 250, "x": factor / 125})


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("\u00b5m", 1), ("\u03bcm", 1), ("\u00c5", 1e-4), ("\u212b", 1e-4), ("nm", 1e-3)],
    ids=["micro sign", "Greek mu", "A with ring", "angstrom sign", "nm"],
)
def test_every_way_to_write_a_unit_is_understood(path: Path, unit: str, factor: float) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 4.0, "PhysicalSizeXUnit": unit}
    image = read_image(write(path, ome=True, metadata=metadata), "zyx")
    assert image.attrs["voxel_size"] == pytest.approx({"x": 4 * factor})


def test_a_megametre_is_no_millimetre(path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "Mm"}
    assert read_image(write(path, ome=True, metadata=metadata), "zyx").attrs["voxel_size"] == {}


def test_a_negative_spacing_of_imagej_is_taken_without_its_sign(path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": -0.04, "unit": "um"}
    image = read_image(write(path, imagej=True, resolution=(125, 250), metadata=metadata), "zyx")
    assert image.attrs["voxel_size"] == pytest.approx({"z": 0.04, "y": 1 / 250, "x": 1 / 125})


@pytest.mark.parametrize("spacing", [0, "nan", "inf", "-inf"])
def test_sizes_that_are_no_lengths_are_left_open(path: Path, spacing: object) -> None:
    metadata = {"axes": "ZYX", "spacing": spacing, "unit": "um"}
    image = read_image(write(path, imagej=True, resolution=(0, 0), metadata=metadata), "zyx")
    assert image.attrs["voxel_size"] == {}
    metadata = {"axes": "ZYX", "PhysicalSizeZ": spacing, "PhysicalSizeX": 2}
    assert read_image(write(path, ome=True, metadata=metadata), "zyx").attrs["voxel_size"] == {"x": 2}


def test_imagej_pixels_without_a_unit_of_length_leave_the_size_open(path: Path) -> None:
    image = read_image(
        write(path, imagej=True, resolution=(125, 250), metadata={"axes": "ZYX", "unit": "pixel"}), "zyx"
    )
    assert image.attrs["voxel_size"] == {}


def test_a_plain_tiff_leaves_the_pixel_size_open(path: Path) -> None:
    assert read_image(write(path, resolution=(300, 300)), "zyx").attrs["voxel_size"] == {}


# ------------------------------------------------------------------------------------------------------ bad files


def test_a_missing_file_is_named(path: Path) -> None:
    assert refusal(path) == f"{path} does not exist"
    with pytest.raises(InputError, match="does not exist"):
        axes_of(path, "zyx")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"II*", b"II*\x00\x08\x00\x00\x00"], ids=repr)
def test_a_file_that_is_no_tiff_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} is ")
    with pytest.raises(InputError):
        axes_of(path, "zyx")


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_pixels_come_in_the_machine_order_whatever_the_file_has(tmp_path: Path, byteorder: str) -> None:
    pixels = np.arange(4 * 6, dtype=np.uint16).reshape(4, 6) * 997
    tifffile.imwrite(tmp_path / "image.tif", pixels, byteorder=byteorder)
    image = read_image(tmp_path / "image.tif", "yx")
    assert image.dtype.isnative
    np.testing.assert_array_equal(image.squeeze(), pixels)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path} is damaged: [Errno 21] Is a directory")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"ome": True}, {"tile": (16, 16)}], ids=repr)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_tiff_is_refused(path: Path, options: dict[str, Any], share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (5, 99, 98), dtype=np.uint8)
    content = write(path, noise, **options).read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(path).startswith(f"{path} ")


def test_damaged_compressed_pixels_are_refused(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (99, 98), dtype=np.uint8)
    content = bytearray(write(path, noise, compression="zlib").read_bytes())
    content[4000:4100] = bytes(100)
    path.write_bytes(content)
    assert refusal(path, "yx").startswith(f"{path} is damaged: ")


def test_changed_bytes_never_give_anything_but_a_refusal(path: Path) -> None:
    content, rng = (
        write(path, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 4.0}).read_bytes(),
        np.random.default_rng(0),
    )
    refused = 0
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read_image(path, "zyx")
        except InputError:
            refused += 1
    assert 0 < refused < 200


@pytest.mark.parametrize("dtype", [np.complex64, np.bool_])
def test_values_that_are_no_numbers_are_refused(path: Path, dtype: type) -> None:
    write(path, STACK.astype(dtype))
    assert refusal(path) == f"{path} holds {np.dtype(dtype)} values; it must hold integers or floating-point numbers"


# ------------------------------------------------------------------------------------------------- finite numbers


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_no_number_is_located(path: Path, value: float) -> None:
    array = STACK.astype(np.float32)
    array[2, 3, 4] = array[2, 5, 0] = array[3, 0, 0] = value
    image = read_image(write(path, array), "zyx")
    with pytest.raises(InputError) as caught:
        require_finite(image, path)
    assert str(caught.value) == f"{path} has 2 NaN or infinite pixels in plane 2, the first at y=3, x=4"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint16])
def test_finite_images_pass(path: Path, dtype: type) -> None:
    require_finite(read_image(write(path, STACK.astype(dtype)), "zyx"), path)
