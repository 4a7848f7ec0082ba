"""Volumes are read a region at a time, as what they say they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_multiscales_metadata

from eseg_zoo.data.lazy import Volume, open_volume
from eseg_zoo.data.ome_zarr import Spacing
from eseg_zoo.errors import InputError

PIXELS = np.random.default_rng(0).integers(1, 255, (4, 20, 30)).astype(np.uint16)
TRAINED = {"z": 0.04, "y": 0.016, "x": 0.016}


def opened(path: Path, **changes: Any) -> Volume:
    options: dict[str, Any] = {"axes": None, "usual_axes": "zyx", "voxel_size": TRAINED, "level": None} | changes
    return open_volume(path, **options)


def write_ome_zarr(
    path: Path, *, axes: str = "zyx", levels: int = 3, unit: str | None = "nanometer", fmt: Any = None, size: float = 8
) -> Path:
    fmt = fmt or FormatV04()
    group = zarr.open_group(str(path), mode="w", zarr_format=fmt.zarr_format)
    datasets = []
    pixels = PIXELS.reshape((1,) * (len(axes) - 3) + PIXELS.shape)
    for level in range(levels):
        step = 2**level
        data = pixels[..., ::step, ::step]
        array = group.create_array(
            str(level), shape=data.shape, chunks=(1,) * (len(axes) - 2) + (8, 8), dtype=data.dtype,
            chunk_key_encoding={"name": "v2" if fmt.zarr_format == 2 else "default", "separator": "/"},
        )  # fmt: skip
        array[...] = data
        scale = [1.0] * (len(axes) - 3) + [40.0, size * step, size * step]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    stated = [
        {"name": a, "type": {"t": "time", "c": "channel"}.get(a, "space")}
        | ({"unit": unit} if unit and a in "zyx" else {})
        for a in axes
    ]
    write_multiscales_metadata(group, datasets, fmt=fmt, axes=stated)
    return path


def as_tiff(folder: Path) -> Path:
    tifffile.imwrite(folder / "v.tif", PIXELS, photometric="minisblack")
    return folder / "v.tif"


def as_compressed_tiff(folder: Path) -> Path:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 8, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(folder / "v.ome.tif", PIXELS, ome=True, compression="zlib", metadata=metadata)
    return folder / "v.ome.tif"


def as_folder(folder: Path) -> Path:
    (folder / "planes").mkdir()
    for number, plane in enumerate(PIXELS):
        tifffile.imwrite(folder / "planes" / f"plane{number + 8}.tif", plane)  # 8, 9, 10, 11
    (folder / "planes" / "notes.txt").write_text("not an image")
    return folder / "planes"


def as_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "v.h5", "w") as file:
        file["exported/data"] = PIXELS
    return folder / "v.h5"


def as_npy(folder: Path) -> Path:
    np.save(folder / "v.npy", PIXELS.astype(">u2"))
    return folder / "v.npy"


def as_zarr(folder: Path) -> Path:
    zarr.create_array(str(folder / "v.zarr"), data=PIXELS, chunks=(2, 8, 8))
    return folder / "v.zarr"


def as_ome_zarr(folder: Path) -> Path:
    return write_ome_zarr(folder / "v.ome.zarr", levels=1)


KINDS = [as_tiff, as_compressed_tiff, as_folder, as_hdf5, as_npy, as_zarr, as_ome_zarr]


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_every_kind_of_file_gives_the_same_region(write: Callable[[Path], Path], tmp_path: Path) -> None:
    volume = opened(write(tmp_path))
    assert (volume.axes, volume.shape) == ("zyx", PIXELS.shape)
    region = volume.read({"z": slice(1, 3), "y": slice(5, 17), "x": slice(0, 9)})
    assert region.shape == (1, 1, 2, 12, 9)
    assert region.dtype == np.uint16
    np.testing.assert_array_equal(region[0, 0], PIXELS[1:3, 5:17, :9])


def test_axes_in_another_order_are_put_in_the_usual_one(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", PIXELS.transpose(1, 2, 0))
    volume = opened(tmp_path / "v.npy", axes="yxz")
    assert volume.sizes == {"t": 1, "c": 1, "z": 4, "y": 20, "x": 30}
    np.testing.assert_array_equal(volume.read({"y": slice(2, 5)})[0, 0], PIXELS[:, 2:5])


@pytest.mark.parametrize("fmt", [FormatV04(), FormatV05()], ids=str)
def test_the_level_with_the_pixels_of_training_is_read(tmp_path: Path, fmt: Any) -> None:
    volume = opened(write_ome_zarr(tmp_path / "v.ome.zarr", fmt=fmt))
    assert (volume.array, volume.shape) == ("1", (4, 10, 15))
    assert volume.spacing[2] == Spacing(16.0, 0.0, "nanometer")
    assert volume.spacing[2].micrometres == pytest.approx(0.016)


def test_a_given_level_is_read(tmp_path: Path) -> None:
    assert opened(write_ome_zarr(tmp_path / "v.ome.zarr"), level=2).array == "2"


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"unit": None}, ["0: 4 x 20 x 30 pixels", "2: 4 x 5 x 8 pixels", "--level", "not known"]),
        ({"size": 0}, ["0: 4 x 20 x 30 pixels of 0.04 µm", "--level", "not known"]),
        ({"size": -8}, ["0: 4 x 20 x 30 pixels of 0.04 µm", "--level", "not known"]),
        ({"size": 100}, ["of 0.04 x 0.1 x 0.1 µm", "--level", "none is near the 0.016 x 0.016 µm"]),
    ],
)
def test_when_the_pixel_sizes_do_not_tell_the_level_is_asked_for(
    tmp_path: Path, stated: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        opened(write_ome_zarr(tmp_path / "v.ome.zarr", **stated))
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_level_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"level is 3; .* has the levels 0: "):
        opened(write_ome_zarr(tmp_path / "v.ome.zarr"), level=3)


def test_missing_chunks_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", levels=1)
    (path / "0" / "1" / "2" / "3").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of its 48 chunks, the first 1/2/3; .*--missing-chunks"):
        opened(path)
    assert (opened(path, allow_missing=True).read({"z": slice(1, 2)})[0, 0, 0, 16:, 24:] == 0).all()


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr", levels=1)
    (path / "0" / "1" / "2" / "3").write_bytes(b"no chunk")
    with pytest.raises(InputError, match=r"v.ome.zarr cannot be read at z 1-1, y 16-19"):
        opened(path).read({"z": slice(1, 2), "y": slice(16, 20)})


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    group = zarr.open_group(str(path), mode="r+")
    attributes = group.attrs.asdict()
    change(attributes["multiscales"][0])
    group.attrs.put(attributes)


def test_axes_that_microscopy_does_not_have_are_refused(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr")
    edit(path, lambda image: image["axes"][0].update(name="wavelength"))
    with pytest.raises(InputError, match="has the axes wavelength, y, x; each must be one of t, c, z, y, x"):
        opened(path)


def test_axes_of_another_number_than_the_array_are_refused(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr")
    edit(path, lambda image: image["axes"].pop(0))
    with pytest.raises(InputError, match=r"has shape \(4, 20, 30\), but the stated axes are yx"):
        opened(path)


def test_a_stated_level_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "v.ome.zarr")
    edit(path, lambda image: image["datasets"][1].update(path="7"))
    with pytest.raises(InputError, match="states the resolution level 7, but it is not there"):
        opened(path)


def test_a_group_that_is_no_image_names_what_it_holds(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="w")
    group.create_array("raw", shape=(4, 4), dtype="u1")
    with pytest.raises(InputError, match="describes no OME-NGFF image; it holds raw"):
        opened(tmp_path / "v.zarr")


def test_a_truncated_stack_is_refused(tmp_path: Path) -> None:
    path = as_tiff(tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"v.tif is damaged"):
        opened(path)


@pytest.mark.parametrize("axes", [None, "zyx"])
def test_colours_are_no_slices(tmp_path: Path, axes: str | None) -> None:
    tifffile.imwrite(tmp_path / "v.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"v\.tif has several values at each pixel"):
        opened(tmp_path / "v.tif", axes=axes)
    assert opened(tmp_path / "v.tif", axes="yxc").sizes["c"] == 3


def test_colours_of_a_folder_are_no_slices(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for number in range(4):
        tifffile.imwrite(tmp_path / f"v/{number}.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match=r"v has several values at each pixel.*axes ZYXS.*'tzyx' has no c"):
        opened(tmp_path / "v", axes="tzyx")
    assert opened(tmp_path / "v", axes="zyxc").sizes["c"] == 3


def test_stated_channels_that_are_taken_for_slices_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "v.tif", PIXELS, imagej=True, metadata={"axes": "CYX"})
    assert opened(tmp_path / "v.tif").sizes["z"] == 4
    assert "v.tif says that it has channels (axes cyx); it is read as zyx" in caplog.text


def test_a_dataset_of_several_is_asked_for(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["raw"], file["deep/other"] = PIXELS, PIXELS[:, ::2]
    with pytest.raises(InputError, match=r"holds the datasets deep/other, raw; name one"):
        opened(tmp_path / "v.h5")
    assert opened(tmp_path / "v.h5" / "deep" / "other").shape == (4, 10, 30)


@pytest.mark.parametrize("name", ["nothing.ome.zarr", "nothing.h5", "nothing.npy"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} does not exist"):
        opened(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without TIFF files, and no OME-Zarr"):
        opened(tmp_path)
