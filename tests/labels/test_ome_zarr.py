"""Labels in an OME-Zarr: which one is meant, with which names and colours, at which level and place."""

from __future__ import annotations

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
from eseg_zoo.labels.label_image import LabelImage
from eseg_zoo.labels.opening import LabelReading, classes_in, given_labels, open_labels
from labels.phantom import NAMES, values_of

NAMED = {
    "colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}, {"label-value": 3, "rgba": [0, 0, 255, 255]}],
    "properties": [{"label-value": value, "name": name} for value, name in NAMES.items()],
}


def write_levels(
    path: Path, levels: list[NDArray[Any]], version: str, said: dict[str, Any] | None = None,
    first: tuple[float, ...] = (0, 0, 0),
) -> None:  # fmt: skip
    """Write an OME-Zarr whose levels are each half as fine along y and x, in micrometres."""
    group = zarr.open_group(path, mode="a", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for number, pixels in enumerate(levels):
        group.create_array(str(number), data=pixels, chunks=pixels.shape)
        scale = [0.5, 0.1 * 2**number, 0.1 * 2**number]
        shift = [{"type": "translation", "translation": list(first)}] if any(first) else []
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}, *shift]})
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    content: dict[str, Any] = {"multiscales": [{"version": version, "axes": axes, "datasets": datasets}]}
    if said is not None:
        content["image-label"] = {"version": version, **said}
    group.attrs.update({"ome": {"version": version, **content}} if version == "0.5" else content)


def write_labels(path: Path, version: str, **labels: Any) -> None:
    """Write labels, by their names, into an OME-Zarr."""
    for name, (levels, said) in labels.items():
        write_levels(path / "labels" / name, levels, version, said)
    group = zarr.open_group(path / "labels", mode="a", zarr_format=3 if version == "0.5" else 2)
    group.attrs.update({"ome": {"labels": list(labels)}} if version == "0.5" else {"labels": list(labels)})


def opened(image: Image, labels: Any, **classes: Any) -> LabelImage:
    (found,) = open_labels([image], given_labels(labels, 1), LabelReading(classes.get("classes", {}), 0, 2))
    return found


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_found_in_their_image_with_names_and_colours(
    tmp_path: Path, strokes: NDArray[Any], version: str
) -> None:
    path = tmp_path / "image.ome.zarr"
    write_levels(path, [strokes + 1], version)
    write_labels(path, version, painted=([strokes], NAMED))
    for given in (path, path / "labels/painted", path / "labels/painted/0"):
        found = opened(open_image(path), given)
        np.testing.assert_array_equal(values_of(found), strokes)
        assert [(one.name, one.value, one.colour) for one in found.classes] == [
            ("membrane", 1, "#ff0000"),
            ("cytoplasm", 2, None),
            ("mitochondrion", 3, "#0000ff"),
        ]
        assert classes_in([LabelFile(file=given)]) == found.classes


def test_several_labels_are_listed(tmp_path: Path, strokes: NDArray[Any]) -> None:
    path = tmp_path / "image.ome.zarr"
    write_levels(path, [strokes], "0.4")
    write_labels(path, "0.4", painted=([strokes], NAMED), dense=([strokes], None))
    with pytest.raises(InputError) as caught:
        opened(open_image(path), path)
    assert str(caught.value) == f"{path} holds the labels painted, dense; name one, such as {path}/labels/painted"


def test_names_are_matched_to_the_classes_whatever_their_values(tmp_path: Path, strokes: NDArray[Any]) -> None:
    path = tmp_path / "strokes.ome.zarr"
    write_levels(path, [strokes], "0.4", NAMED)
    found = opened(open_image(strokes, axes="zyx"), path, classes={9: "mitochondrion", 8: "membrane", 7: "cytoplasm"})
    np.testing.assert_array_equal(values_of(found), np.select([strokes == n for n in (1, 2, 3)], [8, 7, 9], 0))


@pytest.mark.parametrize(
    "said", [None, {"colors": NAMED["colors"]}, {"properties": 3}, {"properties": [3, {}]}], ids=str
)
def test_labels_without_names_are_label_images(tmp_path: Path, strokes: NDArray[Any], said: Any) -> None:
    path = tmp_path / "strokes.ome.zarr"
    write_levels(path, [strokes], "0.4", said)
    found = opened(open_image(strokes, axes="zyx"), path, classes=NAMES)
    np.testing.assert_array_equal(values_of(found), strokes)
    with pytest.raises(InputError, match="names no classes; give them in the run"):
        opened(open_image(strokes, axes="zyx"), path)


def test_the_level_is_the_one_that_fits_the_image(tmp_path: Path, strokes: NDArray[Any]) -> None:
    path = tmp_path / "strokes.ome.zarr"
    coarse = strokes[:, ::2, ::2]
    write_levels(path, [np.zeros_like(strokes), coarse], "0.5", NAMED)
    found = opened(open_image(np.zeros_like(coarse), axes="zyx"), path)
    np.testing.assert_array_equal(values_of(found), coarse)


def test_a_part_is_where_its_translation_says_if_that_is_a_whole_number_of_pixels(
    tmp_path: Path, strokes: NDArray[Any]
) -> None:
    write_levels(tmp_path / "image.ome.zarr", [strokes], "0.4")
    image = open_image(tmp_path / "image.ome.zarr")
    part = strokes[1:, 5:30, 20:]
    write_levels(tmp_path / "part.ome.zarr", [part], "0.4", NAMED, first=(0.5, 0.5, 2.0))
    expected = np.zeros_like(strokes)
    expected[1:, 5:30, 20:] = part
    np.testing.assert_array_equal(values_of(opened(image, tmp_path / "part.ome.zarr")), expected)
    write_levels(tmp_path / "between.ome.zarr", [part], "0.4", NAMED, first=(0.5, 0.55, 2.0))
    with pytest.raises(InputError, match=r"offset: \{z: 0, y: 0, x: 0\}"):
        opened(image, tmp_path / "between.ome.zarr")


def test_a_class_that_is_said_for_a_file_that_names_others_is_refused(tmp_path: Path, strokes: NDArray[Any]) -> None:
    path = tmp_path / "strokes.ome.zarr"
    write_levels(path, [strokes], "0.4", NAMED)
    with pytest.raises(InputError, match=r"names its classes itself \(membrane, cytoplasm, mitochondrion\), but"):
        opened(open_image(strokes, axes="zyx"), {"file": path, "class": "nucleus"})
