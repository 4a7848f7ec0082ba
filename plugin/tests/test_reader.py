"""What napari is offered: class maps with names and colours, sample data, the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from npe2 import PluginManifest

import eseg_napari
from eseg_napari import samples
from eseg_napari.chosen_image import choose
from eseg_napari.reader import get_reader
from eseg_zoo.images.image import Spacing
from eseg_zoo.images.ome_tiff_writer import OmeTiffWriter
from eseg_zoo.images.ome_zarr_writer import OmeZarrWriter
from eseg_zoo.images.pyramid import Pyramid
from eseg_zoo.images.writers import Described

CLASSES = ((1, "membrane"), (5, "cell"))
COLOURS = ("#ff0000", "#00ff00")
FILE = "napari/file/io_utilities"


@pytest.fixture(params=["zarr", "tiff"])
def maps(request: Any, tmp_path: Any) -> tuple[Path, np.ndarray[Any, Any]]:
    """A class map as `eseg predict` writes it."""
    labels = np.random.default_rng(0).choice([1, 5], (2, 20, 30)).astype(np.uint8)
    spacing = tuple(Spacing(size, 0.0, "micrometer") for size in (0.5, 0.1, 0.1))
    grid = Pyramid.single("zyx", labels.shape, (1, 32, 32), spacing)
    described = Described(CLASSES, class_colours=COLOURS)
    if request.param == "zarr":
        path = tmp_path / "maps.ome.zarr"
        writer: Any = OmeZarrWriter(path, grid, described)
    else:
        path = tmp_path / "raw_classes.ome.tif"
        writer = OmeTiffWriter({"classes": path}, grid, described, False)
    writer.begin({}, force=False)
    for z in range(2):
        writer.write(0, (z, 0, 0), labels[z : z + 1], None)
    writer.finish()
    return path, labels


def test_a_class_map_has_its_names_and_colours(maps: Any) -> None:
    path, labels = maps
    read = get_reader(str(path))
    assert read is not None
    ((pixels, about, kind),) = read(str(path))
    np.testing.assert_array_equal(np.asarray(pixels), labels)
    assert kind == "labels"
    assert about["features"].to_dict("list") == {"index": [1, 5], "class": ["membrane", "cell"]}
    np.testing.assert_allclose(about["colormap"].map(5), [0, 1, 0, 1])
    assert about["scale"] == pytest.approx([0.5, 0.1, 0.1])


def test_other_images_are_left_to_others(tmp_path: Any) -> None:
    path = tmp_path / "raw.ome.tif"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8), ome=True)
    (tmp_path / "folder.zarr").mkdir()
    assert get_reader(str(path)) is None
    assert get_reader(str(tmp_path / "folder.zarr")) is None
    assert get_reader(str(tmp_path / "absent.ome.tif")) is None
    assert get_reader([str(path)]) is None


@pytest.mark.parametrize("make", [samples.em, samples.fluorescence])
def test_sample_data_are_image_layers(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SHAPE", (2, 128, 128))
    layers = [Image(data, **about) for data, about, _ in make()]
    assert {layer.data.shape for layer in layers} == {(2, 128, 128)}
    assert choose(layers, "zyx").image.voxel_size.keys() == set("zyx")


def test_all_that_the_manifest_names_is_there() -> None:
    manifest = PluginManifest.from_file(Path(eseg_napari.__file__).with_name("napari.yaml"))
    commands = {one.id: one for one in manifest.contributions.commands or ()}
    for command in commands.values():
        assert command.python_name is not None
        module, _, name = command.python_name.partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)
    used = [*(manifest.contributions.widgets or ()), *(manifest.contributions.readers or ()),
            *(manifest.contributions.sample_data or ()),
            *(manifest.contributions.menus or {}).get(FILE, ())]  # fmt: skip
    assert {one.command for one in used} == set(commands)


def test_napari_finds_the_window_in_the_installed_package() -> None:
    manifest = PluginManifest.from_distribution("eseg_zoo")
    assert [one.display_name for one in manifest.contributions.widgets or ()] == ["Paint, train, look, export"]
