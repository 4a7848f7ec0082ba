"""Projects of ilastik that are damaged or made up: their labels, or one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from labels.ilastik_project import PaintedImage, tags, write_project

from eseg_zoo.images.opening import open_image
from eseg_zoo.label_files import LabelFile
from eseg_zoo.labels.opening import LabelReading, classes_in, given_labels, images_of, open_labels
from fuzz.outcomes import CASES, damaged, outcome, written

SHAPE = (3, 20, 30)
APPLET = "PixelClassification"

# What no attribute or dataset of a project should hold.
ODD: list[Any] = [
    0, -1, 2**40, 0.5, float("nan"), "", "[", "[0:1]", "[0:3,0:20,0:30,0:1]", "[-1:2,0:20,0:30,0:1]",
    "[0:9999999999999,0:1]", b"\xff\xfe\x00", "a\nb", "x" * 5000, "{}", '{"axes": 3}', '{"axes": [{"key": 1}]}',
    "[" * 3000, tags("zyx"), tags("cyxz"), "1.3.3", "1.3.3post2", "nothing", "/Input Data/local_data/none", "a:b:c",
    "../../raw.tif", np.zeros(0), np.zeros((2, 2)), np.array([[1, 2, 3]] * 300), np.array([b"a", b"a", b"\xff"]),
    np.full((3, 20, 30, 1), 255, np.uint8), np.full((3, 20, 30, 1), -7, np.int64), np.ones((2,) * 6, np.uint8),
    np.ones((3, 20, 30), np.float32), np.uint8(7),
]  # fmt: skip


def project(path: Path, case: int) -> Path:
    rng = np.random.default_rng(case)
    labels = np.zeros(SHAPE, np.uint8)
    for _ in range(6):
        z, y, x = rng.integers(0, (3, 20, 24)).tolist()
        labels[z, y, x : x + 6] = rng.integers(1, 3)
    images = [PaintedImage(labels, "zyx", "raw.tif"), PaintedImage(labels, "zyx", "more.h5/data")]
    return write_project(
        path, images, masked=case % 4 == 0, says_axes=case % 3 > 0, version=["1.2.0", "1.3.3post2", "1.4.0"][case % 3],
    )  # fmt: skip


def use(path: Path) -> Callable[[], object]:
    def call() -> None:
        images = [open_image(np.zeros(SHAPE, np.uint8), axes="zyx", name=name) for name in ("raw.tif", "more.h5/data")]
        for found in open_labels(images, given_labels(path, 2), LabelReading({}, 0, 2)):
            found.anchors()
        classes_in([LabelFile(file=path)])
        for lane in images_of(path):
            assert lane.name
            assert lane.exists in (True, False)
            assert len(lane.sizes) <= 5

    return call


def places(content: h5py.File) -> list[tuple[str, str]]:
    """The datasets of a project, and its attributes, with their names."""
    found: list[tuple[str, str]] = []

    def note(name: str, item: Any) -> None:
        found.append((name, ""))
        found.extend((name, key) for key in item.attrs)

    content.visititems(note)
    return found


def replaced(content: h5py.File, place: tuple[str, str], value: Any) -> None:
    name, key = place
    if key:
        content[name].attrs.modify(key, value) if not isinstance(value, np.ndarray) or value.size else None
    else:
        attributes = dict(content[name].attrs)
        del content[name]
        content[name] = value
        content[name].attrs.update(attributes)


def test_altered_projects_are_one_line_or_their_labels(tmp_path: Path) -> None:
    refused = 0
    for case in range(max(CASES, 200)):
        rng = np.random.default_rng([7, case])
        path = project(tmp_path / f"{case}.ilp", case)
        with h5py.File(path, "a") as content:
            found = places(content)
            place, value = found[int(rng.integers(len(found)))], ODD[int(rng.integers(len(ODD)))]
            try:
                replaced(content, place, value)
            except (TypeError, ValueError, OSError):  # what HDF5 cannot hold
                continue
        try:
            refused += bool(outcome(use(path)))
        except BaseException as error:
            error.add_note(f"case {case}: {place} is {value!r}")
            raise
    assert refused > max(CASES, 200) / 5


def test_damaged_bytes_are_one_line_or_labels(tmp_path: Path) -> None:
    content = project(tmp_path / "p.ilp", 1).read_bytes()
    for case in range(CASES):
        path = written(tmp_path / f"{case}.ilp", damaged(content, np.random.default_rng(case)))
        try:
            outcome(use(path))
        except BaseException as error:
            error.add_note(f"case {case}")
            raise


@pytest.mark.parametrize("link", ["soft", "external", "of itself"])
def test_links_to_nothing_are_one_line_or_no_labels(tmp_path: Path, link: str) -> None:
    path = project(tmp_path / "p.ilp", 1)
    for name in (f"{APPLET}/LabelNames", f"{APPLET}/LabelSets/labels000/block0000", "Input Data/infos"):
        with h5py.File(path, "a") as content:
            del content[name]
            content[name] = {
                "soft": h5py.SoftLink("/nowhere"),
                "external": h5py.ExternalLink("nowhere.h5", "/data"),
                "of itself": h5py.SoftLink(f"/{name}"),
            }[link]
        outcome(use(path))
