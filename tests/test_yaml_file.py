"""YAML files that cannot be read, or are something else: one line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from eseg_zoo.config import load_run
from eseg_zoo.errors import ConfigError
from eseg_zoo.yaml_file import read_mapping


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(tmp_path / "absent.yaml")
    assert str(caught.value) == f"{tmp_path / 'absent.yaml'} does not exist in {tmp_path}"


@pytest.mark.parametrize("content", [b"images: [raw.tif", b"a: b: c", b"\x00\x01\x02\x03"], ids=repr)
def test_a_file_that_is_no_yaml_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_run(path)
    assert str(caught.value).startswith(f"{path} is not a readable YAML file: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "raw.tif", "- images: raw.tif", "3"], ids=repr)
def test_yaml_that_is_no_mapping_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_run(path)
    assert str(caught.value) == f"{path} must hold settings such as 'images: raw.tif'; see eseg train --help"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("axes: zyx\nout: a\naxes: yx\n", "the key 'axes' stands twice, again in line 3"),
        ("training:\n  steps: 1\n  batch_size: 2\n  steps: 3\n", "the key 'steps' stands twice, again in line 4"),
        ("classes: {1: a, 1: b}\n", "the key 1 stands twice, again in line 1"),
    ],
    ids=["top", "nested", "in braces"],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_run(path)
    assert str(caught.value) == f"{path} is not a readable YAML file: {line}"


def test_keys_that_are_merged_may_be_given_anew(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text("base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\n", encoding="utf-8")
    assert read_mapping(path, hint="keys")["own"] == {"a": 1, "b": 3}


def test_what_is_given_in_place_of_a_yaml_file_is_named(tmp_path: Path) -> None:
    image, model, package = (tmp_path / name for name in ("raw.tif", "model.pt", "model.zip"))
    tifffile.imwrite(image, np.zeros((4, 4), np.uint8))
    torch.save({"magic": "any"}, model)
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("rdf.yaml", "name: a")

    def refusal(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            load_run(path)
        return str(caught.value)

    holds = "a YAML file here holds settings such as 'images: raw.tif'; see eseg train --help"
    assert refusal(image) == f"{image} is a TIFF file, not a YAML file; {holds}"
    assert refusal(model) == f"{model} is a model, not a YAML file; {holds}"
    assert refusal(package).startswith(f"{package} is a package of the BioImage Model Zoo, not a YAML file")
    assert refusal(tmp_path) == f"{tmp_path} is a folder, not a YAML file; {holds}"
    (tmp_path / "run.yaml").write_text("images: raw.tif")
    assert f"is a folder, not a YAML file (did you mean {tmp_path / 'run.yaml'}?)" in refusal(tmp_path)
