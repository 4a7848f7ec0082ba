"""An HDF5 dataset is read with the axes that ilastik states, or refused for what it is."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from eseg_zoo.errors import InputError
from eseg_zoo.images import open_image

from .conftest import STACK, refusal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.h5"


def write(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name.replace("__", "/")] = data
    return path


def axistags(axes: str) -> str:
    return json.dumps({"axes": [{"key": a, "typeFlags": 2, "resolution": 0, "description": ""} for a in axes]})


def test_the_only_dataset_needs_no_name(path: Path) -> None:
    write(path, exported__data=STACK, notes=np.arange(3))
    image = open_image(path, usual_axes="zyx")
    assert image.where == "exported/data"
    np.testing.assert_array_equal(image.read({"y": slice(2, 5)})[0, 0], STACK[:, 2:5])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).read()[0, 0], STACK)


def test_a_dataset_of_several_is_asked_for(path: Path) -> None:
    write(path, raw=STACK, deep__other=STACK[:, ::2])
    assert "holds the datasets deep/other, raw; name one, such as" in refusal(path, axes="zyx")
    assert open_image(path / "deep" / "other", axes="zyx").shape == (4, 3, 5)
    assert "holds the datasets deep/other, raw" in refusal(path / "nothing", axes="zyx")
    assert "holds the datasets deep/other, raw" in refusal(path / "deep", axes="zyx")


@pytest.mark.parametrize("name", ["v.ims", "v.nwb", "v"])
def test_the_name_of_the_file_does_not_matter(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, raw=STACK)
    assert open_image(tmp_path / name / "raw", axes="zyx").shape == STACK.shape


@pytest.mark.parametrize("axes", ["yxz", "zyx", "tyx", "xyc"])
def test_axistags_are_believed(path: Path, axes: str) -> None:
    with h5py.File(path, "w") as file:
        file["d"] = STACK
        file["d"].attrs["axistags"] = axistags(axes)
    image = open_image(path, usual_axes="zyx")
    assert image.axes == axes
    order = [axes.index(a) for a in "tczyx" if a in axes]
    np.testing.assert_array_equal(image.read().squeeze(), STACK.transpose(order))
    assert "says that its axes are" in refusal(path, axes="xzy")


@pytest.mark.parametrize("tags", ["{", "{}", json.dumps({"axes": [{"key": "z"}]}), json.dumps([1]), axistags("zyq"), 5])
def test_axistags_that_cannot_be_understood_state_nothing(path: Path, tags: object) -> None:
    with h5py.File(path, "w") as file:
        file["d"] = STACK
        file["d"].attrs["axistags"] = tags
    assert open_image(path, usual_axes="zyx").axes == "zyx"


def test_labels_of_the_dimensions_are_axes_and_element_size_um_the_pixel_size(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["d"] = STACK
        for number, axis in enumerate("yxz"):
            file["d"].dims[number].label = axis
        file["d"].attrs["element_size_um"] = [0.04, 0.008, 0.008]
    image = open_image(path)
    assert image.axes == "yxz"
    assert image.voxel_size == {"z": 0.04, "y": 0.008, "x": 0.008}


@pytest.mark.parametrize("size", [[0.04, 0.008], "a", [0, 1, 1]])
def test_a_pixel_size_that_cannot_be_understood_is_left_open(path: Path, size: object) -> None:
    with h5py.File(path, "w") as file:
        file["d"] = STACK
        file["d"].attrs["element_size_um"] = size
    assert open_image(path, axes="zyx").voxel_size == {}


def test_truth_values_and_big_endian_numbers_are_read(path: Path) -> None:
    write(path, truth=STACK > 100, big=STACK.astype(">u2"))
    assert open_image(path / "truth", axes="zyx").dtype == np.uint8
    np.testing.assert_array_equal(open_image(path / "truth", axes="zyx").read()[0, 0], STACK > 100)
    assert open_image(path / "big", axes="zyx").dtype == np.dtype("=u2")
    np.testing.assert_array_equal(open_image(path / "big", axes="zyx").read()[0, 0], STACK)


def test_structures_and_too_few_axes_are_refused(path: Path) -> None:
    write(path, pairs=np.zeros((4, 4), [("a", "u1"), ("b", "f4")]), line=np.zeros(5))
    assert "holds structured values" in refusal(path / "pairs", axes="yx")
    assert "has shape (5,); an image has two axes or more" in refusal(path / "line", axes="yx")


# --------------------------------------------------------------------------------------------- stated and absent


def write_virtual(path: Path) -> Path:
    with h5py.File(path.parent / "source.h5", "w") as file:
        file["d"] = STACK[2:3]
    layout = h5py.VirtualLayout(STACK.shape, STACK.dtype)
    for i in range(4):
        source = h5py.VirtualSource(
            "source.h5" if i == 2 else ".", "d" if i == 2 else "a", STACK[: 1 if i == 2 else 4].shape
        )
        layout[i] = source[0 if i == 2 else i]
    with h5py.File(path, "w") as file:
        file["a"] = STACK
        file.create_virtual_dataset("v", layout, fillvalue=0)
    return path / "v"


def test_a_virtual_dataset_is_read_with_its_sources(path: Path) -> None:
    virtual = write_virtual(path)
    np.testing.assert_array_equal(open_image(virtual, axes="zyx").read()[0, 0], STACK)


def test_a_virtual_dataset_without_a_source_is_refused_unless_that_is_allowed(path: Path) -> None:
    virtual = write_virtual(path)
    (path.parent / "source.h5").unlink()
    told = refusal(virtual, axes="zyx")
    assert "takes 1 part from other files that are not there, the first source.h5" in told
    assert "--missing-chunks" in told
    assert not open_image(virtual, axes="zyx", allow_missing=True).read()[0, 0, 2].any()


def test_another_source_of_a_virtual_dataset_is_another_input(path: Path) -> None:
    virtual = write_virtual(path)
    before = open_image(virtual, axes="zyx").fingerprint
    assert open_image(virtual, axes="zyx").fingerprint == before
    write(path.parent / "source.h5", d=STACK[:1], more=STACK)
    assert open_image(virtual, axes="zyx").fingerprint != before


def test_a_virtual_dataset_behind_a_link_takes_what_is_beside_its_own_file(path: Path) -> None:
    (path.parent / "deep").mkdir()
    write_virtual(path.parent / "deep" / "v.h5")
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink("deep/v.h5", "/v")
    np.testing.assert_array_equal(open_image(path / "link", axes="zyx").read()[0, 0], STACK)


def test_a_virtual_dataset_whose_source_lacks_the_dataset_is_refused(path: Path) -> None:
    virtual = write_virtual(path)
    with h5py.File(path.parent / "source.h5", "w") as file:
        file["other"] = STACK
    assert "the first source.h5/d" in refusal(virtual, axes="zyx")


def test_a_virtual_dataset_with_a_gap_is_refused(path: Path) -> None:
    layout = h5py.VirtualLayout(STACK.shape, STACK.dtype)
    layout[:3] = h5py.VirtualSource(".", "a", STACK.shape)[:3]
    with h5py.File(path, "w") as file:
        file["a"] = STACK
        file.create_virtual_dataset("v", layout, fillvalue=0)
    assert "lacks 30 of its 120 pixels" in refusal(path / "v", axes="zyx")


def test_chunks_that_were_never_written_are_counted_and_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("d", STACK.shape, STACK.dtype, chunks=(1, 6, 5))
        dataset[:3] = STACK[:3]
    told = refusal(path, axes="zyx")
    assert f"{path}/d lacks 1 of its 4 chunks, which were never written" in told
    found = open_image(path, axes="zyx", allow_missing=True).read()[0, 0]
    np.testing.assert_array_equal(found[:3], STACK[:3])
    assert not found[3].any()


def test_a_dataset_that_was_never_written_is_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("d", STACK.shape, STACK.dtype)
    assert "lacks all of its pixels" in refusal(path, axes="zyx")


def test_pixels_in_an_external_file_are_missed_when_it_is_gone(path: Path) -> None:
    (path.parent / "raw.bin").write_bytes(STACK.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("d", STACK.shape, STACK.dtype, external=[(str(path.parent / "raw.bin"), 0, STACK.nbytes)])
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], STACK)
    (path.parent / "raw.bin").unlink()
    assert "takes 1 part from other files that are not there" in refusal(path, axes="zyx")


# ------------------------------------------------------------------------------------------------ what it is not


def test_links_are_followed_and_broken_ones_are_named(path: Path) -> None:
    write(path, raw=STACK)
    write(path.parent / "other.h5", d=STACK)
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/raw")
        file["broken"] = h5py.SoftLink("/gone")
        file["outside"] = h5py.ExternalLink("other.h5", "/d")
        file["lost"] = h5py.ExternalLink("gone.h5", "/d")
        file["group"] = h5py.SoftLink("/nowhere")
    for name in ("soft", "outside"):
        np.testing.assert_array_equal(open_image(path / name, axes="zyx").read()[0, 0], STACK)
    assert refusal(path / "broken", axes="zyx") == f"{path}/broken is a link to /gone, which is not there"
    assert "lost is a link to /d in the file gone.h5, which is not there" in refusal(path / "lost", axes="zyx")
    assert "group is a link to /nowhere, which is not there" in refusal(path / "group" / "d", axes="zyx")


def test_a_dataset_behind_a_link_alone_is_found(path: Path) -> None:
    write(path.parent / "other.h5", d=STACK)
    with h5py.File(path, "w") as file:
        file["outside"] = h5py.ExternalLink("other.h5", "/d")
    np.testing.assert_array_equal(open_image(path, axes="zyx").read()[0, 0], STACK)


def test_a_file_that_is_being_written_is_called_locked(path: Path) -> None:
    write(path, d=STACK)
    fcntl = pytest.importorskip("fcntl")
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert refusal(path, axes="zyx").startswith(f"{path} is locked: another program has it open for writing")
    assert open_image(path, axes="zyx").shape == STACK.shape


def test_a_filter_that_is_not_installed_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=STACK, compression="gzip")
    assert open_image(path, axes="zyx").shape == STACK.shape
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != h5py.h5z.FILTER_DEFLATE)
    assert "compressed with the HDF5 filter deflate (number 1), which is not installed" in refusal(path, axes="zyx")


def test_a_damaged_file_is_refused(path: Path) -> None:
    content = write(path, d=STACK).read_bytes()
    path.write_bytes(content[:1000])
    assert refusal(path, axes="zyx").startswith(f"{path} is not a readable HDF5 file: ")


def test_damaged_pixels_are_refused_where_they_are_read(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=STACK, chunks=(1, 6, 5), compression="gzip")
        place = file["d"].id.get_chunk_info(2).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 10] = bytes(10)
    path.write_bytes(content)
    image = open_image(path, axes="zyx")
    np.testing.assert_array_equal(image.read({"z": slice(0, 2)})[0, 0], STACK[:2])
    with pytest.raises(InputError, match=r"v\.h5 cannot be read at z 2-2: "):
        image.read({"z": slice(2, 3)})


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    assert refusal(path / "d", axes="zyx") == f"{path}/d does not exist, as there is no {path.name} in {path.parent}"


def test_a_path_inside_another_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", STACK)
    assert "is a file without datasets in it" in refusal(tmp_path / "v.npy" / "d", axes="zyx")
