"""NPY files are memory maps, whatever their order, and never unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from eseg_zoo.images import open_image

from .conftest import STACK, refusal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.npy"


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<f4", ">f8", "f2", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_region_is_read_in_any_order_of_bytes_and_axes(path: Path, dtype: str, order: Literal["C", "F"]) -> None:
    stored = (STACK > 100).astype(dtype) if dtype == "?" else STACK.astype(dtype)
    np.save(path, stored.copy(order=order))
    image = open_image(path, usual_axes="zyx")
    found = image.read({"z": slice(1, 3), "x": slice(2, 5)})
    assert found.dtype == image.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found[0, 0], stored[1:3, :, 2:5])


def test_axes_in_another_order_are_put_in_the_usual_one(path: Path) -> None:
    np.save(path, STACK.transpose(1, 2, 0))
    image = open_image(path, axes="yxz")
    assert image.sizes == {"t": 1, "c": 1, "z": 4, "y": 6, "x": 5}
    np.testing.assert_array_equal(image.read({"y": slice(2, 5)})[0, 0], STACK[:, 2:5])


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("it was unpickled",))


def test_objects_are_refused_without_being_unpickled(path: Path) -> None:
    np.save(path, np.array([[Bomb(), Bomb()]], dtype=object), allow_pickle=True)
    assert refusal(path, axes="yx").startswith(f"{path} is not a readable NPY file: ")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    np.save(path, STACK)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(path, axes="zyx").startswith(f"{path} is not a readable NPY file: ")


def test_structures_and_empty_arrays_are_refused(path: Path) -> None:
    np.save(path, np.zeros((4, 4), [("a", "u1")]))
    assert "holds structured values" in refusal(path, axes="yx")
    np.save(path, np.zeros((0, 4, 4), np.uint8))
    assert str(path) in refusal(path, axes="zyx")


def test_a_file_that_changes_is_another_input_and_an_open_image_of_it_is_refused(path: Path) -> None:
    np.save(path, STACK)
    image = open_image(path, axes="zyx")
    travelled = pickle.loads(pickle.dumps(image))
    assert travelled == image
    assert travelled.fingerprint == image.fingerprint
    np.save(path, STACK[:, :3])
    other = open_image(path, axes="zyx")
    assert other.source != image.source
    assert other.fingerprint != image.fingerprint
    assert "it has changed since it was opened" in refusal(image)


def test_a_number_of_an_image_is_refused_where_there_is_one(path: Path) -> None:
    np.save(path, STACK)
    assert "is a file of one image" in refusal(f"{path}#1", axes="zyx")
    assert "has one resolution level, 0" in refusal(path, axes="zyx", level=2)
