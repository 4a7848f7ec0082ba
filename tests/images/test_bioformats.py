"""Formats of microscopes are read through bioio, lazily, or one line says what to install."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from eseg_zoo.images import open_image

from .conftest import STACK, refusal


class UnsupportedFileFormatError(Exception):
    """As bioio_base has it."""


class FakeImage:
    """What bioio gives: scenes, each a lazy TCZYX array."""

    scenes_of: ClassVar[dict[str, Any]] = {}

    def __init__(self, path: Path) -> None:
        if path.suffix == ".dv":
            raise UnsupportedFileFormatError(f"no plugin for {path}\nand more")
        self.scenes = tuple(self.scenes_of)
        self.scene = self.scenes[0]

    def set_scene(self, scene: str) -> None:
        self.scene = scene

    @property
    def xarray_dask_data(self) -> xr.DataArray:
        return xr.DataArray(da.from_array(self.scenes_of[self.scene], chunks=(1, 1, 1, 6, 5)), dims=tuple("TCZYX"))

    physical_pixel_sizes = SimpleNamespace(Z=0.3, Y=0.1, X=None)
    channel_names = ("DAPI",)


@pytest.fixture
def bioio(monkeypatch: pytest.MonkeyPatch) -> type[FakeImage]:
    module, base, exceptions = ModuleType("bioio"), ModuleType("bioio_base"), ModuleType("bioio_base.exceptions")
    module.BioImage = FakeImage  # type: ignore[attr-defined]
    exceptions.UnsupportedFileFormatError = UnsupportedFileFormatError  # type: ignore[attr-defined]
    for one in (module, base, exceptions):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    monkeypatch.setattr(FakeImage, "scenes_of", {"one": STACK[None, None], "two": STACK[None, None] + 1})
    return FakeImage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "v.czi").write_bytes(b"ZISRAWFILE" + bytes(20))
    return tmp_path / "v.czi"


@pytest.mark.parametrize("name", ["v.czi", "v.nd2", "v.lif"])
def test_what_to_install_is_said(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / name).write_bytes(b"?" * 20)
    assert "pip install 'eseg_zoo[bioio]'" in refusal(tmp_path / name)


def test_the_only_scene_is_read_by_the_region(
    path: Path, bioio: type[FakeImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bioio, "scenes_of", {"one": STACK[None, None]})
    image = open_image(path, usual_axes="zyx")
    assert (image.axes, image.shape, image.chunks) == ("tczyx", (1, 1, 4, 6, 5), (1, 1, 1, 6, 5))
    assert image.voxel_size == {"z": 0.3, "y": 0.1}
    assert image.channels == ("DAPI",)
    np.testing.assert_array_equal(image.read({"z": slice(1, 3)})[0, 0], STACK[1:3])


def test_several_scenes_are_not_lost(path: Path, bioio: type[FakeImage]) -> None:
    assert "holds 2 images, 0: one, 1: two; name one, such as v.czi#0" in refusal(path)
    np.testing.assert_array_equal(open_image(f"{path}#1").read()[0, 0], STACK + 1)
    assert "has no image 2" in refusal(f"{path}#2")


def test_a_file_that_bioio_cannot_read_is_refused_in_one_line(tmp_path: Path, bioio: type[FakeImage]) -> None:
    (tmp_path / "v.dv").write_bytes(b"?" * 20)
    assert "cannot be read by bioio: no plugin for" in refusal(tmp_path / "v.dv")
