"""Maps come back from their TIFFs with values, class names, colours and pixel size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from eseg_zoo.colours import class_colours
from eseg_zoo.errors import OutputError
from eseg_zoo.images import ome_tiff_writer
from eseg_zoo.images.image import Spacing
from eseg_zoo.images.ome_tiff_writer import OmeTiffWriter
from eseg_zoo.images.opening import open_image
from eseg_zoo.images.pyramid import Pyramid
from eseg_zoo.images.writers import Described

CLASSES = ((1, "membrane"), (5, "cytoplasm"), (3, "mito & µ"))
SIZES = {"z": 0.04, "y": 0.008, "x": 0.006}
SHAPE = (2, 3, 30, 21)  # t z y x
KINDS = ("classes", "probabilities", "uncertainty")


def labels(values: Sequence[int] = (1, 5, 3)) -> NDArray[np.int64]:
    return np.random.default_rng(0).choice(values, SHAPE)


def maps() -> NDArray[np.float32]:
    """Probabilities and uncertainty (4, t, z, y, x)."""
    raw = np.random.default_rng(0).random((3, *SHAPE))
    probabilities = raw / raw.sum(0)
    return np.concatenate([probabilities, np.random.default_rng(1).random((1, *SHAPE))]).astype(np.float32)


def writer(
    folder: Path, classes: Sequence[tuple[int, str]] = CLASSES, *, sizes: dict[str, float] = SIZES, force: bool = False
) -> OmeTiffWriter:
    spacing = [Spacing(sizes.get(axis, 1.0), 0.0, "micrometer" if axis in sizes else None) for axis in "tzyx"]
    grid = Pyramid.single("tzyx", SHAPE, (1, 1, 16, 16), spacing)
    channels = (*(name for _, name in classes), "uncertainty (normalised entropy)")
    targets = {kind: folder / f"raw_{kind}.ome.tif" for kind in KINDS}
    return OmeTiffWriter(targets, grid, Described(tuple(classes), channels), force)


def fill(made: OmeTiffWriter, values: NDArray[np.int64]) -> None:
    """Write all chunks, the last ones first, and finish."""
    assert made.begin({"run": 1}, force=False)
    for index in reversed(list(made.grid.indices(0))):
        region = made.grid.region(0, index)
        made.write(
            0, index, values[region].astype(made.label_type), maps()[(slice(None), *region)][: len(made.channels)]
        )
    made.finish()


def ome(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as tiff:
        assert tiff.ome_metadata is not None
        element: dict[str, Any] = tifffile.xml2dict(tiff.ome_metadata)["OME"]
        return element


def pixels_element(path: Path) -> dict[str, Any]:
    element: dict[str, Any] = ome(path)["Image"]["Pixels"]
    return element


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = writer(tmp_path)
    fill(made, labels())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"raw_{kind}.ome.tif" for kind in KINDS)
    return dict(made.targets)


@pytest.mark.parametrize("plane_bytes", [1 << 30, 10], ids=["planes", "tiles"])
def test_maps_return_as_they_were(tmp_path: Path, plane_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome_tiff_writer, "LARGEST_PLANE", plane_bytes)
    monkeypatch.setattr(ome_tiff_writer, "TILE", 16)
    made = writer(tmp_path)
    fill(made, labels())
    with tifffile.TiffFile(made.targets["classes"]) as tiff:
        assert tiff.series[0].keyframe.is_tiled == (plane_bytes == 10)
    found = {kind: open_image(path).read() for kind, path in made.targets.items()}
    assert found["classes"].dtype == np.uint8
    np.testing.assert_array_equal(found["classes"][:, 0], labels())
    np.testing.assert_array_equal(found["probabilities"].swapaxes(0, 1), maps()[:3])
    np.testing.assert_array_equal(found["uncertainty"][:, 0], maps()[3])


def test_the_palette_has_the_colour_of_each_class_and_black_elsewhere(files: dict[str, Path]) -> None:
    with tifffile.TiffFile(files["classes"]) as tiff:
        page = tiff.pages[0]
        assert page.photometric == tifffile.PHOTOMETRIC.PALETTE  # type: ignore[union-attr]
        palette: Any = page.colormap  # type: ignore[union-attr]
    for (value, _), colour in zip(CLASSES, class_colours(3), strict=True):
        assert palette[:, value].tolist() == [257 * int(colour[i : i + 2], 16) for i in (1, 3, 5)]  # 8 bits in 16
    others = [value for value in range(256) if value not in dict(CLASSES)]
    assert not palette[:, others].any()


def test_the_class_map_names_its_classes(files: dict[str, Path]) -> None:
    path = files["classes"]
    assert pixels_element(path)["Channel"]["Name"] == "classes (1: membrane, 5: cytoplasm, 3: mito & µ)"
    annotation = ome(path)["StructuredAnnotations"]["MapAnnotation"]
    assert annotation["Namespace"] == "eseg_zoo/classes"
    pairs = {str(entry["K"]): entry["value"] for entry in annotation["Value"]["M"]}
    assert pairs == {"1": "membrane", "5": "cytoplasm", "3": "mito & µ"}


def test_the_channels_of_the_other_maps_are_named(files: dict[str, Path]) -> None:
    names = [channel["Name"] for channel in pixels_element(files["probabilities"])["Channel"]]
    assert names == [name for _, name in CLASSES]
    assert pixels_element(files["uncertainty"])["Channel"]["Name"] == "uncertainty (normalised entropy)"


@pytest.mark.parametrize("largest", [256, 65_535])
def test_class_values_above_255_are_written_in_16_bits(tmp_path: Path, largest: int) -> None:
    made = writer(tmp_path, [(1, "a"), (largest, "b")])
    fill(made, labels([1, largest]))
    found = open_image(made.targets["classes"]).read()
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[:, 0], labels([1, largest]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_map_has_its_axes_and_pixel_size(files: dict[str, Path], kind: str) -> None:
    pixels = pixels_element(files[kind])
    sizes = {axis: pixels[f"Size{axis}"] for axis in "TZCYX"}
    assert sizes == {"T": 2, "Z": 3, "C": 3 if kind == "probabilities" else 1, "Y": 30, "X": 21}
    assert {axis.lower(): pixels[f"PhysicalSize{axis}"] for axis in "ZYX"} == SIZES
    assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "ZYX"} == {"µm"}
    assert open_image(files[kind]).voxel_size == SIZES


def test_an_unknown_pixel_size_stays_unknown(tmp_path: Path) -> None:
    made = writer(tmp_path, sizes={})
    fill(made, labels())
    assert not [key for key in pixels_element(made.targets["classes"]) if key.startswith("PhysicalSize")]


def test_existing_maps_are_kept_unless_forced(tmp_path: Path) -> None:
    precious = tmp_path / "raw_uncertainty.ome.tif"
    precious.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        fill(writer(tmp_path), labels())
    assert precious.read_bytes() == b"precious"
    assert not (tmp_path / "raw_classes.ome.tif").exists()
    again = writer(tmp_path, force=True)
    assert not again.begin({"run": 1}, force=False)  # all chunks are still there
    again.finish()
    assert pixels_element(precious)["SizeT"] == 2
