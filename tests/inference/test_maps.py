"""Maps come back from their files with values, class names, colours and pixel size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy as reference_entropy

from eseg_zoo.colours import class_colours
from eseg_zoo.data.volumes import read_image
from eseg_zoo.errors import OutputError
from eseg_zoo.inference.maps import MapWriter, entropy

CLASSES = {1: "membrane", 5: "cytoplasm", 3: "mito & µ"}
VOXEL_SIZE = {"z": 0.04, "y": 0.008, "x": 0.006}
SHAPE = (2, 3, 6, 5)  # t z y x


def writer(classes: dict[int, str] = CLASSES, *, force: bool = False) -> MapWriter:
    return MapWriter(classes, VOXEL_SIZE, SHAPE, force)


def class_planes(values: Sequence[int] = tuple(CLASSES)) -> NDArray[np.int64]:
    return np.random.default_rng(0).choice(values, SHAPE)


def probability_planes() -> NDArray[np.float32]:
    """(t, z, classes, y, x), summing to 1 over the classes."""
    raw = np.random.default_rng(0).random((2, 3, 3, 6, 5))
    return (raw / raw.sum(2, keepdims=True)).astype(np.float32)


def ome(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as tiff:
        assert tiff.ome_metadata is not None
        element: dict[str, Any] = tifffile.xml2dict(tiff.ome_metadata)["OME"]
        return element


def pixels_element(path: Path) -> dict[str, Any]:
    element: dict[str, Any] = ome(path)["Image"]["Pixels"]
    return element


def planes_of(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return iter(array.reshape(-1, *array.shape[2:]))


# ---------------------------------------------------------------------------------------------------- class maps


@pytest.fixture
def class_map(tmp_path: Path) -> Path:
    path = tmp_path / "raw_classes.ome.tif"
    writer().write_classes(path, planes_of(class_planes()))
    return path


def test_class_values_return_as_they_were(class_map: Path) -> None:
    image = read_image(class_map, "tzyx")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image.values[:, 0], class_planes())


def test_the_palette_has_the_colour_of_each_class_and_black_elsewhere(class_map: Path) -> None:
    with tifffile.TiffFile(class_map) as tiff:
        page = tiff.pages[0]
        assert page.photometric == tifffile.PHOTOMETRIC.PALETTE
        palette = page.colormap
    for value, colour in zip(CLASSES, class_colours(3), strict=True):
        assert palette[:, value].tolist() == [257 * int(colour[i : i + 2], 16) for i in (1, 3, 5)]  # 8 bits in 16
    others = [value for value in range(256) if value not in CLASSES]
    assert not palette[:, others].any()


def test_the_class_map_names_its_classes(class_map: Path) -> None:
    assert pixels_element(class_map)["Channel"]["Name"] == "classes (1: membrane, 5: cytoplasm, 3: mito & µ)"
    annotation = ome(class_map)["StructuredAnnotations"]["MapAnnotation"]
    assert annotation["Namespace"] == "eseg_zoo/classes"
    pairs = {str(entry["K"]): entry["value"] for entry in annotation["Value"]["M"]}
    assert pairs == {"1": "membrane", "5": "cytoplasm", "3": "mito & µ"}


@pytest.mark.parametrize("largest", [256, 65_535])
def test_class_values_above_255_are_written_in_16_bits(tmp_path: Path, largest: int) -> None:
    path = tmp_path / "a.ome.tif"
    writer({1: "a", largest: "b"}).write_classes(path, planes_of(class_planes([1, largest])))
    image = read_image(path, "tzyx")
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image.values[:, 0], class_planes([1, largest]))


# ------------------------------------------------------------------------------------- probabilities, uncertainty


def test_probabilities_return_with_one_named_channel_for_each_class(tmp_path: Path) -> None:
    path = tmp_path / "raw_probabilities.ome.tif"
    writer().write_probabilities(path, planes_of(probability_planes()))
    image = read_image(path, "tzcyx")
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image.values, probability_planes().swapaxes(1, 2))
    assert [channel["Name"] for channel in pixels_element(path)["Channel"]] == list(CLASSES.values())


def test_uncertainty_returns_as_it_was(tmp_path: Path) -> None:
    path, planes = tmp_path / "raw_uncertainty.ome.tif", np.random.default_rng(0).random(SHAPE, np.float32)
    writer().write_uncertainty(path, planes_of(planes))
    np.testing.assert_array_equal(read_image(path, "tzyx").values[:, 0], planes)
    assert pixels_element(path)["Channel"]["Name"] == "uncertainty (normalised entropy)"


@pytest.mark.parametrize("kind", ["classes", "probabilities", "uncertainty"])
def test_every_map_has_its_axes_and_pixel_size(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "map.ome.tif"
    planes = probability_planes() if kind == "probabilities" else probability_planes()[:, :, 0]
    getattr(writer(), f"write_{kind}")(path, planes_of(planes))
    channels = 3 if kind == "probabilities" else 1
    pixels = pixels_element(path)
    sizes = {axis: pixels[f"Size{axis}"] for axis in "TZCYX"}
    assert sizes == {"T": 2, "Z": 3, "C": channels, "Y": 6, "X": 5}
    assert {axis.lower(): pixels[f"PhysicalSize{axis}"] for axis in "ZYX"} == VOXEL_SIZE
    assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "ZYX"} == {"µm"}
    assert read_image(path, "tzcyx" if channels == 3 else "tzyx").attrs["voxel_size"] == VOXEL_SIZE


def test_an_unknown_pixel_size_stays_unknown(tmp_path: Path) -> None:
    path = tmp_path / "map.ome.tif"
    MapWriter(CLASSES, {}, SHAPE, force=False).write_classes(path, planes_of(class_planes()))
    assert not [key for key in pixels_element(path) if key.startswith("PhysicalSize")]


def test_planes_that_are_views_are_written_as_they_look(tmp_path: Path) -> None:
    path, planes = tmp_path / "map.ome.tif", class_planes()
    writer().write_classes(path, (plane.T.copy().T for plane in planes_of(planes)))
    np.testing.assert_array_equal(read_image(path, "tzyx").values[:, 0], planes)


# -------------------------------------------------------------------------------------------- files and failures


@pytest.mark.parametrize("kind", ["classes", "probabilities", "uncertainty"])
def test_an_existing_map_is_kept_unless_forced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "map.ome.tif"
    path.write_bytes(b"precious")
    planes = probability_planes() if kind == "probabilities" else probability_planes()[:, :, 0]
    with pytest.raises(OutputError, match="exists already; give --force to replace it"):
        getattr(writer(), f"write_{kind}")(path, planes_of(planes))
    assert path.read_bytes() == b"precious"
    getattr(writer(force=True), f"write_{kind}")(path, planes_of(planes))
    assert pixels_element(path)["SizeT"] == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_between_two_planes_leaves_no_file(tmp_path: Path) -> None:
    def planes() -> Iterator[NDArray[np.float32]]:
        yield probability_planes()[0, 0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer().write_probabilities(tmp_path / "map.ome.tif", planes())
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------------- entropy


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_entropy_equals_scipys_over_its_maximum(seed: int, classes: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet([0.3] * classes, (4, 3)).transpose(2, 0, 1).astype(np.float32)
    expected = reference_entropy(probabilities.astype(np.float64), axis=0) / np.log(classes)
    found = entropy(probabilities)
    assert found.shape == (4, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_entropy_is_zero_when_sure_and_one_when_all_are_equal() -> None:
    probabilities = np.array([[1, 0.25], [0, 0.25], [0, 0.25], [0, 0.25]], np.float32)
    np.testing.assert_allclose(entropy(probabilities), [0, 1], atol=1e-6)
