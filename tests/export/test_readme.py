"""What the README and the description of a package tell, tried where it can be tried."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from eseg_export.card import Card
from eseg_export.finished import read_package
from eseg_export.package import export
from eseg_export.sample import image_of_size
from eseg_export.template import load_template
from eseg_export.tiling import tiling
from eseg_export.verify import TOLERANCE
from eseg_export.words import tell, with_labels

from eseg_zoo.checkpoint import Checkpoint

from .conftest import Exported, MakeCheckpoint


def example(readme: str) -> str:
    (code,) = [block for block in re.findall(r"```python\n(.+?)```", readme, re.DOTALL) if "bioimageio.core" in block]
    return str(code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # bioimageio leaves the package open
@pytest.mark.usefixtures("without_zoo_tests")
@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 2), (3, 1), (3, 2)])
def test_the_python_example_runs_on_a_stack_as_it_stands(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dims: int, channels: int
) -> None:
    checkpoint = make_checkpoint(dims, channels=channels)
    package = read_package(export(checkpoint, tmp_path / "model.zip").path)
    smallest = [axis.min for axis in tiling(checkpoint.geometry)]
    size = tuple(n + 1 for n in smallest)
    if dims == 2:
        image = np.concatenate([image_of_size(checkpoint, size), np.flip(image_of_size(checkpoint, size), -1)])
        stack = image  # z, c, y, x
    else:
        image = image_of_size(checkpoint, size)
        stack = image[0].swapaxes(0, 1)
    tifffile.imwrite(tmp_path / "stack.tif", (stack[:, 0] if channels == 1 else stack).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(example(package.files["README.md"].decode()), found)
    with torch.inference_mode():
        expected = checkpoint.segmenter()(torch.from_numpy(image)).numpy()
    assert np.abs(found["probabilities"] - expected).max() <= TOLERANCE
    np.testing.assert_array_equal(found["channels"], found["probabilities"].argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("less", [0, 1])
def test_the_hint_of_blockwise_names_the_smallest_image(exported: Exported, tmp_path: Path, less: int) -> None:
    readme = " ".join((exported.folder / "README.md").read_text(encoding="utf-8").split())
    hint = re.search(
        r"a multiple of each grid, such as (\d+), for which the image must be (\d+) x (\d+) at least", readme
    )
    assert hint is not None
    block, height, width = map(int, hint.groups())
    np.save(tmp_path / "image.npy", np.zeros((1, 1, height, width - less), np.float32))
    done = subprocess.run(
        [
            sys.executable, "-m", "bioimageio.core", "predict", exported.package.path, "--inputs", '["image.npy"]',
            "--outputs", "found.npy", "--blockwise", str(block), "--devices", '["cpu"]',
            "--weight-format", "torchscript",
        ],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (tmp_path / "found.npy").exists() == (less == 0), done.stderr[-500:]


def test_pictures_are_plain_relative_names_of_files_in_the_package(exported: Exported) -> None:
    readme = (exported.folder / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", readme):
        assert re.fullmatch(r"[a-z_]+\.png", target)
        assert (exported.folder / target).is_file()


def test_the_description_ends_with_the_labels_as_ilastik_counts_them(exported: Exported) -> None:
    assert exported.rdf["description"].endswith(" Labels: 1 membrane, 2 cytoplasm, 3 mito|chondrion")
    readme = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "*Label 1* membrane, *Label 2* cytoplasm, *Label 3* mito|chondrion" in readme


def test_a_card_keeps_the_labels_and_long_texts_give_way(checkpoint: Checkpoint) -> None:
    story = tell(checkpoint, Card(description="d " * 256), load_template("em2d"))
    assert len(story.description) <= 512
    assert story.description.endswith("d ... Labels: 1 membrane, 2 cytoplasm, 3 mito|chondrion")


@pytest.mark.parametrize("classes", [2, 40, 200])
def test_description_and_labels_are_512_characters_at_most(classes: int) -> None:
    names = [f"class number {i}" for i in range(classes)]
    found = with_labels("Segments images. " * 20, names)
    assert len(found) <= 512
    assert "Labels: 1 class number 0, 2 class" in found
    assert found.endswith(f"{classes} class number {classes - 1}" if classes == 2 else " ...")


@pytest.mark.slow
@pytest.mark.usefixtures("without_zoo_tests")
def test_the_limits_for_ilastik_are_those_that_it_showed_when_it_ran(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    verdicts = export(replace(make_checkpoint(3)), tmp_path / "model.zip").verdicts
    (ilastik,) = [verdict for verdict in verdicts if verdict.consumer.name == "ilastik"]
    for limit in ("it keeps", "0 or 1 modulo 8", "it mirrors images without their edge pixel"):
        assert limit in ilastik.why
    assert "images need at least" not in ilastik.why, "it pads smaller ones"
