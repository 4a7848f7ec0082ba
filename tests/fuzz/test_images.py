"""Image files that are damaged: pixels, or one line; never a traceback, a hang, or code that runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Picture

from eseg_zoo.errors import InputError
from eseg_zoo.images.image import AXES, Image
from eseg_zoo.images.opening import open_image
from fuzz.outcomes import CASES, altered, damaged, deep, near_the_start, outcome, written

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 40, 36)).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------------- seeds


def tiffs(folder: Path) -> list[Path]:
    written = [folder / f"{number}.tif" for number in range(6)]
    sizes = {f"PhysicalSize{axis}": 0.01 for axis in "ZYX"}
    tifffile.imwrite(written[0], PIXELS, ome=True, metadata={"axes": "ZYX", **sizes})
    tifffile.imwrite(written[1], PIXELS, imagej=True, metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"})
    tifffile.imwrite(
        written[2], PIXELS.astype("f4"), compression="zlib", tile=(16, 16), bigtiff=True, photometric="minisblack"
    )
    tifffile.imwrite(written[3], PIXELS[0].astype("u2"), compression="lzw", predictor=True)
    tifffile.imwrite(written[4], PIXELS, byteorder=">", photometric="minisblack", rowsperstrip=7)
    with tifffile.TiffWriter(written[5]) as file:
        file.write(PIXELS[0], subifds=1)
        file.write(PIXELS[0, ::2, ::2], subfiletype=1)
    return written


def pngs(folder: Path) -> list[Path]:
    made = [folder / f"{number}.png" for number in range(4)]
    Picture.fromarray(PIXELS[0]).save(made[0])
    Picture.fromarray(PIXELS[0].astype(np.uint16) * 257).save(made[1])
    Picture.fromarray(PIXELS[0]).convert("P").save(made[2])
    Picture.fromarray(np.moveaxis(PIXELS, 0, -1).copy()).save(made[3])
    return made


def npys(folder: Path) -> list[Path]:
    made = [folder / f"{number}.npy" for number in range(3)]
    np.save(made[0], PIXELS)
    np.save(made[1], np.asfortranarray(PIXELS.astype(">f8")))
    np.save(made[2], np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return made


def hdf5s(folder: Path) -> list[Path]:
    made = [folder / f"{number}.h5" for number in range(2)]
    with h5py.File(made[0], "w") as file:
        data = file.create_dataset("exported_data", data=PIXELS[..., None], chunks=(1, 20, 36, 1), compression="gzip")
        data.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "zyxc"]})
        data.attrs["element_size_um"] = [0.05, 0.01, 0.01]
    with h5py.File(made[1], "w", libver="latest") as file:
        file["a/raw"] = PIXELS
        file["a/link"] = h5py.SoftLink("/a/raw")
    return made


def zarrs(folder: Path) -> list[Path]:
    made = [folder / name for name in ("ngff4.ome.zarr", "ngff5.ome.zarr", "plain.zarr")]
    for path, version in zip(made[:2], (2, 3), strict=True):
        group = zarr.open_group(path, mode="w", zarr_format=version)  # type: ignore[arg-type]
        for level in range(2):
            data = PIXELS[:, :: 2**level, :: 2**level]
            array = group.create_array(str(level), shape=data.shape, dtype="u1", chunks=(1, 20, 20))
            array[:] = data
        scales = [
            {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [2.0, 0.5 * 2**n, 0.5 * 2**n]}]}
            for n in range(2)
        ]
        axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        ngff: dict[str, Any] = {
            "multiscales": [{"version": f"0.{version + 2}", "axes": axes, "datasets": scales, "name": "raw"}]
        }
        omero: dict[str, Any] = {"omero": {"channels": [{"label": "EM"}]}}
        group.attrs.update({"ome": ngff | omero} if version == 3 else ngff | omero)
    array = zarr.create_array(made[2], shape=PIXELS.shape, dtype="u2", chunks=(1, 40, 36), zarr_format=2)
    array[:] = PIXELS
    array.attrs["_ARRAY_DIMENSIONS"] = ["z", "y", "x"]
    return made


def use(path: Path) -> None:
    """Open an image as prediction does, and read the beginning and the end of it."""
    image = open_image(path, usual_axes="zyx", voxel_size={"y": 0.01, "x": 0.01})
    image.describe(), image.voxel_size, image.fingerprint
    for last in (False, True):
        region = {axis: (slice(max(n - 8, 0), n) if last else slice(0, min(n, 8))) for axis, n in image.sizes.items()}
        found = image.read(region)
        assert found.shape == tuple(region[axis].stop - region[axis].start for axis in AXES)
    if prod(image.shape) < 10**6:
        image.read()


def run(cases: int, change: Callable[[int, np.random.Generator], Path], name: str) -> list[str]:
    """Use what `change` makes for each case; returns the errors."""
    said = []
    for case in range(cases):
        path = change(case, np.random.default_rng([case, len(name)]))
        try:
            said.append(outcome(lambda path=path: use(path)))  # type: ignore[misc]
        except BaseException as error:
            error.add_note(f"{name}, case {case}, {path.name}")
            raise
    return said


FILES = {"TIFF": tiffs, "PNG": pngs, "NPY": npys, "HDF5": hdf5s}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_is_one_line(tmp_path: Path, name: str) -> None:
    seeds = [(path.suffix, path.read_bytes()) for path in FILES[name](tmp_path)]

    def change(case: int, rng: np.random.Generator) -> Path:
        suffix, content = seeds[case % len(seeds)]
        damage = near_the_start if case % 3 else damaged
        return written(tmp_path / f"case{suffix}", damage(content, rng))

    said = run(CASES, change, name)
    assert any(said)  # the damage is felt


def test_damaged_metadata_of_a_zarr_open_rightly_or_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    seeds = zarrs(tmp_path / "seeds")
    names = (".zarray", ".zattrs", ".zgroup", "zarr.json", ".zmetadata")
    files = [(seed, file) for seed in seeds for file in sorted(seed.rglob("*")) if file.name in names]

    def change(case: int, rng: np.random.Generator) -> Path:
        seed, file = files[case % len(files)]
        path = tmp_path / seed.name
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(seed, path)
        content = file.read_bytes()
        if case % 4 == 0:
            new = damaged(content, rng)
        else:
            changed = altered(json.loads(content), rng)[0]
            new = json.dumps(changed).encode("utf-8", "surrogatepass")
        path.joinpath(file.relative_to(seed)).write_bytes(new)
        return path

    said = run(max(CASES, 200), change, "Zarr")
    assert sum(map(bool, said)) > len(said) / 5


def test_damaged_chunks_of_a_zarr_are_read_or_are_one_line(tmp_path: Path) -> None:
    seeds = zarrs(tmp_path)

    def change(case: int, rng: np.random.Generator) -> Path:
        seed = seeds[case % len(seeds)]
        path = tmp_path / f"case_{seed.name}"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(seed, path)
        chunks = [
            one for one in sorted(path.rglob("*")) if (one.is_file() and one.name.isdigit()) or one.name[:1].isdigit()
        ]
        chunks = [one for one in chunks if one.is_file()]
        chunk = chunks[int(rng.integers(len(chunks)))]
        chunk.write_bytes(damaged(chunk.read_bytes(), rng))
        return path

    run(CASES, change, "chunks")


# -------------------------------------------------------------------------------------------------------- known kinds

NGFF = {"axes": [{"name": name, "type": "space"} for name in "zyx"], "datasets": [{"path": "0"}]}


@pytest.mark.parametrize(
    "attributes",
    [
        [], 3, "x", None, {"multiscales": 3}, {"multiscales": "x"}, {"multiscales": [3]}, {"multiscales": {}},
        {"multiscales": [NGFF | {"datasets": 3}]}, {"multiscales": [NGFF | {"datasets": [3]}]},
        {"multiscales": [NGFF | {"datasets": [{"path": 3}]}]}, {"multiscales": [NGFF | {"datasets": [{"path": ""}]}]},
        {"multiscales": [NGFF | {"datasets": [{"path": "../x"}]}]},
        {"multiscales": [NGFF | {"datasets": [{"path": "/etc"}]}]}, {"multiscales": [NGFF | {"axes": [[]]}]},
        {"multiscales": [NGFF | {"axes": 3}]}, {"multiscales": [NGFF | {"axes": {"a": 1}}]}, {"ome": 3}, {"ome": []},
        {"multiscales": [NGFF], "omero": {"channels": [{"label": ["x"] * 999}]}},
        {"multiscales": [NGFF | {"coordinateTransformations": 3}]},
        {"multiscales": [NGFF | {"coordinateTransformations": [{"type": "scale", "scale": [1e400, 0, -1]}]}]},
        {"multiscales": [NGFF | {"axes": [{"name": a, "unit": ["x"]} for a in "zyx"]}]},
        {"a": deep(900)},
    ],
    ids=lambda one: str(one)[:60],
)  # fmt: skip
@pytest.mark.parametrize("version", [2, 3])
def test_attributes_of_any_shape_are_one_line_or_pixels(tmp_path: Path, attributes: Any, version: Any) -> None:
    path = tmp_path / "a.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.create_array("0", shape=PIXELS.shape, dtype="u1", chunks=PIXELS.shape)[:] = PIXELS
    if version == 2:
        (path / ".zattrs").write_text(json.dumps(attributes))
    else:
        content = json.loads((path / "zarr.json").read_text())
        (path / "zarr.json").write_text(json.dumps(content | {"attributes": attributes}))
    run(1, lambda *_: path, "attributes")


class Code:
    """A pickle that makes a folder when it is executed."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("allowed", [False, True], ids=["as it comes", "where the process allows it"])
