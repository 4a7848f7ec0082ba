"""Files as microscopes and programs leave them: each is read right, refused in one line, or told.

Every case makes the smallest file of its kind and compares with the stack that it was made of.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from eseg_zoo.errors import InputError
from eseg_zoo.images import open_image

from .conftest import STACK
from .test_hdf5 import axistags, write_virtual
from .test_planes import write as write_planes
from .test_tiff_faults import write_pages, write_positions, write_set


def odd_page(folder: Path) -> Path:
    write_pages(folder / "v.tif", [p.astype("u2") if i == 2 else p for i, p in enumerate(STACK)])
    return folder / "v.tif"


def appended(folder: Path) -> Path:
    for plane in STACK:
        tifffile.imwrite(folder / "v.tif", plane, append=True, photometric="minisblack")
    return folder / "v.tif"


def positions(folder: Path) -> Path:
    write_positions(folder / "v.ome.tif", [STACK, STACK])
    return folder / "v.ome.tif"


def says_2_of_4(folder: Path) -> Path:
    tifffile.imwrite(folder / "v.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    content = (folder / "v.tif").read_bytes()
    (folder / "v.tif").write_bytes(content.replace(b"images=4", b"images=2").replace(b"slices=4", b"slices=2"))
    return folder / "v.tif"


def whole_set(folder: Path) -> Path:
    return write_set(folder, set())


def lacking_set(folder: Path) -> Path:
    return write_set(folder, {3})


def virtual(folder: Path) -> Path:
    path = write_virtual(folder / "v.h5")
    (folder / "source.h5").unlink()
    return path


def yxz(folder: Path) -> Path:
    with h5py.File(folder / "v.h5", "w") as file:
        file["exported_data"] = np.moveaxis(STACK, 0, -1)
        file["exported_data"].attrs["axistags"] = axistags("yxz")
    return folder / "v.h5" / "exported_data"


def unlike(folder: Path) -> Path:
    (folder / "v").mkdir()
    return write_planes(folder / "v", [p.astype("f4" if i == 1 else "i4") for i, p in enumerate(STACK)])


def codec(folder: Path) -> Path:
    zarr.create_array(str(folder / "v.zarr"), data=STACK, zarr_format=2)
    meta = json.loads((folder / "v.zarr" / ".zarray").read_text())
    (folder / "v.zarr" / ".zarray").write_text(json.dumps(meta | {"compressor": {"id": "no_such_codec"}}))
    return folder / "v.zarr"


def comma(folder: Path) -> Path:
    tifffile.imwrite(
        folder / "v.ome.tif", STACK, metadata={"axes": "ZYX", "PhysicalSizeX": 0.005}, photometric="minisblack"
    )
    content = (folder / "v.ome.tif").read_bytes()
    assert b'"0.005"' in content
    (folder / "v.ome.tif").write_bytes(content.replace(b'"0.005"', b'"0,005"'))
    return folder / "v.ome.tif"


def coarse(folder: Path) -> Path:
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 0.5}
    tifffile.imwrite(folder / "v.tif", STACK, imagej=True, resolution=(2, 2), metadata=metadata)
    return folder / "v.tif"


def movie(folder: Path) -> Path:
    tifffile.imwrite(folder / "v.tif", STACK, imagej=True, metadata={"axes": "TYX"})
    return folder / "v.tif"


def two_planes(folder: Path) -> Path:
    tifffile.imwrite(folder / "v.ome.tif", STACK[:2], metadata={"axes": "ZYX"}, photometric="minisblack")
    return folder / "v.ome.tif"


def stacks(folder: Path) -> Path:
    (folder / "v").mkdir()
    return write_planes(folder / "v", [STACK, STACK], metadata={"axes": "ZYX"})


@pytest.mark.parametrize("make", [appended, whole_set, yxz, comma, coarse], ids=lambda make: make.__name__)
def test_a_sound_file_gives_the_same_pixels(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    image = open_image(make(tmp_path), usual_axes="zyx")
    assert image.sizes == {"t": 1, "c": 1, "z": 4, "y": 6, "x": 5}
    np.testing.assert_array_equal(image.read()[0, 0], STACK)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (odd_page, ["holds 2 images of shapes", "uint16", "only the first would be read"]),
        (positions, ["holds 2 images of shapes", "only the first would be read"]),
        (says_2_of_4, ["holds 4 planes", "2 planes of shape 6 x 5 would not be read"]),
        (lacking_set, ["lacks 1 of its 4 planes", "set_Z3.ome.tif"]),
        (virtual, ["takes 1 part from other files that are not there", "source.h5"]),
        (unlike, ["plane9.tif", "float32", "int32"]),
        (codec, ["no_such_codec"]),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_file_that_is_not_what_it_seems_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], Path], words: list[str]
) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError) as caught:
        open_image(path, usual_axes="zyx")
    told = str(caught.value)
    assert "\n" not in told
    assert all(word in told for word in [str(path), *words]), told


@pytest.mark.parametrize(
    ("make", "usual", "sizes"),
    [
        (movie, "zyx", {"t": 4, "c": 1, "z": 1}),  # a 3D model has no slices to look at
        (two_planes, "cyx", {"t": 1, "c": 1, "z": 2}),  # a model of two channels has one
        (stacks, "zyx", {"t": 2, "c": 1, "z": 4}),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_what_the_file_states_is_not_bent_to_the_training(
    tmp_path: Path, make: Callable[[Path], Path], usual: str, sizes: dict[str, Any]
) -> None:
    found = open_image(make(tmp_path), usual_axes=usual)
    assert found.sizes == sizes | {"y": 6, "x": 5}


def test_coarse_pixels_are_known_so_that_they_can_be_told(tmp_path: Path) -> None:
    assert open_image(coarse(tmp_path)).voxel_size == pytest.approx({"z": 0.5, "y": 0.5, "x": 0.5})
