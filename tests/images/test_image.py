"""An image tells damage from mistakes of this package, and opens by itself in every process."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from eseg_zoo.errors import InputError
from eseg_zoo.images import Image, Spacing, open_image
from eseg_zoo.images import tiff as tiff_module

from .conftest import STACK, refusal


@dataclass(frozen=True)
class Broken:
    error: Exception
    failures: tuple[type[Exception], ...]
    kept: bool = False
    identity: str = ""

    def open(self) -> Any:
        error = self.error

        class Array:
            def __getitem__(self, where: Any) -> Any:
                raise error

        return Array()


def image_of(source: Any) -> Image:
    return Image(source, "f", "yx", (4, 4), np.dtype("u1"), (4, 4), (Spacing(), Spacing()))


def test_what_a_kind_of_file_raises_is_damage_and_anything_else_is_not() -> None:
    with pytest.raises(InputError, match="f cannot be read at y 1-2: it is broken"):
        image_of(Broken(ValueError("it is broken\nin two lines"), (ValueError,))).read({"y": slice(1, 3)})
    with pytest.raises(TypeError, match="a mistake"):
        image_of(Broken(TypeError("a mistake"), (ValueError, OSError))).read()


def test_a_mistake_of_this_package_in_reading_is_not_called_damage() -> None:
    namespace: dict[str, Any] = {"__name__": "eseg_zoo.images.stack"}
    exec("class Array:\n    def __getitem__(self, where):\n        raise TypeError('a mistake')", namespace)

    @dataclass(frozen=True)
    class Mistaken(Broken):
        def open(self) -> Any:
            return namespace["Array"]()

    with pytest.raises(TypeError, match="a mistake"):
        image_of(Mistaken(TypeError(), (TypeError, ValueError))).read()


@pytest.mark.parametrize("error", [TypeError, AssertionError, RuntimeError, KeyError])
def test_a_mistake_of_this_package_at_opening_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    tifffile.imwrite(tmp_path / "v.tif", STACK, photometric="minisblack")

    namespace: dict[str, Any] = {"error": error, "__name__": "eseg_zoo.images.tiff"}
    exec("def fail(*_, **__):\n    raise error('a mistake')", namespace)  # a function of that module
    monkeypatch.setattr(tiff_module, "refuse_absent", namespace["fail"])
    with pytest.raises(error, match="a mistake"):
        open_image(tmp_path / "v.tif", axes="zyx")


def write_stack(path: Path, compression: str | None) -> Any:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 64, 64), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", compression=compression)
    return pixels


def planes_that_differ(image: Image, pixels: Any, z: int) -> int:
    planes = [image.read({"z": slice(z, z + 1)})[0, 0, 0] for _ in range(20)]
    return sum(not np.array_equal(plane, pixels[z]) for plane in planes)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_threads_read_the_same_pixels(tmp_path: Path, compression: str | None) -> None:
    pixels = write_stack(tmp_path / "v.tif", compression)
    image = open_image(tmp_path / "v.tif", axes="zyx")
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda z: planes_that_differ(image, pixels, z), range(16))) == 0


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system forks no process")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_processes_do_not_share_the_place_in_a_file(tmp_path: Path) -> None:
    pixels = write_stack(tmp_path / "v.tif", "zlib")
    image = open_image(tmp_path / "v.tif", axes="zyx")
    image.read()  # it is open in the parent
    context = multiprocessing.get_context("fork")

    def compare(z: int) -> None:
        raise SystemExit(planes_that_differ(image, pixels, z))

    processes = [context.Process(target=compare, args=(z,)) for z in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4


def test_the_description_tells_what_was_understood(tmp_path: Path) -> None:
    pixels = np.zeros((14, 24, 32), np.uint8)
    sizes = {"PhysicalSizeZ": 0.05, "PhysicalSizeY": 0.0046, "PhysicalSizeX": 0.0046}
    tifffile.imwrite(tmp_path / "v.ome.tif", pixels, metadata={"axes": "ZYX", **sizes}, photometric="minisblack")
    told = open_image(tmp_path / "v.ome.tif").describe()
    assert told == "14 slices of 24 x 32, 1 channel, uint8, 50 x 4.6 x 4.6 nm"


# ----------------------------------------------------------------------------------------- what a path leads to


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "v.tif") == f"{tmp_path / 'v.tif'} does not exist in {tmp_path}"
    assert refusal(tmp_path / "v.zarr") == f"{tmp_path / 'v.zarr'} does not exist in {tmp_path}"


def test_a_broken_link_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "v.tif").symlink_to("gone.tif")
    assert refusal(tmp_path / "v.tif").endswith(f"{tmp_path / 'v.tif'} is a link to gone.tif, which is not there")


def test_a_link_is_followed(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", STACK)
    (tmp_path / "link").symlink_to("v.npy")
    np.testing.assert_array_equal(open_image(tmp_path / "link", axes="zyx").read()[0, 0], STACK)


def test_a_missing_permission_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "v.npy", STACK)

    def denied(self: Path, *_: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    assert refusal(tmp_path / "v.npy", axes="zyx") == f"{tmp_path / 'v.npy'} cannot be opened: Permission denied"


def test_the_kind_of_a_file_is_what_is_in_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.lsm", STACK, photometric="minisblack", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(open_image(tmp_path / "v.lsm").read()[0, 0], STACK)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "a JPEG file"),
        (b"PK\x03\x04", "a ZIP file"),
        (b"\x1f\x8b", "a gzip file"),
        (b"?", "a format that is not known"),
    ],
)
def test_a_format_that_is_not_read_is_named(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "v.tif").write_bytes(content + bytes(20))
    assert kind in refusal(tmp_path / "v.tif")


def test_a_name_with_a_number_sign_is_a_name(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", STACK)
    (tmp_path / "v.npy").rename(tmp_path / "v#1")
    assert open_image(tmp_path / "v#1", axes="zyx").shape == STACK.shape


def test_importing_images_imports_no_library_of_a_format() -> None:
    code = "import sys, eseg_zoo.images; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["torch", "matplotlib", "lightning", "zarr", "h5py", "tifffile", "dask", "xarray", "PIL", "imagecodecs"]
    found = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