@pytest.mark.parametrize(
    ("dtype", "place"), [("|u1", "filters"), ("|u1", "compressor"), ("|O", "filters"), ("|O", "compressor")]
)
def test_no_codec_of_a_zarr_unpickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, place: str, allowed: bool
) -> None:
    import pickle

    from numcodecs import pickles

    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", allowed)
    path, trace = tmp_path / "a.zarr", tmp_path / "executed"
    path.mkdir()
    codec = {"id": "pickle", "protocol": 4}
    codecs = {"filters": None, "compressor": None} | {place: [codec] if place == "filters" else codec}
    content = {
        "zarr_format": 2, "shape": [4, 4], "chunks": [4, 4], "dtype": dtype, "fill_value": 0, "order": "C", **codecs,
    }  # fmt: skip
    (path / ".zarray").write_text(json.dumps(content))
    (path / "0.0").write_bytes(pickle.dumps(Code(trace)))
    with pytest.raises(InputError) as caught:
        use(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_no_codec_of_a_zarr_3_unpickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    from numcodecs import pickles

    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True)
    path, trace = tmp_path / "a.zarr", tmp_path / "executed"
    array = zarr.create_array(path, shape=(4, 4), dtype="u1", chunks=(4, 4), compressors=None, zarr_format=3)
    array[:] = 1
    content = json.loads((path / "zarr.json").read_text())
    for name in ("numcodecs.pickle", "pickle"):
        codecs = [*content["codecs"], {"name": name, "configuration": {"protocol": 4}}]
        (path / "zarr.json").write_text(json.dumps(content | {"codecs": codecs}))
        (path / "c" / "0" / "0").write_bytes(pickle.dumps(Code(trace)))
        with pytest.raises(InputError):
            use(path)
    assert not trace.exists()


def test_the_pixels_of_a_sound_seed_are_read(tmp_path: Path) -> None:
    for make in (*FILES.values(), zarrs):
        folder = tmp_path / make.__name__
        folder.mkdir()
        sound = 0
        for path in make(folder):
            try:
                image: Image = open_image(path, usual_axes="zyx")
            except InputError:
                continue
            sound += 1
            assert image.read().squeeze().max() > 200
        assert sound >= 2
