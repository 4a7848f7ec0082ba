"""A package is read only where it is harmless and whole, whoever made it."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from eseg_zoo.errors import CheckpointError
from eseg_zoo.package_file import STATE, PackageFile, is_package, read_sample

CONTENT = b"weights"
RDF = {"name": "a", "weights": {"onnx": {"source": "w.onnx", "sha256": sha256(CONTENT).hexdigest()}}}


def write(path: Path, rdf: object = RDF, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", rdf if isinstance(rdf, (str, bytes)) else yaml.safe_dump(rdf))
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path, name: str = "w.onnx") -> str:
    with pytest.raises(CheckpointError) as caught:
        PackageFile.open(path).read(name)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_comes_out_as_its_description_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{"w.onnx": CONTENT})
    package = PackageFile.open(path)
    assert is_package(path)
    assert package.read("w.onnx") == CONTENT
    assert package.at("weights", "onnx", "source") == "w.onnx"
    assert package.at("weights", 0) is package.at("inputs", 0, "x") is None
    assert not package.is_ours


def test_the_name_that_the_zoos_website_gives_a_description_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bioimageio.yaml", yaml.safe_dump(RDF | {"attachments": [{"source": STATE, "sha256": "0"}]}))
    assert PackageFile.open(path).is_ours


@pytest.mark.parametrize("name", ["bioimageio.yaml", "a.rdf.yaml", "model.yaml"])
def test_a_second_description_that_others_may_read_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.zip", **{name: b"name: b", "w.onnx": CONTENT})
    assert "must have one rdf.yaml in it; it has" in refusal(path)


def test_a_file_that_was_changed_is_told_by_its_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{"w.onnx": CONTENT + b"!"})
    assert "w.onnx has another sha256 than its description says" in refusal(path)


def test_a_file_that_is_missing_or_without_checksum_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", other=b"")
    assert "lacks 'w.onnx'" in refusal(path)
    assert "states no sha256 of 'other'" in refusal(path, "other")
    assert "states no sha256 of None" in refusal(path, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../w.onnx", "/w.onnx", "a/../../w", "C:w", "a\\b", "a//b", "./a", "a\x1bb"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.zip", **{name: b"x"})
    assert "whose name leads elsewhere" in refusal(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    path = write(tmp_path / "a.zip")
    entry = zipfile.ZipInfo("w.onnx")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "'w.onnx' in it, which is a link or a device" in refusal(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip", **{"w.onnx": bytes(80 << 20)})
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    assert "would unpack to 2 files of 83886" in refusal(path)


def test_many_small_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{f"f{number}": b"" for number in range(10_001)})
    assert "would unpack to 10002 files" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{"w.onnx": CONTENT})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w.onnx", b"other")
    assert "'w.onnx' in it more than once" in refusal(path)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit of the weights is another, which the zip's own checksum tells."""
    place = content.index(b"w.onnx") + len(b"w.onnx") + 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def encrypted(content: bytes) -> bytes:
    place = content.rindex(b"PK\1\2")
    return content[: place + 8] + b"\1" + content[place + 9 :]


@pytest.mark.parametrize(
    ("change", "said"), [(cut, "is a damaged package"), (flipped, "is a damaged package"), (encrypted, "is encrypted")]
)
def test_a_damaged_zip_is_one_line(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    path = write(tmp_path / "a.zip", **{"w.onnx": CONTENT})
    path.write_bytes(change(path.read_bytes()))
    assert said in refusal(path)


@pytest.mark.parametrize(
    ("rdf", "said"),
    [
        ("- a", "must hold the description of a model"),
        ("a: [", "is not a readable YAML file"),
        ("a: !!python/object/apply:os.system [ls]", "is not a readable YAML file"),
        (b"\xff\xfe", "is not a readable YAML file"),
        ("a: &a [1,2]\n" + "".join(f"b{n}: &b{n} [{','.join(['*a'] * 9)}]\n" for n in range(9999)), "more than"),
    ],
)
def test_a_description_that_cannot_be_read_is_one_line(tmp_path: Path, rdf: object, said: str) -> None:
    assert said in refusal(write(tmp_path / "a.zip", rdf))


def tiff(image: np.ndarray, **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, image, photometric="minisblack", **options)  # type: ignore[arg-type]
    return file.getvalue()


def test_a_sample_is_the_beginning_of_its_tiff() -> None:
    image = np.arange(2 * 6 * 7, dtype=np.uint16).reshape(2, 6, 7)
    np.testing.assert_array_equal(read_sample(tiff(image), (2, 5, 7), "uint16").numpy(), image[:, :5])
    volume = np.arange(3 * 2 * 6 * 7, dtype=np.uint8).reshape(3, 2, 6, 7)  # z, c, y, x
    found = read_sample(tiff(volume), (2, 3, 6, 4), "uint8").numpy()
    np.testing.assert_array_equal(found, volume.swapaxes(0, 1)[..., :4])


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (b"no tiff", (1, 4, 4)),
        (tiff(np.zeros((4, 4), np.uint8)), (1, 5, 4)),
        (tiff(np.zeros((4, 4), np.uint8)), (3, 4, 4)),
        (tiff(np.zeros((512, 512), np.uint8), compression="zlib"), (1, 512, 512)),
    ],
)
def test_a_sample_that_does_not_fit_or_is_compressed_is_refused(content: bytes, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_sample(content, shape, "uint8")
